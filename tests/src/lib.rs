//! The lab: real components for zstart's tests and for use by hand.
//!
//! - [`tools`]: finds the components' binaries, or builds them once from pinned Go modules.
//! - [`control_plane`]: an API server with etcd, for any user, on free ports.
//! - [`simulation`]: a control plane with the real scheduler and hundreds of simulated nodes.
//! - [`registry`]: a registry, a gateway and a raw server that inject faults, and a fake of Amazon ECR.
//! - [`chart`]: renders `charts/zstart` with helm.
//! - [`generated`]: files of the repository that `make generate` writes.
//! - [`cluster`]: a whole cluster of one or more nodes in its own namespaces. Needs root.
//! - [`images`]: images with real digests: small ones for tests, large ones of real packages.
//! - [`objects`]: parts of Kubernetes objects.
//! - [`oracle`]: compares conversions with their sources, by code that the converter doesn't use.
//! - [`proxy`]: an HTTP proxy that leads some host names into the lab.
//! - [`ports`]: loopback ports without collisions.
//! - [`demo`]: `make run`.
//! - [`bench`]: `make bench`.
//! - [`bench_pull`]: `make bench-pull`.
//! - [`bench_start`]: `make bench-start`.
//! - [`bench_webhook`]: `make bench-webhook`, and [`review_load`], its load generator.
//! - [`inventory`]: `make inventory`.
//! - [`prometheus`]: Prometheus, its rule tests, its parser, and the chart's alerts and dashboard.
//! - [`scanners`]: `make scanners`.
//! - [`transcript`]: commands of a page of the documents, with their outputs.
//! - [`soak`]: `make soak`, and [`pod_load`], its client.
//!
//! Every component ends with the test or program that started it, even if that one is killed.
#![allow(clippy::missing_panics_doc, reason = "a lab that can't start ends the test")]

pub mod api_requests;
pub mod bench;
pub mod bench_pull;
pub mod bench_start;
pub mod bench_webhook;
pub mod chart;
pub mod cluster;
pub mod control_plane;
pub mod definitions;
pub mod demo;
pub mod generated;
pub mod images;
pub mod inventory;
pub mod kueue;
mod kwok;
mod memory;
pub mod objects;
pub mod oracle;
mod pki;
pub mod pod_load;
pub mod ports;
mod process;
pub mod prometheus;
pub mod proxy;
pub mod registry;
pub mod restraint;
pub mod review_load;
pub mod scanners;
pub mod simulation;
pub mod soak;
mod steps;
pub mod sweep;
mod table;
pub mod tcp_proxy;
pub mod tls;
pub mod tools;
pub mod transcript;
pub mod wait;

pub(crate) use zstart_test_images::packages;
pub use zstart_test_images::settings;
