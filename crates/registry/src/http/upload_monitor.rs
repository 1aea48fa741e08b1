//! Idle timeout and minimum throughput of uploads.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::Instant;
use zstart_core::sync::lock;

use super::timeouts::MinThroughput;
use crate::error::{RegistryError, Stalled};
use crate::store::ByteStream;

/// Progress of an upload.
#[derive(Clone)]
pub(crate) struct UploadMonitor {
    /// Time at which the HTTP client last asked for a chunk.
    last: Arc<Mutex<Instant>>,
    too_slow: Arc<Notify>,
    idle_limit: Duration,
    minimum: MinThroughput,
}

/// Returns `content`, to be sent, and a monitor of its progress. Only the time between two requests of the
/// HTTP client for a chunk counts, not the time that the encoder takes. The content stops once it is sent
/// too slowly.
pub(crate) fn monitor(
    content: ByteStream,
    idle_limit: Duration,
    minimum: MinThroughput,
) -> (ByteStream, UploadMonitor) {
    let last = Arc::new(Mutex::new(Instant::now()));
    let monitor = UploadMonitor { last, too_slow: Arc::default(), idle_limit, minimum };
    let meter =
        UploadMeter { content, given: None, waited: Duration::ZERO, sent: 0, monitor: monitor.clone() };
    let content = stream::unfold(meter, |mut meter| async move {
        let next = meter.next().await?;
        Some((next, meter))
    });
    (Box::pin(content), monitor)
}

struct UploadMeter {
    content: ByteStream,
    /// Time at which the HTTP client got the chunk that it is sending.
    given: Option<Instant>,
    waited: Duration,
    sent: u64,
    monitor: UploadMonitor,
}

impl UploadMeter {
    async fn next(&mut self) -> Option<Result<Bytes, RegistryError>> {
        self.waited += self.given.take().map_or(Duration::ZERO, |given| given.elapsed());
        let UploadMonitor { idle_limit, minimum, .. } = self.monitor;
        // The throughput of downloads, but over the idle limit: the registry's own storage may be away for
        // a while.
        if self.waited >= idle_limit {
            let windows = idle_limit.div_duration_f64(minimum.window);
            #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53")]
            if (self.sent as f64) < minimum.bytes as f64 * windows {
                self.monitor.too_slow.notify_one();
                return std::future::pending().await;
            }
            (self.waited, self.sent) = (Duration::ZERO, 0);
        }
        let next = self.content.next().await?;
        self.sent += next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        let now = Instant::now();
        *lock(&self.monitor.last) = now;
        self.given = Some(now);
        Some(next)
    }
}

impl UploadMonitor {
    /// Waits until the upload has stalled.
    pub(crate) async fn stalled(&self) -> Stalled {
        let Self { idle_limit, minimum, .. } = *self;
        tokio::select! {
            () = self.too_slow.notified() => {
                Stalled::SlowUpload { per_second: minimum.per_second(), window: idle_limit }
            }
            () = self.idle() => Stalled::IdleUpload { limit: idle_limit },
        }
    }

    async fn idle(&self) {
        loop {
            let end = self.last() + self.idle_limit;
            tokio::time::sleep_until(end).await;
            if self.last() + self.idle_limit <= end {
                return;
            }
        }
    }

    fn last(&self) -> Instant {
        *lock(&self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(5);
    const MINIMUM: MinThroughput = MinThroughput { bytes: 100, window: Duration::from_mins(1) };
    const IDLE: Stalled = Stalled::IdleUpload { limit: LIMIT };
    const SLOW: Stalled = Stalled::SlowUpload { per_second: 1, window: LIMIT };

    #[tokio::test(start_paused = true)]
    async fn idle_time_begins_with_the_last_chunk() {
        let chunks = [b"one", b"two"].map(|chunk| Ok(Bytes::from_static(chunk)));
        let (mut content, monitor) = monitor(Box::pin(stream::iter(chunks)), LIMIT, MINIMUM);
        let started = Instant::now();
        content.next().await.unwrap().unwrap();
        // Half of the limit, and then another chunk.
        let half = tokio::time::timeout(LIMIT / 2, monitor.idle()).await;
        assert!(half.is_err(), "the limit ended too early");
        content.next().await.unwrap().unwrap();
        assert_eq!(monitor.stalled().await, IDLE);
        assert!((LIMIT * 3 / 2..LIMIT * 2).contains(&started.elapsed()));
    }

    /// Number of chunks of this size that are sent, one every 20 seconds, until the upload stalls.
    async fn sent_of(size: usize) -> (usize, Option<Stalled>) {
        let chunks = stream::repeat(vec![0; size]).take(20).map(|chunk| Ok(Bytes::from(chunk)));
        let (mut content, monitor) = monitor(Box::pin(chunks), LIMIT, MINIMUM);
        let mut count = 0;
        let send = async {
            while let Some(chunk) = content.next().await {
                chunk.unwrap();
                count += 1;
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
        };
        let stalled = tokio::select! {
            () = send => None,
            stalled = monitor.stalled() => Some(stalled),
        };
        (count, stalled)
    }

    #[tokio::test(start_paused = true)]
    async fn upload_below_minimum_throughput_is_aborted() {
        assert_eq!(sent_of(33).await, (15, Some(SLOW)));
        assert_eq!(sent_of(34).await, (20, None));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_encoder_does_not_count_as_slow_upload() {
        let chunks = stream::repeat(Bytes::from_static(b"x")).take(10).then(|chunk| async {
            tokio::time::sleep(Duration::from_mins(4)).await;
            Ok(chunk)
        });
        let (content, monitor) = monitor(Box::pin(chunks), LIMIT, MINIMUM);
        tokio::select! {
            chunks = content.count() => assert_eq!(chunks, 10),
            stalled = monitor.stalled() => panic!("{stalled:?}"),
        }
    }
}
