//! Plain HTTP server for the kubelet and Prometheus: `/livez`, `/readyz`, `/metrics`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

/// Readiness and metrics of a server.
pub trait Health: Send + Sync + 'static {
    /// Reason why the server is not ready; `None` if it is ready.
    fn missing(&self) -> Option<Cow<'static, str>>;

    /// Metrics in the format that Prometheus scrapes.
    fn metrics(&self) -> Result<String, fmt::Error>;
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, health: Arc<dyn Health>) {
    let router = Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the health server failed");
    }
}

async fn ready(State(health): State<Arc<dyn Health>>) -> Response {
    match health.missing() {
        None => "ok".into_response(),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing).into_response(),
    }
}

async fn metrics(State(health): State<Arc<dyn Health>>) -> Response {
    match health.metrics() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
