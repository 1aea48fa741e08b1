//! The Helm chart for an administrator: the values it accepts, the objects it renders, and a real API
//! server's reaction to them.

mod binaries;
mod certificates;
mod deploy;
mod gitops;
mod jobs;
mod kubernetes_types;
mod modes;
mod monitoring;
mod outbound;
mod placement;
mod rendering;
mod rights;
mod schema;
mod server;
mod settings;
mod values;
mod versions;
