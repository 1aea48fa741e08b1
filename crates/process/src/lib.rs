//! Shared parts of zstart's programs. The servers use nearly all of them, the command line
//! [`log_filter`], `probe` and [`signals`].
//!
//! - [`boot`]: arguments, log, signals, exit code.
//! - [`config_file`]: YAML configuration files.
//! - `dropped_log_lines`: metric of dropped log lines (feature `metrics`).
//! - [`health`]: `/livez`, `/readyz`, `/metrics`.
//! - [`listen`]: listening sockets.
//! - [`log_filter`]: the filter of log lines.
//! - [`log_format`]: their form.
//! - [`log_writer`]: log output that never blocks.
//! - `probe`: the dry-run pod that the webhook answers (feature `probe`).
//! - [`signals`]: SIGTERM and SIGINT.
//! - [`supervisor`]: long-running tasks.
//! - `watch`: watches of the API server (feature `watch`).

use std::error::Error;

pub mod boot;
pub mod config_file;
#[cfg(feature = "metrics")]
pub mod dropped_log_lines;
pub mod health;
pub mod listen;
pub mod log_filter;
pub mod log_format;
pub mod log_writer;
#[cfg(feature = "probe")]
pub mod probe;
pub mod signals;
pub mod supervisor;
#[cfg(feature = "watch")]
pub mod watch;

/// Any error that ends a process.
pub type BoxError = Box<dyn Error + Send + Sync>;
