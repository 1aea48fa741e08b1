//! HTTPS server with the single route `POST /mutate`.

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

/// Most open connections. An API server keeps a few connections open; more than this many have another
/// source.
const MAX_CONNECTIONS: usize = 1024;
/// Most open requests of one connection. At the limit, an API server opens another connection.
const MAX_CONCURRENT_STREAMS: u32 = 64;
/// Most bytes of a request that are received before the server reads them; twice as many for all requests of
/// a connection. API servers are near, so even a large review hardly waits for window updates.
const RECEIVE_WINDOW: u32 = 64 << 10;
/// Most bytes of review bodies in memory. A request beyond the limit waits.
const MAX_BUFFERED_BYTES: usize = 32 << 20;
/// Most reviews that are parsed concurrently. A review takes microseconds, but a malicious review may take
/// many times its size in memory.
const MAX_CONCURRENT_REVIEWS: usize = 2;

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// Timeout for a handshake, for a connection's first request, and for a request's head or body.
    /// Default: 5 s. The API server gives up after two seconds, so a slower client isn't an API server.
    pub(crate) read: Duration,
    /// Longest time between requests of a connection. Default: 3 min. API servers keep idle connections for
    /// 90 s.
    pub(crate) idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { read: Duration::from_secs(5), idle: Duration::from_mins(3) }
    }
}

/// Delay after a failed accept, e.g. for lack of file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until `stop` is cancelled, then finishes the requests in flight for at most `finish_within`.
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
    // Open connections shut down gracefully: each ends after its pending responses.
    if timeout(finish_within, open.wait()).await.is_err() {
        tracing::warn!("closed connections that were still open at the shutdown deadline");
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
        // Port scans and probes end here as well, so the log level is debug.
        Ok(Err(error)) => return tracing::debug!(error = chain(&error), "failed a TLS handshake"),
        Err(_) => return tracing::debug!("closed a connection without a TLS handshake in time"),
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
        // A client that doesn't receive its pending response in time is disconnected.
        match timeout(timeouts.read, connection).await {
            Ok(ended) => ended,
            Err(_) => return tracing::debug!("closed a connection that didn't shut down in time"),
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = chain(error.as_ref()), "lost a connection");
    }
}

/// State shared by all requests.
#[derive(Clone)]
struct ReviewService {
    handler: Arc<Handler>,
    /// One permit for each byte of review bodies in memory.
    buffer_permits: Arc<Semaphore>,
    /// One permit for each review that is parsed concurrently.
    review_permits: Arc<Semaphore>,
    within: Duration,
}

/// Error of a request that gets an HTTP error status instead of a review. The API server then fails open.
#[derive(Debug, Error)]
enum MutateError {
    #[error("failed to receive the review within {within:?}")]
    Timeout { within: Duration },
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A response must repeat the uid, which wasn't parsed.
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
        // The semaphore is never closed, so a permit is always acquired.
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
