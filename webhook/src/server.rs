//! HTTPS server with the single route `POST /mutate`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use futures::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Shared;
use self::connections::Connections;
use self::route::{ReviewService, mutate};
use crate::handler::Handler;
use crate::metrics::Metrics;

mod activity;
mod body;
mod connection;
mod connections;
mod route;
mod stream;
#[cfg(test)]
mod tests;

/// Timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// Timeout for a handshake, for a request's head from its first byte, for a request's body, and for a client
    /// to receive a response. Default: 5 s. The API server gives up after two seconds, so a slower client isn't
    /// an API server.
    pub(crate) read: Duration,
    /// Longest time without a request. Default: 3 min. API servers keep idle connections for 90 s, also
    /// connections that they opened in reserve and never used.
    pub(crate) idle: Duration,
}

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most open connections. Default: 1024. An API server has some dozens; more have another source.
    pub(crate) connections: usize,
    /// Timeouts of each connection.
    pub(crate) timeouts: Timeouts,
}

impl Default for Limits {
    fn default() -> Self {
        let timeouts = Timeouts { read: Duration::from_secs(5), idle: Duration::from_mins(3) };
        Self { connections: 1024, timeouts }
    }
}

/// Stages of a shutdown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stages {
    /// Every response ends its connection. New connections are served.
    pub(crate) drain: CancellationToken,
    /// No new connection is accepted, and idle connections are closed.
    pub(crate) stop: CancellationToken,
}

/// Delay after a failed accept, e.g. for lack of file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until `stages.stop` is cancelled, then finishes the requests in flight for at most `finish_within`.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    handler: Arc<Handler>,
    metrics: Arc<Metrics>,
    limits: Limits,
    stages: Stages,
    finish_within: Duration,
) {
    let Limits { connections, timeouts } = limits;
    let service = ReviewService::new(handler, Arc::clone(&metrics), timeouts.read);
    let router = Router::new().route("/mutate", post(mutate)).with_state(service);
    let stop = stages.stop.clone();
    let shared = Arc::new(Shared { acceptor, router, metrics, timeouts, stages });
    let (slots, open) = (Connections::new(connections), TaskTracker::new());
    let open_connection = async |accepted: io::Result<(TcpStream, SocketAddr)>| match accepted {
        Ok((socket, peer)) => {
            let slot = slots.admit(peer.ip()).await;
            open.spawn(connection::serve(socket, slot, Arc::clone(&shared)));
        }
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection");
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
        }
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => open_connection(accepted).await,
        }
    }
    // The kernel has completed these connections, and their clients may have sent requests.
    for _ in 0..connections {
        let Some(accepted) = listener.accept().now_or_never() else { break };
        open_connection(accepted).await;
    }
    drop(listener);
    open.close();
    // Open connections shut down gracefully: each ends after its pending response.
    if timeout(finish_within, open.wait()).await.is_err() {
        tracing::warn!("closed connections that were still open at the shutdown deadline");
    }
}
