//! Log of the requests that one of the lab's servers received.

use std::sync::{Arc, Mutex};

use zstart_core::sync::lock;

/// Requests in order of arrival, one line each.
#[derive(Clone, Default)]
pub(super) struct RequestLog(Arc<Mutex<Vec<String>>>);

/// The requests that arrived after the recording began.
pub struct Recording {
    log: RequestLog,
    start: usize,
}

impl RequestLog {
    /// Adds a request.
    pub(super) fn push(&self, request: String) {
        lock(&self.0).push(request);
    }

    /// Number of requests.
    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// All requests.
    pub(super) fn calls(&self) -> Vec<String> {
        lock(&self.0).clone()
    }

    /// Begins a recording.
    pub(super) fn record(&self) -> Recording {
        Recording { log: self.clone(), start: self.len() }
    }
}

impl Recording {
    /// The recorded requests so far.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.log.0)[self.start..].to_vec()
    }
}
