//! The operator: finds the images that opted-in namespaces run, converts them, and rotates the webhook's
//! certificates.
//!
//! - [`demand`], [`watches`], [`watched`]: the sources that workloads run, and their consumers.
//! - `platform_memory`: the platforms of nodes that left a short time ago.
//! - `scheduler`: an `ImageConversion` for each source, and the order in which sources are looked at.
//! - `sweep`: the last confirmations of all records, in one object that the webhook reads.
//! - `governor`: pull allowances, pauses and rights to push, by registry and identity.
//! - `reconcile`: resolve, plan, execute, verify, status.
//! - [`executor`]: runs conversions in the leader, or as Kubernetes Jobs; [`convert_one`] is the program of such a Job.
//! - `pull_times`: measured pulls of sources and of their variants, unless `measurePulls` is false.
//! - `heal`: pods that can't pull their variant get their original back.
//! - [`loop_guard`]: owners that undo the rewrite of their pods again and again are put on hold.
//! - `rollouts`: an event on the owner of pods that use a variant.
//! - [`certificates`]: the webhook's authority and serving certificate.
//! - [`test_rewrite`]: the program of `helm test`.
//! - [`leader`]: of all replicas, one does the above; the others watch and stand by.
//!
//! Required rights (`charts/zstart/templates/controller/rbac.yaml` grants no more):
//! - list and watch namespaces, nodes, pods, deployments, statefulsets, daemonsets, jobs and cronjobs;
//! - get nodes: their images and runtime, when a pod can't pull its variant;
//! - patch pods: an admission policy allows a change from a variant back to the original that the pod's annotation
//!   names, and nothing more; create evictions of pods whose image volume can't be changed;
//! - get service accounts and secrets: pull secrets, by name. Without this right only the controller's own
//!   credentials are used;
//! - get, list, watch, create, patch and delete imageconversions, and patch their status;
//! - get, create and patch freshnesssweeps;
//! - get, list, watch, create and delete ownerholds;
//! - create and patch events; list and watch them if pulls are measured: the kubelets report pull times there;
//! - create leases in its own namespace; by name, get and update its Lease;
//! - create selfsubjectreviews, which every authenticated user may: the answer has the API server's time;
//! - get and patch one `ConfigMap` in its own namespace;
//! - with conversions as Jobs: create, get, list, watch, patch and delete jobs, create secrets, and get, list and watch
//!   pods in its own namespace;
//! - create Secrets in its own namespace; by name, get, list, watch and update its two Secrets, and get, list,
//!   watch and patch the webhook configuration.

pub mod api_clock;
pub mod certificates;
pub mod config;
mod context;
pub mod convert_one;
pub mod credentials;
pub mod demand;
mod events;
pub mod executor;
mod governor;
mod heal;
mod health;
mod immutable_tags;
pub mod leader;
pub mod loop_guard;
mod metrics;
mod platform_memory;
mod pull_times;
mod reconcile;
mod records;
mod repositories;
mod rollouts;
pub mod run;
mod scheduler;
mod sweep;
pub mod test_rewrite;
pub mod watched;
pub mod watches;
