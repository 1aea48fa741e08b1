//! The kubelets' events about pulled images, each once.
//!
//! The watch begins at the present, without a list: an event exists for an hour, and a cluster of 5,000 nodes has
//! 100,000 of them. The API server has no watch cache for events (`pkg/registry/cachesize/cachesize.go` of
//! Kubernetes), so a list would read all of them from etcd. A watch that ends continues at the last event that it
//! delivered. A watch that can't continue, because etcd was compacted meanwhile, begins at the present again. No
//! event is delivered twice therefore, and the pulls of a gap aren't measured.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::time::sleep_until;
use tracing::{debug, info, warn};
use zstart_core::chain;
use zstart_registry::Backoff;

use crate::watched::{PULLED_EVENTS, WatchedPulledEvent};

/// Duration of one watch, in seconds. The API server sends no bookmarks without a watch cache, and the client takes
/// a watch for dead that is silent for 150 seconds.
const WATCH_SECONDS: u32 = 120;
/// Least time from the begin of one watch to the next.
const SPACING: Duration = Duration::from_secs(1);
/// Delays after failures. The right to watch events may be missing.
const RETRIES: Backoff = Backoff { initial: Duration::from_secs(1), max: Duration::from_mins(5) };
/// HTTP status of a resource version that etcd no longer has.
const GONE: u16 = 410;

/// Endless source of events.
pub(super) struct PulledEvents {
    api: Api<WatchedPulledEvent>,
    /// Resource version after which the next watch begins; `None` for the present.
    after: Option<String>,
    watch: Option<BoxStream<'static, kube::Result<WatchEvent<WatchedPulledEvent>>>>,
    /// Earliest time of the next request.
    not_before: Instant,
    failures: u32,
}

impl PulledEvents {
    pub(super) fn new(client: &Client) -> Self {
        let api = Api::all(client.clone());
        Self { api, after: None, watch: None, not_before: Instant::now(), failures: 0 }
    }

    /// Waits for the next event. A call that is dropped loses none.
    pub(super) async fn next(&mut self) -> WatchedPulledEvent {
        loop {
            let Some(watch) = &mut self.watch else {
                sleep_until(self.not_before.into()).await;
                if let Err(error) = self.open().await {
                    self.fail(&error);
                }
                continue;
            };
            match watch.next().await {
                Some(Ok(WatchEvent::Added(event) | WatchEvent::Modified(event))) => {
                    self.after = event.resource_version();
                    return event;
                }
                Some(Ok(WatchEvent::Deleted(event))) => self.after = event.resource_version(),
                Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                    self.after = Some(bookmark.metadata.resource_version);
                }
                Some(Ok(WatchEvent::Error(status))) => self.fail(&kube::Error::Api(status)),
                Some(Err(error)) => self.fail(&error),
                None => self.watch = None,
            }
        }
    }

    /// Begins a watch.
    async fn open(&mut self) -> kube::Result<()> {
        self.not_before = Instant::now() + SPACING;
        let after = match &self.after {
            Some(after) => after.clone(),
            None => present(&self.api).await?,
        };
        self.after = Some(after.clone());
        let parameters = WatchParams::default().fields(PULLED_EVENTS).timeout(WATCH_SECONDS);
        self.watch = Some(self.api.watch(&parameters, &after).await?.boxed());
        if self.failures > 0 {
            info!("the watch of pull times works again");
        }
        self.failures = 0;
        Ok(())
    }

    fn fail(&mut self, error: &kube::Error) {
        self.watch = None;
        if matches!(error, kube::Error::Api(status) if status.code == GONE) {
            debug!("etcd was compacted since the last pull: watching from the present on");
            self.after = None;
            return;
        }
        if matches!(error, kube::Error::SerdeError(_)) {
            // The same event would end the next watch too.
            self.after = None;
        }
        self.failures = self.failures.saturating_add(1);
        let delay = RETRIES.delay(self.failures);
        self.not_before = Instant::now() + delay;
        let error = chain(error);
        warn!(error, ?delay, "failed to watch the kubelets' events, so pulls aren't measured meanwhile");
    }
}

/// Resource version of the present. A list of one event, without a selector, reads one event from etcd.
async fn present(api: &Api<WatchedPulledEvent>) -> kube::Result<String> {
    let list = api.list(&ListParams::default().limit(1)).await?;
    Ok(list.metadata.resource_version.unwrap_or_default())
}
