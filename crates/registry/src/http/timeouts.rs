//! Limits for the time of requests and the throughput of transfers.

use std::time::Duration;

/// Timeouts of registry requests. The defaults are for registries anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Longest time to open a connection. Default: 10 s.
    pub connect: Duration,
    /// Longest silence of a registry while it is read from. Default: 1 min.
    pub read_idle: Duration,
    /// Longest time for a whole response that is no blob: a manifest, a token, an error. Default: 2 min.
    pub response: Duration,
    /// Longest time for which a registry accepts nothing and sends nothing while it is written to. Some
    /// assemble a large blob only at its end, which takes them minutes. Default: 5 min.
    pub write_idle: Duration,
}

/// Lowest throughput of a transfer. Slower ones are aborted.
#[derive(Clone, Copy, Debug)]
pub struct MinThroughput {
    /// Bytes that must arrive in each `window`. Default: 240 KiB.
    pub bytes: u64,
    /// Time of waiting for the other side. Default: 1 min.
    pub window: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read_idle: Duration::from_mins(1),
            response: Duration::from_mins(2),
            write_idle: Duration::from_mins(5),
        }
    }
}

impl Default for MinThroughput {
    /// 4 KiB/s: a hundredth of the slowest links in use.
    fn default() -> Self {
        Self { bytes: 240 << 10, window: Duration::from_mins(1) }
    }
}

impl MinThroughput {
    /// Bytes a second, for messages.
    pub(crate) fn per_second(self) -> u64 {
        self.bytes / self.window.as_secs().max(1)
    }
}
