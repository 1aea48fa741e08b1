//! Noticing that a registry sends, but hardly.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use super::limits::Limits;
use crate::{ByteStream, RepositoryError};

/// The same content; `too_slow` ends it where less comes than must. Only the time of waiting for it
/// counts: whoever reads may take his own.
pub(super) fn watched(content: ByteStream, limits: Limits, too_slow: RepositoryError) -> ByteStream {
    let watch = Watch { content, waited: Duration::ZERO, came: 0, too_slow: Some(too_slow) };
    Box::pin(stream::unfold(watch, move |mut watch| async move {
        let next = watch.next(limits).await?;
        Some((next, watch))
    }))
}

struct Watch {
    content: ByteStream,
    waited: Duration,
    came: u64,
    /// Gone when it was told.
    too_slow: Option<RepositoryError>,
}

impl Watch {
    async fn next(&mut self, limits: Limits) -> Option<io::Result<Bytes>> {
        self.too_slow.as_ref()?;
        let asked = Instant::now();
        let next = self.content.next().await?;
        self.waited += asked.elapsed();
        self.came += next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.waited < limits.pace_time {
            return Some(next);
        }
        if self.came < limits.pace_bytes {
            return self.too_slow.take().map(|error| Err(io::Error::other(error)));
        }
        (self.waited, self.came) = (Duration::ZERO, 0);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Trouble};

    fn limits() -> Limits {
        Limits { pace_time: Duration::from_mins(1), pace_bytes: 100, ..Limits::default() }
    }

    fn too_slow() -> RepositoryError {
        RepositoryError {
            operation: String::new(),
            location: String::new(),
            message: "too slow".to_owned(),
            access: Access::Pull,
            trouble: Trouble::Unavailable,
        }
    }

    /// A piece of this size every 20 seconds.
    fn every_20_seconds(size: usize) -> ByteStream {
        Box::pin(stream::repeat(vec![0; size]).take(100).then(|piece| async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Ok(Bytes::from(piece))
        }))
    }

    async fn read(content: ByteStream) -> (usize, usize) {
        let pieces: Vec<_> = watched(content, limits(), too_slow()).collect().await;
        (
            pieces.iter().filter(|piece| piece.is_ok()).count(),
            pieces.iter().filter(|piece| piece.is_err()).count(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn what_hardly_comes_is_given_up_and_what_comes_is_not() {
        assert_eq!(read(every_20_seconds(33)).await, (2, 1));
        assert_eq!(read(every_20_seconds(34)).await, (100, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_his_time_is_not_held_against_the_registry() {
        let at_once = stream::repeat(Bytes::from_static(b"x")).take(10).map(Ok);
        let mut content = watched(Box::pin(at_once), limits(), too_slow());
        while let Some(piece) = content.next().await {
            piece.unwrap();
            tokio::time::sleep(Duration::from_mins(10)).await;
        }
    }
}
