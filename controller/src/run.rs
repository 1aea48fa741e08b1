//! The wiring: watches, records, reconciler, certificates, health.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zstart_process::boot::Identity;
use zstart_process::health;
use zstart_process::tasks::{self, TaskError};
use zstart_registry::ClientError;
use zstart_registry::auth::CredentialsError;
use zstart_registry::{RegistryClient, RegistryOptions};

use crate::config::Config;
use crate::context::Context;
use crate::credentials::OwnCredentials;
use crate::demand::SharedDemand;
use crate::events::Events;
use crate::reconcile::ReadRecord;
use crate::{certificates, reconcile, records, watches};

/// How long after a change all records are asked whether they are due: a rollout is many changes.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Why a controller ended other than by being told to.
#[derive(Debug, Error)]
pub enum RunError {
    /// A port can't be had, or a part ended.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The controller's own credentials can't be read.
    #[error("failed to read credentialsFile")]
    Credentials(#[from] CredentialsError),
    /// No request can be made to any registry.
    #[error(transparent)]
    Registries(#[from] ClientError),
    /// The webhook's certificates can't be kept.
    #[error("failed to keep the webhook's certificates")]
    Certificates(#[from] certificates::CertificateError),
}

/// Runs until `shutdown`. A conversion under way is dropped then; it left no tag.
pub async fn run(
    client: Client,
    config: Config,
    identity: Identity,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let address = config.health_listen;
    let listener = tasks::listen(address).await?;
    let own = OwnCredentials::new(config.credentials_file.clone(), config.ecr_registries.clone())?;
    let plain_http = config.plain_http_registries.iter().cloned().collect();
    let token_servers = config.token_servers.iter().cloned().collect();
    let options = RegistryOptions { plain_http, token_servers, ..RegistryOptions::default() };
    let registries = RegistryClient::new(options)?;
    let Identity { namespace, pod } = identity;
    let events = Events::new(client.clone(), pod);
    let webhook = config.webhook.clone();
    let context = Arc::new(Context::new(client.clone(), config, own, registries, events, shutdown.clone()));
    tracing::info!(health = %address, namespace, "started");

    // These end when they are told to, or fail.
    let mut running: JoinSet<Result<&'static str, RunError>> = JoinSet::new();
    let mut exclusions = context.config.exclusions.clone();
    exclusions.namespaces.extend(["kube-system".to_owned(), namespace.clone()]);
    let demand = context.demand.clone();
    let follow = watches::follow(client.clone(), demand.clone(), exclusions);
    running.spawn(async move {
        Box::pin(follow).await;
        Ok("watches")
    });
    let records = Api::<ReadRecord>::all(client.clone());
    let controller = Controller::new(records, watcher::Config::default());
    running.spawn({
        let context = Arc::clone(&context);
        async move {
            records::keep(context).await;
            Ok("records")
        }
    });
    let reconciler = controller
        .reconcile_all_on(changes(&demand))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile::reconcile, reconcile::error_policy, Arc::clone(&context));
    running.spawn(async move {
        let mut reconciler = std::pin::pin!(reconciler);
        while let Some(done) = reconciler.next().await {
            if let Err(error) = done {
                tracing::debug!(error = &error as &dyn std::error::Error, "a reconciliation failed");
            }
        }
        Ok("reconciler")
    });
    running.spawn({
        let (shutdown, namespace) = (shutdown.clone(), namespace.clone());
        async move {
            certificates::rotate(client, webhook, namespace, shutdown).await?;
            Ok("certificates")
        }
    });
    running.spawn(async move {
        health::serve(listener, context).await;
        Ok("health")
    });

    let ended = tokio::select! {
        () = shutdown.cancelled() => None,
        ended = running.join_next() => ended,
    };
    match ended {
        // The reconciler may be told of a shutdown first.
        _ if shutdown.is_cancelled() => {}
        Some(Ok(Ok(task))) => return Err(TaskError::Ended { task }.into()),
        Some(Ok(Err(error))) => return Err(error),
        Some(Err(source)) => return Err(TaskError::Panicked { source }.into()),
        None => {}
    }
    running.shutdown().await;
    tracing::info!("shut down");
    Ok(())
}

/// Rings, some time after the demand changed, once for all changes until then.
fn changes(demand: &SharedDemand) -> impl Stream<Item = ()> + Send + Sync + 'static {
    stream::unfold(demand.subscribe(), async |mut changes| {
        changes.changed().await.ok()?;
        tokio::time::sleep(DEBOUNCE).await;
        changes.mark_unchanged();
        Some(((), changes))
    })
}
