//! What zstart's two servers do alike. Of it the command line takes the log's filter and the signals.
//!
//! - [`boot`]: arguments, log, signals, exit code.
//! - [`config_file`]: a YAML file, read into types.
//! - [`health`]: `/livez`, `/readyz`, `/metrics`.
//! - [`log_filter`]: what is logged.
//! - [`signals`]: what asks a program to end.
//! - [`tasks`]: parts that run for as long as the process does.

pub mod boot;
pub mod config_file;
pub mod health;
pub mod log_filter;
pub mod signals;
pub mod tasks;
