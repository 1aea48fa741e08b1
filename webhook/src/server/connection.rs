//! One connection: TLS, HTTP/1.1, timeouts, and an end that loses no request.
//!
//! HTTP/2 isn't offered. API servers call the webhooks of a cluster over HTTP/1.1 (client.go in
//! k8s.io/apiserver/pkg/util/webhook, kubernetes#75791), and each client that offers HTTP/2 offers HTTP/1.1.
//!
//! API servers keep idle connections for 90 s. Go's client repeats a POST on a new connection only if it had
//! written nothing (shouldRetryRequest in net/http/transport.go), so each close of an idle connection may meet
//! a request that is on its way. The server therefore keeps idle connections longer than its clients do, and
//! ends connections with a response that says `Connection: close` where it can.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::Response;
use futures::FutureExt as _;
use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use zstart_core::chain;

use super::activity::{Activity, Phase};
use super::connections::Slot;
use super::stream::Watched;
use super::{Stages, Timeouts};
use crate::metrics::Metrics;

/// Most bytes of a request that are received before the server reads them.
const RECEIVE_BUFFER: usize = 64 << 10;
/// Longest wait for the client's end of a connection after the server's. A socket that is closed while bytes
/// arrive is reset, and a reset discards a response that the client hasn't read yet.
const LINGER: Duration = Duration::from_secs(1);

/// Parts that all connections share.
pub(super) struct Shared {
    pub(super) acceptor: TlsAcceptor,
    pub(super) router: Router,
    pub(super) metrics: Arc<Metrics>,
    pub(super) timeouts: Timeouts,
    pub(super) stages: Stages,
}

type Stream = Watched<TlsStream<Watched<TcpStream>>>;

/// Reason for the end of a connection.
enum End {
    /// The client closed the connection, or a response said `Connection: close`.
    Http(hyper::Result<()>),
    /// This phase lasted too long.
    Expired(Phase),
    /// A new connection needs the slot.
    Evicted,
}

/// Serves a connection to its end.
pub(super) async fn serve(socket: TcpStream, slot: Slot, shared: Arc<Shared>) {
    // Without this, a response in two segments waits for an acknowledgement. Failure costs only time.
    let _ = socket.set_nodelay(true);
    let activity = &slot.activity;
    let Some(stream) = handshake(socket, activity, &shared).await else { return };
    activity.connected();
    let service = service_fn(|request| respond(request, Arc::clone(activity), Arc::clone(&shared)));
    let mut http = http1::Builder::new()
        // `activity` has the timeouts.
        .header_read_timeout(None)
        .max_buf_size(RECEIVE_BUFFER)
        .serve_connection(TokioIo::new(Watched::new(stream, Arc::clone(activity))), service);
    let end = run(&mut http, activity, shared.timeouts, &shared.stages.stop).await;
    let stream = || http.into_parts().io.into_inner();
    match end {
        End::Http(Ok(())) => drop(timeout(LINGER, discard(&mut stream())).await),
        End::Http(Err(error)) => tracing::debug!(error = chain(&error), "lost a connection"),
        End::Expired(Phase::Idle) => close_idle(stream(), &shared.metrics).await,
        End::Expired(phase) => tracing::debug!(?phase, "closed a connection: its client is too slow"),
        // The new connection waits: only try to say goodbye.
        End::Evicted => drop(stream().shutdown().now_or_never()),
    }
}

async fn handshake(
    socket: TcpStream,
    activity: &Arc<Activity>,
    shared: &Shared,
) -> Option<TlsStream<Watched<TcpStream>>> {
    let handshake = shared.acceptor.accept(Watched::new(socket, Arc::clone(activity)));
    tokio::select! {
        shaken = timeout(shared.timeouts.read, handshake) => match shaken {
            Ok(Ok(stream)) => Some(stream),
            // Port scans and probes end here as well, so the log level is debug.
            Ok(Err(error)) => {
                tracing::debug!(error = chain(&error), "failed a TLS handshake");
                None
            }
            Err(_) => {
                tracing::debug!("closed a connection without a TLS handshake in time");
                None
            }
        },
        () = activity.evicted() => None,
    }
}

/// Answers a request. The last response of a connection says so, and the client sends its next request on
/// another connection.
async fn respond(
    mut request: Request<Incoming>,
    activity: Arc<Activity>,
    shared: Arc<Shared>,
) -> Result<Response, Infallible> {
    activity.received_head();
    request.extensions_mut().insert(Arc::clone(&activity));
    let response = TowerToHyperService::new(shared.router.clone()).call(request).await?;
    let (mut parts, body) = response.into_parts();
    // Every body of this server is in memory.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    if shared.stages.drain.is_cancelled() || activity.is_evicted() {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(Response::from_parts(parts, Body::from(activity.responded(body))))
}

/// Runs a connection until a side ends it or a phase lasts too long.
async fn run(
    http: &mut (impl Future<Output = hyper::Result<()>> + Unpin),
    activity: &Activity,
    timeouts: Timeouts,
    stop: &CancellationToken,
) -> End {
    let mut sleep = pin!(sleep_until(Instant::now() + timeouts.idle));
    let (mut stopped, mut evicted) = (pin!(stop.cancelled()), pin!(activity.evicted()));
    std::future::poll_fn(|cx| {
        // First, so that a request that has arrived is seen before the connection counts as idle.
        if let Poll::Ready(ended) = Pin::new(&mut *http).poll(cx) {
            return Poll::Ready(End::Http(ended));
        }
        if evicted.as_mut().poll(cx).is_ready() && activity.phase().waits_for_client() {
            return Poll::Ready(End::Evicted);
        }
        let is_stopping = stopped.as_mut().poll(cx).is_ready();
        // The phase changes only while `http` is polled.
        let Some(deadline) = activity.deadline(timeouts, is_stopping) else { return Poll::Pending };
        poll_until(sleep.as_mut(), deadline, cx).map(|()| End::Expired(activity.phase()))
    })
    .await
}

/// Polls for a time. A timer that fires too early is set again instead of at each change: ordinary requests
/// change no timer.
fn poll_until(mut sleep: Pin<&mut Sleep>, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        if sleep.deadline() > deadline || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
    }
}

/// Closes an idle connection, and reports a request that was on its way.
async fn close_idle(mut stream: Stream, metrics: &Metrics) {
    let mut lost = 0;
    let close = async {
        if stream.shutdown().await.is_ok() {
            lost = discard(&mut stream).await;
        }
    };
    let _ = timeout(LINGER, close).await;
    if lost > 0 {
        metrics.count_lost_review();
        tracing::warn!(bytes = lost, "a request arrived while its idle connection was closed");
    }
}

/// Reads and drops bytes until the client ends its side. Returns the number of bytes.
async fn discard(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> usize {
    let (mut buffer, mut total) = (vec![0; 4096], 0);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        total += read;
    }
    total
}
