//! Plain HTTP for the kubelet and Prometheus: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::tls::Certificate;

#[cfg(test)]
mod tests;

/// What readiness is earned by.
pub(crate) struct Health {
    snapshot: Arc<Snapshot>,
    certificate: Arc<Certificate>,
    metrics: Arc<Metrics>,
    draining: AtomicBool,
}

impl Health {
    pub(crate) fn new(snapshot: Arc<Snapshot>, certificate: Arc<Certificate>, metrics: Arc<Metrics>) -> Self {
        Self { snapshot, certificate, metrics, draining: AtomicBool::new(false) }
    }

    /// Unready from now on: traffic goes elsewhere.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// What is still missing, if anything. The HTTPS port itself accepts before this is first asked.
    fn missing(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Acquire) {
            Some("shutting down")
        } else if !self.certificate.is_loaded() {
            Some("no serving certificate yet")
        } else if !self.snapshot.is_synced() {
            Some("the first list of namespaces, records or nodes isn't complete")
        } else {
            None
        }
    }
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, health: Arc<Health>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    axum::serve(listener, router).await
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    match health.missing() {
        None => "ok".into_response(),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing).into_response(),
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    match health.metrics.text() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
