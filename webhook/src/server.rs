//! HTTPS: `POST /mutate`, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zstart_core::chain;

use self::activity::Activity;
use crate::handler::Handler;

mod activity;
#[cfg(test)]
mod tests;

/// An object has at most 3 MiB on its way into the API server, and an update sends two.
const BODY_MAX: usize = 8 << 20;
/// An API server keeps a few connections open. More than this many are somebody else's.
const CONNECTIONS_MAX: usize = 1024;
/// How many requests a connection may have open. API servers open more connections then.
const STREAMS_MAX: u32 = 64;
/// How many bytes of reviews are held at once; who brings more waits. Anybody who reaches the port may
/// send one, and reading it takes some times its size.
const HELD_MAX: usize = 64 << 20;

/// How patient the server is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long a handshake, a connection's first request, a request's head or its body may take. The
    /// API server gives up after two seconds; whoever is slower isn't one.
    pub(crate) read: Duration,
    /// How long a connection may be without a request. API servers keep theirs for 90 s.
    pub(crate) idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { read: Duration::from_secs(5), idle: Duration::from_mins(3) }
    }
}

/// How long to wait when no connection can be accepted, e.g. for want of file descriptors.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Serves until `stop`, and then until every request that was on its way has its answer, or
/// `finish_within` is over.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handler: Arc<Handler>,
    limits: Limits,
    stop: CancellationToken,
    finish_within: Duration,
) {
    let room = Arc::new(Semaphore::new(HELD_MAX));
    let router = Router::new()
        .route("/mutate", post(mutate))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Reviews { handler, room, within: limits.read });
    let (permits, open) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        if let Some((stream, permit)) = accepted {
            let connection = connection(stream, acceptor.clone(), router.clone(), limits, stop.clone());
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
            tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let stream = match timeout(limits.read, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        // Port scans and probes end here too: not worth more than a line for whoever looks.
        Ok(Err(error)) => return tracing::debug!(error = chain(&error), "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let activity = Activity::default();
    let router = router.layer(from_fn_with_state(activity.clone(), activity::track));
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.read);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = activity.idle(limits.read, limits.idle) => None,
        () = stop.cancelled() => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        // Whoever doesn't take the answer that is owed is cut off.
        match timeout(limits.read, connection).await {
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
struct Reviews {
    handler: Arc<Handler>,
    /// A permit for each byte that may still be held.
    room: Arc<Semaphore>,
    within: Duration,
}

async fn mutate(State(reviews): State<Reviews>, request: Request) -> Response {
    let Reviews { handler, room, within } = reviews;
    // What says beforehand that it is too large isn't waited for.
    if request.body().size_hint().lower() > BODY_MAX as u64 {
        return (StatusCode::PAYLOAD_TOO_LARGE, "no review is that large").into_response();
    }
    let size = request.body().size_hint().upper().unwrap_or(BODY_MAX as u64).min(BODY_MAX as u64);
    let read = async {
        // The semaphore is never closed.
        let held = room.acquire_many(u32::try_from(size).unwrap_or(u32::MAX)).await;
        (held, Bytes::from_request(request, &()).await)
    };
    let (_held, body) = match timeout(within, read).await {
        Ok((held, Ok(body))) => (held, body),
        Ok((_, Err(rejection))) => return rejection.into_response(),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the review took too long to arrive").into_response(),
    };
    match handler.review(&body, Timestamp::now()).map(|response| response.to_review()) {
        Ok(Ok(review)) => ([(header::CONTENT_TYPE, "application/json")], review).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, chain(&error)).into_response(),
        // No question was understood, so there is no uid to answer to: the API server fails open.
        Err(error) => {
            tracing::warn!(error = chain(&error), "refused what isn't a review");
            (StatusCode::BAD_REQUEST, chain(&error)).into_response()
        }
    }
}
