//! Minimum throughput of downloads.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use std::time::Duration;
use tokio::time::Instant;

use super::timeouts::MinThroughput;
use crate::error::{RequestError, Stalled};

/// Bytes of a response body.
pub(crate) type Chunks = BoxStream<'static, Result<Bytes, RequestError>>;

/// Passes `content` on; fails once it arrives slower than `minimum`. Only the time of waiting for the
/// registry counts, not the time that the reader takes.
pub(crate) fn require_throughput(content: Chunks, minimum: MinThroughput) -> Chunks {
    let meter = DownloadMeter { content, waited: Duration::ZERO, received: 0, is_aborted: false };
    Box::pin(stream::unfold(meter, move |mut meter| async move {
        let next = meter.next(minimum).await?;
        Some((next, meter))
    }))
}

struct DownloadMeter {
    content: Chunks,
    waited: Duration,
    received: u64,
    is_aborted: bool,
}

impl DownloadMeter {
    async fn next(&mut self, minimum: MinThroughput) -> Option<Result<Bytes, RequestError>> {
        if self.is_aborted {
            return None;
        }
        let asked = Instant::now();
        let next = self.content.next().await?;
        self.waited += asked.elapsed();
        self.received += next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.waited < minimum.window {
            return Some(next);
        }
        if self.received < minimum.bytes {
            self.is_aborted = true;
            let (per_second, window) = (minimum.per_second(), minimum.window);
            return Some(Err(Stalled::SlowDownload { per_second, window }.into()));
        }
        (self.waited, self.received) = (Duration::ZERO, 0);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMUM: MinThroughput = MinThroughput { bytes: 100, window: Duration::from_mins(1) };

    /// A chunk of this size every 20 seconds.
    fn every_20_seconds(size: usize) -> Chunks {
        Box::pin(stream::repeat(vec![0; size]).take(100).then(|chunk| async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Ok(Bytes::from(chunk))
        }))
    }

    async fn read(content: Chunks) -> (usize, usize) {
        let chunks: Vec<_> = require_throughput(content, MINIMUM).collect().await;
        (
            chunks.iter().filter(|chunk| chunk.is_ok()).count(),
            chunks.iter().filter(|chunk| chunk.is_err()).count(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn download_below_minimum_throughput_is_aborted() {
        assert_eq!(read(every_20_seconds(33)).await, (2, 1));
        assert_eq!(read(every_20_seconds(34)).await, (100, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_reader_does_not_count_as_slow_download() {
        let at_once = stream::repeat(Bytes::from_static(b"x")).take(10).map(Ok);
        let mut content = require_throughput(Box::pin(at_once), MINIMUM);
        while let Some(chunk) = content.next().await {
            chunk.unwrap();
            tokio::time::sleep(Duration::from_mins(10)).await;
        }
    }
}
