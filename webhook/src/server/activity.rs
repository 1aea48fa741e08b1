//! Activity of a connection: the phase of its current request, and how long the phase may last.
//!
//! hyper's own timeout for a request's head starts with the previous response, so it closes kept connections
//! under their client (hyper#3185, hyper#3828). Here, the timeout starts with the first byte of a head.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use zstart_core::sync::lock;

use super::Timeouts;

#[cfg(test)]
mod tests;

/// Phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The TLS handshake isn't complete.
    Handshake,
    /// No byte of a request has arrived since the handshake or since the last response.
    Idle,
    /// The first bytes of a request's head have arrived.
    Head,
    /// The head is complete. The body's own timeout limits this phase.
    Body,
    /// The body is complete, and the response isn't.
    Working,
    /// The response waits for the client to receive it.
    Sending,
}

/// Phase of one connection, shared by its parts and by the list of all connections.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    eviction: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// A request has arrived.
    is_used: bool,
}

impl Default for Activity {
    fn default() -> Self {
        let state = State { phase: Phase::Handshake, since: Instant::now(), is_used: false };
        Self { state: Mutex::new(state), eviction: CancellationToken::new() }
    }
}

impl Phase {
    /// The connection waits for its client, and its end loses no response.
    pub(super) fn waits_for_client(self) -> bool {
        match self {
            Self::Handshake | Self::Idle | Self::Head | Self::Body => true,
            Self::Working | Self::Sending => false,
        }
    }
}

impl Activity {
    pub(super) fn phase(&self) -> Phase {
        lock(&self.state).phase
    }

    fn enter(&self, phase: Phase) {
        let mut state = lock(&self.state);
        (state.phase, state.since) = (phase, Instant::now());
    }

    /// Records the end of the handshake.
    pub(super) fn connected(&self) {
        self.enter(Phase::Idle);
    }

    /// Records received bytes. In an idle connection they begin a head. hyper may read the beginning of a
    /// pipelined head together with the previous body; such a head starts no timeout.
    pub(super) fn received_bytes(&self) {
        let mut state = lock(&self.state);
        if state.phase == Phase::Idle {
            (state.phase, state.since) = (Phase::Head, Instant::now());
        }
    }

    /// Records a complete head.
    pub(super) fn received_head(&self) {
        *lock(&self.state) = State { phase: Phase::Body, since: Instant::now(), is_used: true };
    }

    /// Records a complete body.
    pub(super) fn received_body(&self) {
        self.enter(Phase::Working);
    }

    /// Records a complete response. The connection is idle when the returned bytes are dropped, which hyper
    /// does after it has sent them.
    pub(super) fn responded(self: &Arc<Self>, body: Bytes) -> Bytes {
        self.enter(Phase::Sending);
        Bytes::from_owner(Response { body, activity: Arc::clone(self) })
    }

    /// Time at which the current phase has lasted too long. A server that stops closes idle connections at
    /// once, except new ones: their clients opened them for a request.
    pub(super) fn deadline(&self, timeouts: Timeouts, is_stopping: bool) -> Option<Instant> {
        let State { phase, since, is_used } = *lock(&self.state);
        match phase {
            Phase::Idle if !is_stopping => Some(since + timeouts.idle),
            Phase::Idle if is_used => Some(since),
            Phase::Handshake | Phase::Idle | Phase::Head | Phase::Sending => Some(since + timeouts.read),
            Phase::Body | Phase::Working => None,
        }
    }

    /// Start of the phase, if the connection may be evicted.
    pub(super) fn evictable_since(&self) -> Option<Instant> {
        let State { phase, since, .. } = *lock(&self.state);
        (phase.waits_for_client() && !self.is_evicted()).then_some(since)
    }

    /// Asks the connection to close.
    pub(super) fn evict(&self) {
        self.eviction.cancel();
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.eviction.is_cancelled()
    }

    /// Waits for [`evict`](Self::evict).
    pub(super) fn evicted(&self) -> WaitForCancellationFuture<'_> {
        self.eviction.cancelled()
    }
}

/// Body of a response that hyper sends.
struct Response {
    body: Bytes,
    activity: Arc<Activity>,
}

impl AsRef<[u8]> for Response {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        let mut state = lock(&self.activity.state);
        if state.phase == Phase::Sending {
            (state.phase, state.since) = (Phase::Idle, Instant::now());
        }
    }
}
