//! Starts the controller's tasks: those of every replica, and those of the leader.

use std::sync::Arc;

use kube::Client;
use kube::client::ClientBuilder;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use zstart_process::boot::Identity;
use zstart_process::health;
use zstart_process::listen::{ListenError, listen};
use zstart_process::supervisor::{Supervisor, TaskError};
use zstart_process::watch::Deadlines;
use zstart_registry::ClientError;
use zstart_registry::auth::CredentialsFileError;
use zstart_registry::{RegistryClient, RegistryOptions};

use crate::config::Config;
use crate::context::Context;
use crate::credentials::OwnCredentials;
use crate::events::Events;
use crate::executor::settings::{ExecutorSettings, JobSettings};
use crate::executor::{Executor, JobExecutor};
use crate::heal::Healer;
use crate::leader::{Elector, Leadership, LeadershipLost, Seat};
use crate::loop_guard::LoopGuard;
use crate::rollouts::{self, Rollouts};
use crate::{certificates, executor, heal, loop_guard, platform_memory, pull_times, scheduler, watches};

/// Cause of a controller that ended without a shutdown request.
#[derive(Debug, Error)]
pub enum RunError {
    /// The health port can't be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A task ended before shutdown.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Another replica may lead. The process ends, as client-go's users do: a new process has no state of the former
    /// leadership.
    #[error("lost the leadership")]
    Leadership(#[from] LeadershipLost),
    /// The settings of the API server can't be used.
    #[error("failed to set up the API client")]
    Client {
        /// Error of kube.
        source: kube::Error,
    },
    /// The controller's own credentials can't be read.
    #[error("failed to read the file named by credentialsFile")]
    Credentials(#[from] CredentialsFileError),
    /// The registry client can't be created.
    #[error(transparent)]
    Registries(#[from] ClientError),
}

/// Runs until `shutdown`, or until the leadership is lost. A running conversion is dropped then. It has not written a
/// tag yet.
pub async fn run(
    api_server: kube::Config,
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
    let leadership = Leadership::default();
    // Watches and the clock use a client of their own: they run without leadership.
    let builder = |config| {
        let builder = ClientBuilder::try_from(config).map_err(|source| RunError::Client { source })?;
        Ok::<_, RunError>(builder.with_layer(&Deadlines))
    };
    let client = builder(api_server.clone())?.build();
    let fenced = builder(api_server.clone())?.with_layer(&leadership).build();
    let seat = Seat { namespace: namespace.clone(), lease: config.lease.clone(), pod: pod.clone() };
    // A connection of its own: if all connections are dead, one attempt fails, and the next one opens a new connection.
    let mut elector = Elector::new(builder(api_server.clone())?.build(), seat, leadership.clone());
    let events = Events::new(fenced.clone(), pod);
    let working = shutdown.child_token();
    let executor = executor_of(&fenced, &namespace, &config);
    let context = Context::new(fenced, leadership, config, own, registries, events, working.clone());
    let context = Arc::new(context.with_executor(executor));
    tracing::info!(health = %address, namespace, "controller started");

    let (healer, rollouts) = (Healer::default(), Rollouts::default());
    let observers = (healer.clone(), rollouts.clone());
    let mut replica = every_replica(&context, client, observers, &namespace);
    replica.spawn("health", health::serve(listener, Arc::clone(&context) as Arc<_>));
    let is_leader = tokio::select! {
        ended = replica.run_until(&shutdown) => {
            ended?;
            false
        }
        () = elector.acquire() => true,
    };
    let ended = if is_leader {
        let mut leader = lead(&context, (healer, rollouts), namespace);
        let ended = tokio::select! {
            ended = replica.run_until(&shutdown) => ended.map_err(RunError::from),
            ended = leader.run_until(&shutdown) => ended.map_err(RunError::from),
            lost = elector.renew() => Err(lost.into()),
        };
        working.cancel();
        leader.stop().await;
        ended
    } else {
        Ok(())
    };
    elector.release().await;
    replica.stop().await;
    if ended.is_ok() {
        tracing::info!("shut down");
    }
    ended
}

/// The executor of conversions.
fn executor_of(client: &Client, namespace: &str, config: &Config) -> Executor {
    match &config.executor {
        ExecutorSettings::Pool { .. } => Executor::Pool,
        ExecutorSettings::Jobs(settings) => {
            let deadline = config.conversion_timeout;
            let jobs = JobExecutor::new(client, namespace, JobSettings::clone(settings), deadline);
            Executor::Jobs(Box::new(jobs))
        }
    }
}

/// Starts the tasks of every replica. A replica that stands by knows the cluster, so a takeover is quick.
fn every_replica(
    context: &Arc<Context>,
    client: Client,
    (healer, rollouts): (Healer, Rollouts),
    namespace: &str,
) -> Supervisor {
    let mut exclusions = context.config.exclusions.clone();
    exclusions.namespaces.extend(["kube-system".to_owned(), namespace.to_owned()]);
    let (demand, clock) = (context.demand.clone(), context.api_clock.clone());
    let (loop_guard, verdicts) = LoopGuard::new(demand.clone());
    let mut supervisor = Supervisor::default();
    supervisor.spawn("clock", clock.clone().follow(client.clone()));
    supervisor.spawn(
        "watches",
        watches::follow(client, demand, loop_guard.clone(), healer, rollouts, exclusions, clock),
    );
    supervisor.spawn("platforms", platform_memory::follow(Arc::clone(context), namespace.to_owned()));
    supervisor.spawn("loop guard", loop_guard::keep(Arc::clone(context), loop_guard, verdicts));
    supervisor
}

/// Starts the tasks that write: those of the leader.
fn lead(context: &Arc<Context>, (healer, rollouts): (Healer, Rollouts), namespace: String) -> Supervisor {
    let Context { client, shutdown, config, .. } = &**context;
    let mut supervisor = Supervisor::default();
    supervisor.spawn("platform memory", platform_memory::record(Arc::clone(context), namespace.clone()));
    supervisor.spawn("scheduler", scheduler::run(Arc::clone(context)));
    supervisor.spawn("rollouts", rollouts::announce(Arc::clone(context), rollouts));
    if config.measure_pulls {
        supervisor.spawn("pull times", pull_times::keep(Arc::clone(context)));
    }
    if let Executor::Jobs(_) = context.executor {
        supervisor.spawn("jobs", executor::follow_jobs(Arc::clone(context)));
    }
    supervisor.spawn("healer", heal::keep(Arc::clone(context), healer, namespace.clone()));
    if let Some(settings) = config.certificates.clone() {
        let rotation = certificates::rotate(client.clone(), settings, namespace, shutdown.clone());
        supervisor.try_spawn("certificates", rotation);
    } else {
        tracing::info!("rotateCertificates is false: leaving the webhook's certificates unchanged");
    }
    supervisor
}
