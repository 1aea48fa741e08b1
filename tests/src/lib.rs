//! The lab: real components that zstart is tested against, and run against by hand.
//!
//! - [`tools`]: where their binaries come from. They are built once, from pinned Go modules.
//! - [`control_plane`]: an API server with etcd, as any user, on free ports.
//! - [`registry`]: a registry, and what stands in front of it: a gateway that misbehaves on demand, a liar,
//!   and a fake of Amazon ECR.
//! - [`chart`]: what helm makes of `charts/zstart`.
//! - [`cluster`]: a whole single-node cluster in namespaces of its own. Needs root.
//! - [`images`]: images with real digests: small ones for tests, a large one of real packages.
//! - [`proxy`]: a proxy that leads some names into the lab.
//! - [`ports`]: loopback ports that nobody else takes.
//! - [`demo`]: what `make run` does.
//! - [`bench`]: what `make bench` does.
//!
//! Every component ends with the test or program that started it, however that ends.
#![allow(clippy::missing_panics_doc, reason = "a lab that can't start ends the test")]

pub mod bench;
pub mod chart;
pub mod cluster;
pub mod control_plane;
pub mod demo;
pub mod images;
mod packages;
mod pki;
pub mod ports;
mod process;
pub mod proxy;
pub mod registry;
pub mod settings;
mod tls;
pub mod tools;
pub mod wait;
