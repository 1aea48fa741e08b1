//! Body of a review, read within limits: every client that reaches the port may send a body.

use axum::body::{Body, HttpBody as _};
use futures::StreamExt as _;
use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of each body that take no permits. Most reviews are shorter, so large bodies can't keep them waiting.
/// A thousand connections hold 32 MiB of such bodies.
pub(super) const FREE_BYTES: usize = 32 << 10;
/// Longest body. The API server accepts objects of at most 3 MiB, and the review of an update holds two.
pub(super) const MAX_BODY_BYTES: usize = 8 << 20;

/// Body in memory, with the permits for its bytes.
pub(super) struct BufferedBody<'a> {
    pub(super) bytes: Vec<u8>,
    _permits: Option<SemaphorePermit<'a>>,
}

/// Error of a body that isn't buffered.
#[derive(Debug, Error)]
pub(super) enum BodyError {
    #[error("the review's body exceeds the limit of {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("failed to read the review's body")]
    Read { source: axum::Error },
}

/// Reads a body into memory. Each byte after the first [`FREE_BYTES`] takes one of `buffer_permits` when the byte
/// has arrived. An announced length takes no permits: a few clients that announce much and send nothing would
/// block all other clients.
pub(super) async fn read(body: Body, buffer_permits: &Semaphore) -> Result<BufferedBody<'_>, BodyError> {
    // A body with an oversized announced length is refused unread.
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(BodyError::TooLarge);
    }
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut permits: Option<SemaphorePermit<'_>> = None;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|source| BodyError::Read { source })?;
        if bytes.len() + piece.len() > MAX_BODY_BYTES {
            return Err(BodyError::TooLarge);
        }
        let needed = (bytes.len() + piece.len()).saturating_sub(FREE_BYTES);
        let held = permits.as_ref().map_or(0, SemaphorePermit::num_permits);
        if needed > held {
            // Both always succeed: no piece is larger than a body, and the semaphore is never closed.
            let size = u32::try_from(needed - held).map_err(|_| BodyError::TooLarge)?;
            let more = buffer_permits.acquire_many(size).await.map_err(|_| BodyError::TooLarge)?;
            match &mut permits {
                Some(permits) => permits.merge(more),
                None => permits = Some(more),
            }
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(BufferedBody { bytes, _permits: permits })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{FutureExt as _, stream};

    use super::*;

    fn body(pieces: &[usize]) -> Body {
        let pieces = pieces.iter().map(|size| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; *size])));
        Body::from_stream(stream::iter(pieces.collect::<Vec<_>>()))
    }

    #[tokio::test]
    async fn received_bytes_take_permits_until_dropped() {
        let buffer_permits = Semaphore::new(10);
        // The length is unknown, and the second piece never arrives.
        let silent = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b' '; FREE_BYTES + 4]))]);
        let silent = Body::from_stream(silent.chain(stream::pending()));
        let mut waiting = Box::pin(read(silent, &buffer_permits));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(buffer_permits.available_permits(), 6);
        let held = read(body(&[FREE_BYTES - 1, 3, 4]), &buffer_permits).await.unwrap();
        assert_eq!((held.bytes.len(), buffer_permits.available_permits()), (FREE_BYTES + 6, 0));
        assert!(read(body(&[FREE_BYTES + 1]), &buffer_permits).now_or_never().is_none(), "no permit is left");
        // An ordinary review waits for no large one.
        assert!(read(body(&[FREE_BYTES]), &buffer_permits).now_or_never().is_some_and(|read| read.is_ok()));
        drop((waiting, held));
        assert_eq!(buffer_permits.available_permits(), 10);
    }

    #[tokio::test]
    async fn body_of_unknown_length_is_refused_at_the_limit() {
        let buffer_permits = Semaphore::new(MAX_BODY_BYTES * 2);
        let refused = read(body(&[MAX_BODY_BYTES, 1]), &buffer_permits).await;
        assert!(matches!(refused, Err(BodyError::TooLarge)));
        assert!(read(body(&[MAX_BODY_BYTES]), &buffer_permits).await.is_ok());
    }
}
