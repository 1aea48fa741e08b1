//! Settings for all registries.

use std::time::Duration;

use crate::backoff::{Backoff, RetryPolicy};
use crate::http::{MinThroughput, Timeouts};

/// Settings for all registries.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Registries (`host` or `host:port`) that are reached over plain http. All others need TLS.
    pub plain_http: Vec<String>,
    /// Hosts outside of a registry's own domain that may receive its logins.
    pub token_servers: Vec<String>,
    /// Timeouts of requests.
    pub timeouts: Timeouts,
    /// Lowest throughput of blobs.
    pub min_throughput: MinThroughput,
    /// Attempts of a request that fails for a passing reason.
    pub retry: RetryPolicy,
}

impl Default for RegistryOptions {
    /// TLS everywhere; four attempts a request, the second after 0.4 s.
    fn default() -> Self {
        let backoff = Backoff { initial: Duration::from_millis(400), max: Duration::from_secs(10) };
        Self {
            plain_http: Vec::new(),
            token_servers: Vec::new(),
            timeouts: Timeouts::default(),
            min_throughput: MinThroughput::default(),
            retry: RetryPolicy { backoff, attempts: 4 },
        }
    }
}
