//! How long a registry may take.

use std::time::Duration;

/// Time-outs of registry requests. The defaults are for registries anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long a registry may be silent while it is read from.
    pub silence: Duration,
    /// How long an answer may take that isn't a blob: a manifest, a token, an error.
    pub answer: Duration,
    /// How long a registry may take nothing and say nothing while it is written to. Some put a large
    /// blob together only at its end, and that takes them minutes.
    pub write_silence: Duration,
    /// How long to wait before a request that failed is made again; twice as long each time.
    pub pause: Duration,
    /// Of a blob so much must come ...
    pub pace_bytes: u64,
    /// ... in so long a time of waiting for it.
    pub pace_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_mins(1),
            answer: Duration::from_mins(2),
            write_silence: Duration::from_mins(5),
            pause: Duration::from_millis(400),
            // 4 KiB/s: of the slowest links that are in use, a hundredth.
            pace_bytes: 240 << 10,
            pace_time: Duration::from_mins(1),
        }
    }
}
