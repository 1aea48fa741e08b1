//! HTTP with limits: addresses, times, sizes and throughput.

mod address_policy;
mod clients;
mod no_proxy;
mod proxies;
mod rate_limit;
mod response;
mod throughput;
mod timeouts;
mod trust;
mod upload_monitor;

pub(crate) use address_policy::{AddressPolicy, UnknownHost};
pub use clients::ClientError;
pub(crate) use clients::{Direction, HttpClients};
pub(crate) use proxies::{ProxyServer, UnusableProxy};
pub use rate_limit::RateLimit;
pub(crate) use response::{MAX_REDIRECTS, error_of, read_bounded, redirect_target, write_redirect};
pub(crate) use throughput::{Chunks, require_throughput};
pub use timeouts::{MinThroughput, Timeouts};
pub(crate) use trust::is_authority_as_server;
pub(crate) use upload_monitor::monitor;
