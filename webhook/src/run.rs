//! The wiring: listeners, watches, server and shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use zstart_process::health;
use zstart_process::tasks::{self, TaskError};

use crate::config::Config;
use crate::handler::Handler;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::server::{self, Timeouts};
use crate::snapshot::{Snapshot, watch};
use crate::tls::{self, Certificate};

/// A webhook whose ports are taken, and which doesn't answer yet.
#[derive(Debug)]
pub struct Webhook {
    config: Config,
    https: TcpListener,
    health: TcpListener,
}

/// How a webhook that is told to stop goes.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long it goes on as before while it is unready: until every API server has heard that it
    /// leaves. What comes after would fail open, and its pod start as it came.
    pub grace: Duration,
    /// How long requests on their way may take after that.
    pub finish_within: Duration,
}

impl Default for Drain {
    /// Together well below the 30 seconds that a pod has to end.
    fn default() -> Self {
        Self { grace: Duration::from_secs(5), finish_within: Duration::from_secs(10) }
    }
}

/// Why a webhook ended other than by being told to.
#[derive(Debug, Error)]
pub enum RunError {
    /// A port can't be had, or a part ended.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// rustls refuses its settings.
    #[error("failed to set up TLS")]
    Tls {
        /// Why.
        source: rustls::Error,
    },
}

impl Webhook {
    /// Takes the ports.
    pub async fn bind(config: Config) -> Result<Self, RunError> {
        let https = tasks::listen(config.listen).await?;
        let health = tasks::listen(config.health_listen).await?;
        tracing::info!(https = %config.listen, health = %config.health_listen, "listening");
        Ok(Self { config, https, health })
    }

    /// Where HTTPS is served.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.https.local_addr()
    }

    /// Where plain HTTP is served.
    pub fn health_address(&self) -> std::io::Result<SocketAddr> {
        self.health.local_addr()
    }

    /// Serves until `shutdown`: then it is unready, drains, and returns.
    pub async fn run(
        self,
        client: Client,
        namespace: String,
        drain: Drain,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let Self { config, https, health: health_listener } = self;
        let Config { listen: _, health_listen: _, serving_secret, policy } = config;
        let snapshot = Arc::new(Snapshot::default());
        let metrics = Arc::new(Metrics::new(Arc::clone(&snapshot)));
        let certificate = Arc::new(Certificate::default());
        let health =
            Arc::new(Health::new(Arc::clone(&snapshot), Arc::clone(&certificate), Arc::clone(&metrics)));
        let handler = Arc::new(Handler::new(Arc::clone(&snapshot), policy, Arc::clone(&metrics)));
        let tls = tls::server_config(Arc::clone(&certificate)).map_err(|source| RunError::Tls { source })?;

        // These run for ever; whichever ends takes the process with it.
        let mut running: JoinSet<&'static str> = JoinSet::new();
        running.spawn({
            let client = client.clone();
            async move {
                Box::pin(watch::follow(client, &snapshot)).await;
                "watches"
            }
        });
        running.spawn(async move {
            certificate.follow(client, &namespace, &serving_secret, &metrics).await;
            "certificate"
        });
        running.spawn({
            let health = Arc::clone(&health);
            async move {
                health::serve(health_listener, health).await;
                "health"
            }
        });
        // It ends when it is told to.
        let stop = CancellationToken::new();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let mut serving = tokio::spawn(server::serve(
            https,
            acceptor,
            handler,
            Timeouts::default(),
            stop.clone(),
            drain.finish_within,
        ));

        tokio::select! {
            () = shutdown.cancelled() => {}
            ended = running.join_next() => return Err(tasks::ended(ended).into()),
            ended = &mut serving => return Err(tasks::ended(Some(ended.map(|()| "server"))).into()),
        }
        tracing::info!("shutting down");
        health.drain();
        tokio::time::sleep(drain.grace).await;
        stop.cancel();
        // Watches and health go on until the last request has its answer.
        serving.await.map_err(|source| TaskError::Panicked { source })?;
        tracing::info!("shut down");
        Ok(())
    }
}
