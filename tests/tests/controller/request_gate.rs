//! Holds requests until a test opens the gate.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use zstart_tests::registry::gateway::Fault;

use crate::lab::WITHIN;

/// Holds every request that its fault applies to.
#[derive(Default)]
pub(crate) struct RequestGate {
    arrived: CancellationToken,
    released: CancellationToken,
}

impl RequestGate {
    pub(crate) fn fault(&self) -> Fault {
        let (arrived, released) = (self.arrived.clone(), self.released.clone());
        Fault::RunFirst(Arc::new(move || -> BoxFuture<'static, ()> {
            arrived.cancel();
            Box::pin(released.clone().cancelled_owned())
        }))
    }

    /// Waits until a request is held.
    pub(crate) async fn wait_for_request(&self, what: &str) -> Result<()> {
        let arrived = tokio::time::timeout(WITHIN, self.arrived.cancelled()).await;
        arrived.with_context(|| format!("no request to {what} arrived"))
    }

    /// Releases the held requests and lets all later ones pass.
    pub(crate) fn open(&self) {
        self.released.cancel();
    }
}
