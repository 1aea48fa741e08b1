//! HTTPS: `POST /mutate`, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zstart_core::chain;

use self::activity::Activity;
use self::body::BodyError;
use crate::handler::Handler;
use crate::review::ReviewError;

mod activity;
mod body;
#[cfg(test)]
mod tests;

/// An API server keeps a few connections open. More than this many are somebody else's.
const MAX_CONNECTIONS: usize = 1024;
/// How many requests a connection may have open. API servers open more connections then.
const MAX_CONCURRENT_STREAMS: u32 = 64;
/// How many bytes of a request may come ahead of being read; a connection's together, twice as many.
/// API servers are near, so that even a large review hardly waits for it.
const RECEIVE_WINDOW: u32 = 64 << 10;
/// How many bytes of reviews are held at once; who brings more waits.
const MAX_BUFFERED_BYTES: usize = 32 << 20;
/// How many reviews are understood at once. Each takes microseconds, but one that was made to do harm
/// may take many times its size.
const MAX_CONCURRENT_REVIEWS: usize = 2;

/// How patient the server is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// How long a handshake, a connection's first request, a request's head or its body may take. The
    /// API server gives up after two seconds; whoever is slower isn't one.
    pub(crate) read: Duration,
    /// How long a connection may be without a request. API servers keep theirs for 90 s.
    pub(crate) idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { read: Duration::from_secs(5), idle: Duration::from_mins(3) }
    }
}

/// How long to wait when no connection can be accepted, e.g. for want of file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until `stop`, and then until every request that was on its way has its answer, or
/// `finish_within` is over.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handler: Arc<Handler>,
    timeouts: Timeouts,
    stop: CancellationToken,
    finish_within: Duration,
) {
    let service = ReviewService {
        handler,
        buffer_permits: Arc::new(Semaphore::new(MAX_BUFFERED_BYTES)),
        review_permits: Arc::new(Semaphore::new(MAX_CONCURRENT_REVIEWS)),
        within: timeouts.read,
    };
    let router = Router::new().route("/mutate", post(mutate)).with_state(service);
    let (permits, open) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        if let Some((stream, permit)) = accepted {
            let connection = connection(stream, acceptor.clone(), router.clone(), timeouts, stop.clone());
            open.spawn(async move {
                connection.await;
                drop(permit);
            });
        }
    }
    drop(listener);
    open.close();
    // Open connections are told to go elsewhere, and end after the answers they owe.
    if timeout(finish_within, open.wait()).await.is_err() {
        tracing::warn!("connections were still open at the end and are cut");
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection");
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    timeouts: Timeouts,
    stop: CancellationToken,
) {
    let stream = match timeout(timeouts.read, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        // Port scans and probes end here too: not worth more than a line for whoever looks.
        Ok(Err(error)) => return tracing::debug!(error = chain(&error), "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let activity = Activity::default();
    let router = router.layer(from_fn_with_state(activity.clone(), activity::track));
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.read)
        .max_buf_size(RECEIVE_WINDOW as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_stream_window_size(RECEIVE_WINDOW)
        .initial_connection_window_size(2 * RECEIVE_WINDOW);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = activity.wait_until_idle(timeouts.read, timeouts.idle) => None,
        () = stop.cancelled() => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        // Whoever doesn't take the answer that is owed is cut off.
        match timeout(timeouts.read, connection).await {
            Ok(ended) => ended,
            Err(_) => return tracing::debug!("a connection that was to end is cut"),
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = chain(error.as_ref()), "a connection broke off");
    }
}

/// What every review is answered with.
#[derive(Clone)]
struct ReviewService {
    handler: Arc<Handler>,
    /// A permit for each byte that may still be held.
    buffer_permits: Arc<Semaphore>,
    /// A permit for each review that may be understood at the same time.
    review_permits: Arc<Semaphore>,
    within: Duration,
}

/// A request that gets an HTTP error instead of a review. The API server fails open then.
#[derive(Debug, Error)]
enum MutateError {
    #[error("failed to receive the review within {within:?}")]
    Timeout { within: Duration },
    #[error(transparent)]
    Body(#[from] BodyError),
    /// No uid was parsed, and a response must name one.
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error("failed to serialize the response")]
    Serialize { source: serde_json::Error },
}

impl IntoResponse for MutateError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Timeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::Read { .. }) | Self::Review(_) => StatusCode::BAD_REQUEST,
            Self::Serialize { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, chain(&self)).into_response()
    }
}

async fn mutate(
    State(service): State<ReviewService>,
    request: Request,
) -> Result<impl IntoResponse, MutateError> {
    let ReviewService { handler, buffer_permits, review_permits, within } = service;
    let receive = async {
        let body = body::read(request.into_body(), &buffer_permits).await?;
        // The semaphore is never closed.
        Ok((body, review_permits.acquire().await))
    };
    let (body, _review_permit) =
        timeout(within, receive).await.unwrap_or(Err(MutateError::Timeout { within }))?;
    let response = handler
        .review(&body.bytes, Timestamp::now())
        .inspect_err(|error| tracing::warn!(error = chain(error), "refused a request that isn't a review"))?;
    let review = response.to_review().map_err(|source| MutateError::Serialize { source })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], review))
}
