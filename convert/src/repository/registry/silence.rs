//! Noticing that a registry no longer takes what it is sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::Instant;

use super::super::ByteStream;

/// When the last piece of a content was taken.
#[derive(Clone)]
pub(super) struct Taken(Arc<Mutex<Instant>>);

/// The same content, and the knowledge of when it was taken from last.
pub(super) fn watched(content: ByteStream) -> (ByteStream, Taken) {
    let taken = Taken(Arc::new(Mutex::new(Instant::now())));
    let note = taken.clone();
    let content = content.inspect(move |_| {
        *note.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    });
    (Box::pin(content), taken)
}

impl Taken {
    /// Ends once nothing has been taken for so long.
    pub(super) async fn silence(&self, limit: Duration) {
        loop {
            let end = self.last() + limit;
            tokio::time::sleep_until(end).await;
            if self.last() + limit <= end {
                return;
            }
        }
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(5);

    #[tokio::test(start_paused = true)]
    async fn silence_begins_when_the_last_piece_was_taken() {
        let pieces = [b"one", b"two"].map(|piece| Ok(bytes::Bytes::from_static(piece)));
        let (mut content, taken) = watched(Box::pin(futures::stream::iter(pieces)));
        let started = Instant::now();
        content.next().await.unwrap().unwrap();
        // Half of the silence, and then another piece.
        let half = tokio::time::timeout(LIMIT / 2, taken.silence(LIMIT)).await;
        assert!(half.is_err(), "it ended too early");
        content.next().await.unwrap().unwrap();
        taken.silence(LIMIT).await;
        assert!((LIMIT * 3 / 2..LIMIT * 2).contains(&started.elapsed()));
    }
}
