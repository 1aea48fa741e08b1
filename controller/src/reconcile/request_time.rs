//! Time of a request to a registry.

use std::time::Instant;

use jiff::Timestamp;

use crate::api_clock::ApiClock;

/// Time immediately before a request. The answer is at least as new, so a change that precedes this time is
/// in the answer. A time after the answer would promise more: the tag may have moved in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestTime {
    /// Time on the API server's clock.
    pub(super) clock: Timestamp,
    pub(super) instant: Instant,
}

impl RequestTime {
    pub(super) fn now(clock: &ApiClock) -> Self {
        Self { clock: clock.now(), instant: Instant::now() }
    }
}
