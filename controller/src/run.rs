//! Starts the controller's tasks: watches, records, loop guard, reconciler, certificates, health.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::runtime::{Controller, watcher};
use kube::{Api, Client};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use zstart_process::boot::Identity;
use zstart_process::health;
use zstart_process::listen::{ListenError, listen};
use zstart_process::supervisor::{Supervisor, TaskError};
use zstart_registry::ClientError;
use zstart_registry::auth::CredentialsFileError;
use zstart_registry::{RegistryClient, RegistryOptions};

use crate::config::Config;
use crate::context::Context;
use crate::credentials::OwnCredentials;
use crate::events::Events;
use crate::loop_guard::LoopGuard;
use crate::reconcile::ReadRecord;
use crate::{certificates, loop_guard, platform_memory, reconcile, records, watches};

/// Cause of a controller that ended without a shutdown request.
#[derive(Debug, Error)]
pub enum RunError {
    /// The health port can't be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A task ended before shutdown.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The controller's own credentials can't be read.
    #[error("failed to read the file named by credentialsFile")]
    Credentials(#[from] CredentialsFileError),
    /// The registry client can't be created.
    #[error(transparent)]
    Registries(#[from] ClientError),
}

/// Runs until `shutdown`. A running conversion is dropped then. It has not written a tag yet.
pub async fn run(
    client: Client,
    config: Config,
    identity: Identity,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let address = config.health_listen;
    let listener = listen(address).await?;
    let own = OwnCredentials::new(config.credentials_file.clone(), config.ecr_registries.clone())?;
    let plain_http = config.plain_http_registries.iter().cloned().collect();
    let token_servers = config.token_servers.iter().cloned().collect();
    let options = RegistryOptions { plain_http, token_servers, ..RegistryOptions::default() };
    let registries = RegistryClient::new(options)?;
    let Identity { namespace, pod } = identity;
    let events = Events::new(client.clone(), pod);
    let certificates = config.certificates.clone();
    let context = Arc::new(Context::new(client.clone(), config, own, registries, events, shutdown.clone()));
    tracing::info!(health = %address, namespace, "controller started");

    let mut exclusions = context.config.exclusions.clone();
    exclusions.namespaces.extend(["kube-system".to_owned(), namespace.clone()]);
    let demand = context.demand.clone();
    let (loop_guard, verdicts) = LoopGuard::new(demand.clone());
    let reconciler = Controller::new(Api::<ReadRecord>::all(client.clone()), watcher::Config::default())
        .reconcile_all_on(demand.subscribe())
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile::reconcile, reconcile::error_policy, Arc::clone(&context));

    let mut supervisor = Supervisor::default();
    supervisor.spawn("clock", context.api_clock.clone().follow(client.clone()));
    let watches =
        watches::follow(client.clone(), demand, loop_guard.clone(), exclusions, context.api_clock.clone());
    supervisor.spawn("watches", watches);
    supervisor.spawn("platforms", platform_memory::follow(Arc::clone(&context), namespace.clone()));
    supervisor.spawn("platform memory", platform_memory::record(Arc::clone(&context), namespace.clone()));
    supervisor.spawn("records", records::keep(Arc::clone(&context)));
    supervisor.spawn("loop guard", loop_guard::keep(Arc::clone(&context), loop_guard, verdicts));
    supervisor.spawn("reconciler", async move {
        let mut reconciler = pin!(reconciler);
        while let Some(done) = reconciler.next().await {
            if let Err(error) = done {
                tracing::debug!(error = &error as &dyn std::error::Error, "a reconciliation failed");
            }
        }
    });
    if let Some(settings) = certificates {
        let rotation = certificates::rotate(client, settings, namespace, shutdown.clone());
        supervisor.try_spawn("certificates", rotation);
    } else {
        tracing::info!("rotateCertificates is false: leaving the webhook's certificates unchanged");
    }
    supervisor.spawn("health", health::serve(listener, context));

    supervisor.run_until(&shutdown).await?;
    supervisor.stop().await;
    tracing::info!("shut down");
    Ok(())
}
