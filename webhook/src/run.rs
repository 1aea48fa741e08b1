//! Starts and stops the webhook's tasks: watches, certificate, health, server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::client::ClientBuilder;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use zstart_process::health;
use zstart_process::listen::{ListenError, listen};
use zstart_process::supervisor::{Supervisor, TaskError};
use zstart_process::watch::{Deadlines, Heard};

use crate::handler::Handler;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::server::{self, Limits, Stages};
use crate::tls::{self, Certificate};
use zstart_admission::config::Config;
use zstart_admission::snapshot::Snapshot;
use zstart_admission::snapshot::watch::{self, CacheAges};

/// A webhook with bound ports that doesn't serve yet.
#[derive(Debug)]
pub struct Webhook {
    config: Config,
    https: TcpListener,
    health: TcpListener,
}

/// Maximum duration of the open requests after the grace period. The chart's `terminationGracePeriodSeconds` is
/// longer than this and the longest grace period together.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// Cause of a webhook that ended without a shutdown request.
#[derive(Debug, Error)]
pub enum RunError {
    /// A port can't be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A task ended before shutdown.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The settings of the API server can't be used.
    #[error("failed to set up the API client")]
    Client {
        /// Error of kube.
        source: kube::Error,
    },
    /// rustls rejects the TLS settings.
    #[error("failed to set up TLS")]
    Tls {
        /// Error of rustls.
        source: rustls::Error,
    },
}

impl Webhook {
    /// Binds the ports.
    pub async fn bind(config: Config) -> Result<Self, RunError> {
        let https = listen(config.listen).await?;
        let health = listen(config.health_listen).await?;
        tracing::info!(https = %config.listen, health = %config.health_listen, "listening");
        Ok(Self { config, https, health })
    }

    /// Address of the HTTPS server.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.https.local_addr()
    }

    /// Address of the health server.
    pub fn health_address(&self) -> std::io::Result<SocketAddr> {
        self.health.local_addr()
    }

    /// Serves until `shutdown`, then reports unready, drains and returns.
    pub async fn run(
        self,
        api_server: kube::Config,
        namespace: String,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let Self { config, https, health: health_listener } = self;
        let Config { listen: _, health_listen: _, serving_secret, drain, policy } = config;
        let heard = Heard::default();
        let client = ClientBuilder::try_from(api_server).map_err(|source| RunError::Client { source })?;
        let client = client.with_layer(&Deadlines).with_layer(&heard).build();
        let (snapshot, ages) = (Arc::new(Snapshot::default()), Arc::new(CacheAges::new(heard)));
        let metrics = Arc::new(Metrics::new(Arc::clone(&snapshot), Arc::clone(&ages)));
        let certificate = Arc::new(Certificate::default());
        let health =
            Arc::new(Health::new(Arc::clone(&snapshot), Arc::clone(&certificate), Arc::clone(&metrics)));
        let handler = Arc::new(Handler::new(Arc::clone(&snapshot), ages, policy, Arc::clone(&metrics)));
        let tls = tls::server_config(Arc::clone(&certificate)).map_err(|source| RunError::Tls { source })?;

        let mut supervisor = Supervisor::default();
        supervisor.spawn("watches", {
            let client = client.clone();
            async move { watch::follow(client, &snapshot).await }
        });
        supervisor.spawn("certificate", {
            let metrics = Arc::clone(&metrics);
            async move { certificate.follow(client, &namespace, &serving_secret, &metrics).await }
        });
        supervisor.spawn("health", health::serve(health_listener, Arc::clone(&health) as Arc<_>));
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let (limits, stages) = (Limits::default(), Stages::default());
        let server = server::serve(https, acceptor, handler, metrics, limits, stages.clone(), FINISH_WITHIN);
        supervisor.spawn("server", server);

        supervisor.run_until(&shutdown).await?;
        tracing::info!("shutting down");
        health.drain();
        stages.drain.cancel();
        tokio::time::sleep(drain.grace).await;
        stages.stop.cancel();
        // Watches and health run until the last request is answered.
        supervisor.finish("server").await?;
        supervisor.stop().await;
        tracing::info!("shut down");
        Ok(())
    }
}
