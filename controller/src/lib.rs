//! The operator: finds the images that opted-in namespaces run, converts them, and keeps what the
//! webhook needs.
//!
//! - [`demand`], [`watches`]: which sources are wanted, and by whom.
//! - `records`: an `ImageConversion` for each.
//! - `reconcile`: resolve, plan, execute, verify, status.
//! - [`certificates`]: the webhook's authority and serving certificate.
//!
//! Rights that it needs (`charts/zstart/templates/controller/rbac.yaml` grants no more): list and
//! watch namespaces, nodes, pods, deployments, statefulsets, daemonsets, jobs and cronjobs; get
//! service accounts and secrets (pull secrets, by name; without them only its own credentials count);
//! get, list, watch, create and patch imageconversions, and patch their status; create and patch
//! events; and, by name, its two Secrets and the webhook configuration.

pub mod certificates;
pub mod config;
mod context;
pub mod credentials;
pub mod demand;
mod events;
mod health;
mod metrics;
mod reconcile;
mod records;
pub mod run;
pub mod watches;
