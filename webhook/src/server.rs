//! HTTPS: `POST /mutate`, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::handler::Handler;
use zstart_core::chain;

#[cfg(test)]
mod tests;

/// An object has at most 3 MiB on its way into the API server, and an update sends two.
const BODY_MAX: usize = 8 << 20;
/// How long a handshake, a request's head or its body may take. The API server gives up after two
/// seconds; whoever is slower isn't one.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// An API server keeps a few connections open. More than this many are somebody else's.
const CONNECTIONS_MAX: usize = 1024;
/// How long to wait when no connection can be accepted, e.g. for want of file descriptors.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Serves until `stop`, and then until every request that was on its way has its answer, or
/// `finish_within` is over.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handler: Arc<Handler>,
    stop: CancellationToken,
    finish_within: Duration,
) {
    let router = Router::new()
        .route("/mutate", post(mutate))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(handler);
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        if let Some((stream, permit)) = accepted {
            let connection = connection(stream, acceptor.clone(), router.clone(), graceful.watcher());
            tokio::spawn(async move {
                connection.await;
                drop(permit);
            });
        }
    }
    drop(listener);
    // Open connections are told to go elsewhere, and end after the answers they owe.
    if timeout(finish_within, graceful.shutdown()).await.is_err() {
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

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router, watcher: Watcher) {
    let stream = match timeout(READ_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        // Port scans and probes end here too: not worth more than a line for whoever looks.
        Ok(Err(error)) => return tracing::debug!(error = chain(&error), "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(READ_WITHIN);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error = chain(error.as_ref()), "a connection broke off");
    }
}

async fn mutate(State(handler): State<Arc<Handler>>, request: Request) -> Response {
    // What says beforehand that it is too large isn't waited for.
    if request.body().size_hint().lower() > BODY_MAX as u64 {
        return (StatusCode::PAYLOAD_TOO_LARGE, "no review is that large").into_response();
    }
    let body = match timeout(READ_WITHIN, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) => return rejection.into_response(),
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
