//! The route `POST /mutate`: receives a review within limits, and sends its response.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use zstart_core::chain;

use super::activity::Activity;
use super::body::{self, BodyError};
use crate::handler::{Handler, Reviewed};
use crate::metrics::{Metrics, Outcome};
use crate::review::ReviewError;

/// Most bytes of review bodies in memory, except [`body::FREE_BYTES`] of each. A request beyond the limit waits.
const MAX_BUFFERED_BYTES: usize = 32 << 20;
/// Most reviews that are parsed concurrently. A review takes microseconds, but a malicious review may take
/// many times its size in memory.
const MAX_CONCURRENT_REVIEWS: usize = 2;
/// Longest response that is never refused. The patch of a pod with a hundred containers is shorter.
const SMALL_RESPONSE_BYTES: usize = 64 << 10;
/// Most bytes of longer responses that wait for their clients.
const MAX_LARGE_RESPONSE_BYTES: usize = 16 << 20;

/// State shared by all requests.
#[derive(Clone)]
pub(super) struct ReviewService {
    handler: Arc<Handler>,
    metrics: Arc<Metrics>,
    /// One permit for each byte of review bodies in memory.
    buffer_permits: Arc<Semaphore>,
    /// One permit for each review that is parsed concurrently.
    review_permits: Arc<Semaphore>,
    /// One permit for each byte of large responses.
    response_permits: Arc<Semaphore>,
    within: Duration,
}

impl ReviewService {
    /// Creates the state. `within` is the timeout for a request's body.
    pub(super) fn new(handler: Arc<Handler>, metrics: Arc<Metrics>, within: Duration) -> Self {
        Self {
            handler,
            metrics,
            buffer_permits: Arc::new(Semaphore::new(MAX_BUFFERED_BYTES)),
            review_permits: Arc::new(Semaphore::new(MAX_CONCURRENT_REVIEWS)),
            response_permits: Arc::new(Semaphore::new(MAX_LARGE_RESPONSE_BYTES)),
            within,
        }
    }
}

/// Error of a request that gets an HTTP error status instead of a review. The API server then fails open.
#[derive(Debug, Error)]
pub(super) enum MutateError {
    #[error("failed to receive the review within {within:?}")]
    Timeout { within: Duration },
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A response must repeat the uid, which wasn't parsed.
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error("failed to serialize the response")]
    Serialize { source: serde_json::Error },
    #[error(
        "failed to send a response of {bytes} bytes: large responses that no client receives fill \
         {MAX_LARGE_RESPONSE_BYTES} bytes"
    )]
    Busy { bytes: usize },
}

impl MutateError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout { .. } => Outcome::Timeout,
            Self::Review(_) => Outcome::Malformed,
            Self::Body(_) | Self::Serialize { .. } | Self::Busy { .. } => Outcome::Refused,
        }
    }
}

impl IntoResponse for MutateError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Timeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::Read { .. }) | Self::Review(_) => StatusCode::BAD_REQUEST,
            Self::Serialize { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, chain(&self)).into_response()
    }
}

/// Reviews a pod. The measured time includes the body and the waits for permits.
pub(super) async fn mutate(
    State(service): State<ReviewService>,
    Extension(activity): Extension<Arc<Activity>>,
    request: Request,
) -> Result<impl IntoResponse, MutateError> {
    let timer = service.metrics.start_review();
    let answered = answer(&service, &activity, request).await;
    timer.finish(match &answered {
        Ok((_, outcome)) => *outcome,
        Err(error) => Some(error.outcome()),
    });
    answered.map(|(body, _)| ([(header::CONTENT_TYPE, "application/json")], body))
}

/// Returns the response's body, and the outcome if the review is counted.
async fn answer(
    service: &ReviewService,
    activity: &Activity,
    request: Request,
) -> Result<(Bytes, Option<Outcome>), MutateError> {
    let ReviewService { handler, buffer_permits, review_permits, response_permits, within, .. } = service;
    let receive = async {
        let body = body::read(request.into_body(), buffer_permits).await?;
        activity.received_body();
        // The semaphore is never closed, so a permit is always acquired.
        Ok((body, review_permits.acquire().await))
    };
    let (body, _review_permit) =
        timeout(*within, receive).await.unwrap_or(Err(MutateError::Timeout { within: *within }))?;
    let Reviewed { response, outcome } = handler
        .review(&body.bytes, Timestamp::now())
        .inspect_err(|error| tracing::warn!(error = chain(error), "refused a request that isn't a review"))?;
    let bytes = response.to_review().map_err(|source| MutateError::Serialize { source })?;
    Ok((limited(bytes, response_permits)?, outcome))
}

/// Takes permits for a large response, until it is sent.
fn limited(bytes: Vec<u8>, response_permits: &Arc<Semaphore>) -> Result<Bytes, MutateError> {
    if bytes.len() <= SMALL_RESPONSE_BYTES {
        return Ok(bytes.into());
    }
    let busy = MutateError::Busy { bytes: bytes.len() };
    let permits = u32::try_from(bytes.len())
        .ok()
        .and_then(|size| Arc::clone(response_permits).try_acquire_many_owned(size).ok());
    let Some(permit) = permits else { return Err(busy) };
    Ok(Bytes::from_owner(LargeResponse { bytes, _permit: permit }))
}

struct LargeResponse {
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for LargeResponse {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsent_large_responses_refuse_others_and_small_ones_never() {
        let permits = Arc::new(Semaphore::new(SMALL_RESPONSE_BYTES * 2));
        let large = vec![b' '; SMALL_RESPONSE_BYTES + 1];
        let unsent = limited(large.clone(), &permits).unwrap();
        let refused = limited(large.clone(), &permits).unwrap_err();
        assert!(matches!(refused, MutateError::Busy { bytes } if bytes == large.len()));
        assert!(limited(vec![b' '; SMALL_RESPONSE_BYTES], &permits).is_ok());
        drop(unsent);
        assert!(limited(large, &permits).is_ok());
    }
}
