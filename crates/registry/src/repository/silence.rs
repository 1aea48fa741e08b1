//! Noticing that a registry no longer takes what it is sent, or hardly.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits::Limits;
use crate::ByteStream;

/// How a content is taken.
#[derive(Clone)]
pub(super) struct Taken {
    /// When its last piece was.
    last: Arc<Mutex<Instant>>,
    too_slowly: Arc<Notify>,
}

/// Why no more is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing was taken for too long.
    Silent,
    /// Less was taken than must be.
    Slow,
}

/// The same content, and the knowledge of how it is taken. It stands still once that is too slowly; only the
/// time for which a piece isn't asked for counts, since whoever makes them may take his own.
pub(super) fn watched(content: ByteStream, limits: Limits) -> (ByteStream, Taken) {
    let taken = Taken { last: Arc::new(Mutex::new(Instant::now())), too_slowly: Arc::default() };
    let watch = Watch { content, given: None, waited: Duration::ZERO, bytes: 0, taken: taken.clone() };
    let content = stream::unfold(watch, move |mut watch| async move {
        let next = watch.next(limits).await?;
        Some((next, watch))
    });
    (Box::pin(content), taken)
}

struct Watch {
    content: ByteStream,
    /// When the piece was given that is being taken.
    given: Option<Instant>,
    waited: Duration,
    bytes: u64,
    taken: Taken,
}

impl Watch {
    async fn next(&mut self, limits: Limits) -> Option<io::Result<Bytes>> {
        self.waited += self.given.take().map_or(Duration::ZERO, |given| given.elapsed());
        // As much in its time as must come of a layer, but over as long as it may be silent: what it takes
        // may have to go on to a store that is away for a while.
        if self.waited >= limits.write_silence {
            let least = limits.write_silence.div_duration_f64(limits.pace_time);
            #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53")]
            if (self.bytes as f64) < limits.pace_bytes as f64 * least {
                self.taken.too_slowly.notify_one();
                return std::future::pending().await;
            }
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        let next = self.content.next().await?;
        self.bytes += next.as_ref().map_or(0, |piece| piece.len() as u64);
        let now = Instant::now();
        *self.taken.last.lock().unwrap_or_else(PoisonError::into_inner) = now;
        self.given = Some(now);
        Some(next)
    }
}

impl Taken {
    /// Ends once nothing has been taken for so long, or it is taken too slowly.
    pub(super) async fn ended(&self, silence: Duration) -> Ended {
        tokio::select! {
            () = self.too_slowly.notified() => Ended::Slow,
            () = self.silence(silence) => Ended::Silent,
        }
    }

    async fn silence(&self, limit: Duration) {
        loop {
            let end = self.last() + limit;
            tokio::time::sleep_until(end).await;
            if self.last() + limit <= end {
                return;
            }
        }
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(5);

    fn limits() -> Limits {
        Limits {
            write_silence: LIMIT,
            pace_time: Duration::from_mins(1),
            pace_bytes: 100,
            ..Limits::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_begins_when_the_last_piece_was_taken() {
        let pieces = [b"one", b"two"].map(|piece| Ok(Bytes::from_static(piece)));
        let (mut content, taken) = watched(Box::pin(stream::iter(pieces)), limits());
        let started = Instant::now();
        content.next().await.unwrap().unwrap();
        // Half of the silence, and then another piece.
        let half = tokio::time::timeout(LIMIT / 2, taken.silence(LIMIT)).await;
        assert!(half.is_err(), "it ended too early");
        content.next().await.unwrap().unwrap();
        assert_eq!(taken.ended(LIMIT).await, Ended::Silent);
        assert!((LIMIT * 3 / 2..LIMIT * 2).contains(&started.elapsed()));
    }

    /// How many pieces of this size are taken, one every 20 seconds, until that is given up.
    async fn taken_of(size: usize) -> (usize, Option<Ended>) {
        let pieces = stream::repeat(vec![0; size]).take(20).map(|piece| Ok(Bytes::from(piece)));
        let (mut content, taken) = watched(Box::pin(pieces), limits());
        let mut count = 0;
        let take = async {
            while let Some(piece) = content.next().await {
                piece.unwrap();
                count += 1;
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
        };
        let ended = tokio::select! {
            () = take => None,
            ended = taken.ended(LIMIT) => Some(ended),
        };
        (count, ended)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_hardly_taken_is_given_up_and_what_is_taken_is_not() {
        assert_eq!(taken_of(33).await, (15, Some(Ended::Slow)));
        assert_eq!(taken_of(34).await, (20, None));
    }

    #[tokio::test(start_paused = true)]
    async fn an_encoder_that_takes_its_time_is_not_held_against_the_registry() {
        let pieces = stream::repeat(Bytes::from_static(b"x")).take(10).then(|piece| async {
            tokio::time::sleep(Duration::from_mins(4)).await;
            Ok(piece)
        });
        let (content, taken) = watched(Box::pin(pieces), limits());
        tokio::select! {
            pieces = content.count() => assert_eq!(pieces, 10),
            ended = taken.ended(LIMIT) => panic!("{ended:?}"),
        }
    }
}
