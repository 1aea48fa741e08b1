//! `zstart status`: what zstart does in a cluster now, on one screen.

mod leader;
mod report;
mod state;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use zstart_core::keys;
use zstart_core::owner_hold::OwnerHold;
use zstart_core::sweep::{Confirmations, FreshnessSweep, SWEEP, SweptRegistry};

use self::leader::Leader;
use self::report::{Hold, Namespaces, Program, Report};
use self::state::Judge;
use crate::args::OutputArguments;
use crate::cluster::{
    Cluster, ClusterArguments, Installed, is_forbidden, is_missing, list_all, request, service_namespace,
};
use crate::deployments;
use crate::error::CliError;
use crate::output::{self, OutputFormat};
use crate::records;

/// Arguments of `zstart status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// List every record that needs attention. Default: the first twelve.
    #[arg(long)]
    pub(crate) all: bool,
    /// Show the state again every 5 seconds, until the command is stopped.
    #[arg(long, short = 'w')]
    pub(crate) watch: bool,
    /// Context of the kubeconfig. Default: the current context, or the cluster that the command runs in.
    #[arg(long, value_name = "NAME", help_heading = "Cluster options")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Pause between two reports of `--watch`. One report lists all records.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// Moves the cursor of a terminal to the start and clears the rest of the screen.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Prints the state once, or again and again.
pub(crate) async fn run(arguments: StatusArguments) -> Result<(), CliError> {
    let StatusArguments { context, all, watch, output } = arguments;
    let cluster = Cluster::connect(&ClusterArguments { context, namespace: None }).await?;
    let format = output.format();
    let clears = watch && format == OutputFormat::Text && std::io::stdout().is_terminal();
    let mut has_shown = false;
    loop {
        let report = read(&cluster).await;
        if clears {
            output::print(CLEAR)?;
        }
        match report {
            Ok(report) => format.print(&report, || report.lines(all))?,
            // A watch survives an API server that restarts.
            Err(error) if watch && has_shown => error.report(),
            Err(error) => return Err(error),
        }
        has_shown = true;
        if !watch {
            return Ok(());
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
        if !clears && format == OutputFormat::Text {
            output::print("\n")?;
        }
    }
}

async fn read(cluster: &Cluster) -> Result<Report, CliError> {
    let client = &cluster.client;
    let Some(Installed { configuration, config, remark }) = cluster.webhook().await? else {
        return Err(CliError::NotInstalled);
    };
    let mut remarks: Vec<String> = remark.into_iter().collect();
    let namespace = service_namespace(&configuration).map(str::to_owned);
    let (programs, leader) = match &namespace {
        Some(namespace) => programs(client, namespace, &mut remarks).await?,
        None => (Vec::new(), Leader::default()),
    };
    remarks.extend(leader.remark);
    let now = Timestamp::now();
    let (registries, confirmations) = sweep(client, &mut remarks).await?;
    let judge = Judge { policy: &config.policy.variants, confirmations: &confirmations, now };
    Ok(Report {
        now,
        namespace,
        programs,
        leader: leader.pod,
        namespaces: namespaces(client, &mut remarks).await?,
        records: records::read_all(client).await?.into_iter().map(|record| judge.judge(record)).collect(),
        work: leader.work,
        unreachable_registries: registries
            .into_iter()
            .filter(|registry| !registry.reachable)
            .map(|registry| registry.registry)
            .collect(),
        holds: holds(client, &mut remarks).await?,
        remarks,
    })
}

async fn programs(
    client: &Client,
    namespace: &str,
    remarks: &mut Vec<String>,
) -> Result<(Vec<Program>, Leader), CliError> {
    let found = match deployments::list(client, namespace).await {
        Ok(found) => found,
        Err(error) if is_forbidden(&error) => {
            remarks.push(format!("you may not list Deployments in namespace {namespace}"));
            return Ok((Vec::new(), Leader::default()));
        }
        Err(error) => return Err(request(format!("list Deployments in namespace {namespace}"))(error).into()),
    };
    let mut programs = Vec::new();
    for name in ["controller", "webhook"] {
        let deployment = deployments::find(&found, name);
        let (available, wanted) = deployment.map_or((0, 0), deployments::replicas);
        programs.push(Program { name, available, wanted });
    }
    let leader = match deployments::find(&found, "controller") {
        Some(controller) => leader::find(client, namespace, controller).await,
        None => Leader::default(),
    };
    Ok((programs, leader))
}

/// Reads the registries and the confirmations of the freshness sweep.
async fn sweep(
    client: &Client,
    remarks: &mut Vec<String>,
) -> Result<(Vec<SweptRegistry>, Confirmations), CliError> {
    let api = Api::<FreshnessSweep>::all(client.clone());
    let found = match api.get_opt(SWEEP).await {
        Ok(found) => found,
        Err(error) if is_forbidden(&error) => {
            remarks.push(
                "you may not read the freshness sweep: records may be shown as stale that aren't".to_owned(),
            );
            None
        }
        Err(error) => return Err(request("read the freshness sweep")(error).into()),
    };
    // Before the controller's first sweep, there is none.
    let Some(sweep) = found else { return Ok((Vec::new(), Confirmations::default())) };
    let confirmations = Confirmations::from_bytes(&sweep.spec.confirmations.0).unwrap_or_else(|error| {
        remarks.push(format!("the freshness sweep can't be read: {error}"));
        Confirmations::default()
    });
    Ok((sweep.spec.registries, confirmations))
}

async fn namespaces(client: &Client, remarks: &mut Vec<String>) -> Result<Option<Namespaces>, CliError> {
    let api = Api::<Namespace>::all(client.clone());
    let found = match list_all(async |page| api.list_metadata(page).await).await {
        Ok(found) => found,
        Err(error) if is_forbidden(&error) => {
            remarks.push("you may not list namespaces".to_owned());
            return Ok(None);
        }
        Err(error) => return Err(request("list namespaces")(error).into()),
    };
    let count = |value: &str| {
        let label = |labels: &std::collections::BTreeMap<String, String>| {
            labels.get(keys::REWRITE).is_some_and(|label| label == value)
        };
        found.iter().filter(|found| found.metadata.labels.as_ref().is_some_and(label)).count()
    };
    Ok(Some(Namespaces { enabled: count(keys::ENABLED), audit: count(keys::AUDIT) }))
}

async fn holds(client: &Client, remarks: &mut Vec<String>) -> Result<Vec<Hold>, CliError> {
    let api = Api::<OwnerHold>::all(client.clone());
    match list_all(async |page| api.list(page).await).await {
        Ok(found) => Ok(found.into_iter().map(Hold::from).collect()),
        Err(error) if is_forbidden(&error) => {
            remarks.push("you may not list owner holds".to_owned());
            Ok(Vec::new())
        }
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        Err(error) => Err(request("list owner holds")(error).into()),
    }
}
