//! The Helm chart for an administrator: the values it accepts, the objects it renders, and a real API
//! server's reaction to them.

mod binaries;
mod certificates;
mod jobs;
mod modes;
mod monitoring;
mod placement;
mod rendering;
mod rights;
mod server;
mod values;
