//! `zstart enable` and `zstart disable`: the label by which a namespace opts in.

use clap::{Args, ValueEnum};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;
use serde_json::json;
use zstart_core::units::count;
use zstart_core::{chain, keys};

use crate::args::OutputArguments;
use crate::cluster::{
    Cluster, ClusterArguments, ClusterError, Installed, MANAGER, WEBHOOK, is_forbidden, is_missing, list_all,
    request, selects,
};
use crate::error::CliError;

/// Kind of the objects that a command changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NamespaceKind {
    /// Namespaces.
    #[value(name = "namespace", aliases = ["namespaces", "ns"])]
    Namespace,
}

/// Arguments of `zstart enable`.
#[derive(Debug, Args)]
pub(crate) struct EnableArguments {
    /// The word `namespace`, or `ns`.
    #[arg(value_name = "namespace", value_enum)]
    pub(crate) kind: NamespaceKind,
    /// Names of the namespaces.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) namespaces: Vec<String>,
    /// Convert and report, and leave pods unchanged.
    #[arg(long)]
    pub(crate) audit: bool,
    /// Context of the kubeconfig. Default: the current context, or the cluster that the command runs in.
    #[arg(long, value_name = "NAME", help_heading = "Cluster options")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Arguments of `zstart disable`.
#[derive(Debug, Args)]
pub(crate) struct DisableArguments {
    /// The word `namespace`, or `ns`.
    #[arg(value_name = "namespace", value_enum)]
    pub(crate) kind: NamespaceKind,
    /// Names of the namespaces.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) namespaces: Vec<String>,
    /// Context of the kubeconfig. Default: the current context, or the cluster that the command runs in.
    #[arg(long, value_name = "NAME", help_heading = "Cluster options")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Result of both commands.
#[derive(Debug, Serialize)]
struct Report {
    namespaces: Vec<Changed>,
    #[serde(skip)]
    lines: Vec<String>,
}

/// Namespace whose label was set or removed.
#[derive(Debug, Serialize)]
struct Changed {
    namespace: String,
    /// Former value of the label.
    former: Option<String>,
    /// Value of the label now.
    label: Option<&'static str>,
}

/// Opts namespaces in.
pub(crate) async fn enable(arguments: EnableArguments) -> Result<(), CliError> {
    let EnableArguments { kind: _, namespaces, audit, context, output } = arguments;
    let cluster = Cluster::connect(&ClusterArguments { context, namespace: None }).await?;
    let value = if audit { keys::AUDIT } else { keys::ENABLED };
    let found = read(&cluster.client, &namespaces).await?;
    let lines = match cluster.webhook().await {
        Ok(Some(Installed { configuration, .. })) => {
            for namespace in &found {
                require_reviewed(&configuration, namespace, value)?;
            }
            next_steps(&namespaces, audit)
        }
        Ok(None) => vec!["note: zstart isn't installed in this cluster yet".to_owned()],
        // A user who may label a namespace needn't be allowed to see webhooks.
        Err(ClusterError::Request { source, .. }) if is_forbidden(&source) => {
            vec!["note: you may not list webhook configurations: zstart check shows the details".to_owned()]
        }
        // Settings of another version don't decide about namespaces.
        Err(error @ ClusterError::Settings { .. }) => vec![format!("note: {}", chain(&error))],
        Err(error) => return Err(error.into()),
    };
    let changed = change(&cluster.client, found, Some(value)).await?;
    let lines = changed.iter().map(Changed::line).chain(lines).collect();
    let report = Report { namespaces: changed, lines };
    output.format().print(&report, || report.lines.clone())
}

/// Tells what happens next, and what the user may do.
fn next_steps(namespaces: &[String], audit: bool) -> Vec<String> {
    let all = namespaces.join(" ");
    let next = if audit {
        format!("pods stay unchanged in audit mode; enable them with: zstart enable namespace {all}")
    } else {
        "new pods start from their variants once the records are Ready (kubectl get imgconv); delete a pod to replace \
         it. The first pods of a rollout keep their originals until the tag is looked at again"
            .to_owned()
    };
    vec!["images of the namespaces are converted now; see: zstart status --watch".to_owned(), next]
}

/// Opts namespaces out.
pub(crate) async fn disable(arguments: DisableArguments) -> Result<(), CliError> {
    let DisableArguments { kind: _, namespaces, context, output } = arguments;
    let cluster = Cluster::connect(&ClusterArguments { context, namespace: None }).await?;
    let found = read(&cluster.client, &namespaces).await?;
    let changed = change(&cluster.client, found, None).await?;
    let mut lines: Vec<String> = changed.iter().map(Changed::line).collect();
    for namespace in &namespaces {
        // The labels are removed already, so a failure here is no failure of the command.
        lines.extend(match rewritten_pods(&cluster.client, namespace).await {
            Ok(line) => line,
            Err(error) => Some(format!("note: {}", chain(&error))),
        });
    }
    let report = Report { namespaces: changed, lines };
    output.format().print(&report, || report.lines.clone())
}

impl Changed {
    fn line(&self) -> String {
        let Self { namespace, former, label } = self;
        let label = label.map_or_else(|| "no label".to_owned(), |label| format!("{}={label}", keys::REWRITE));
        match former {
            Some(former) if label.ends_with(&format!("={former}")) => {
                format!("namespace {namespace}: {label}, as before")
            }
            Some(former) => format!("namespace {namespace}: {label}, formerly {former}"),
            None => format!("namespace {namespace}: {label}"),
        }
    }
}

/// Fails if the API server wouldn't send the namespace's pods to the webhook.
fn require_reviewed(
    configuration: &MutatingWebhookConfiguration,
    namespace: &Namespace,
    value: &str,
) -> Result<(), CliError> {
    let webhook = configuration.webhooks.iter().flatten().find(|webhook| webhook.name == WEBHOOK);
    let mut labels = namespace.labels().clone();
    labels.insert(keys::REWRITE.to_owned(), value.to_owned());
    if selects(webhook.and_then(|webhook| webhook.namespace_selector.as_ref()), &labels) {
        return Ok(());
    }
    Err(CliError::ExcludedNamespace {
        namespace: namespace.name_any(),
        configuration: configuration.name_any(),
    })
}

/// Reads the namespaces, and fails if one doesn't exist.
async fn read(client: &Client, namespaces: &[String]) -> Result<Vec<Namespace>, CliError> {
    let api = Api::<Namespace>::all(client.clone());
    let mut found = Vec::new();
    for namespace in namespaces {
        found.push(match api.get(namespace).await {
            Ok(found) => found,
            Err(error) if is_missing(&error) => {
                return Err(CliError::NoSuchNamespace { namespace: namespace.clone() });
            }
            Err(error) => return Err(request(format!("read namespace {namespace}"))(error).into()),
        });
    }
    Ok(found)
}

/// Sets or removes the label.
async fn change(
    client: &Client,
    namespaces: Vec<Namespace>,
    label: Option<&'static str>,
) -> Result<Vec<Changed>, CliError> {
    let api = Api::<Namespace>::all(client.clone());
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let mut changed: Vec<Changed> = Vec::new();
    for namespace in namespaces {
        let name = namespace.name_any();
        let patch = json!({"metadata": {"labels": {keys::REWRITE: label}}});
        let done = api.patch_metadata(&name, &parameters, &Patch::Merge(&patch)).await;
        let before: Vec<&str> = changed.iter().map(|changed| changed.namespace.as_str()).collect();
        let note =
            if before.is_empty() { String::new() } else { format!(" (changed: {})", before.join(", ")) };
        done.map_err(request(format!("label namespace {name}{note}")))?;
        let former = namespace.metadata.labels.and_then(|mut labels| labels.remove(keys::REWRITE));
        changed.push(Changed { namespace: name, former, label });
    }
    Ok(changed)
}

/// Says how many pods still run variants, and how to replace them.
async fn rewritten_pods(client: &Client, namespace: &str) -> Result<Option<String>, CliError> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let found = match list_all(async |page| pods.list_metadata(page).await).await {
        Ok(found) => found,
        Err(error) if is_forbidden(&error) => return Ok(None),
        Err(error) => return Err(request(format!("list pods in namespace {namespace}"))(error).into()),
    };
    let is_rewritten =
        |pod: &&kube::core::PartialObjectMeta<Pod>| pod.annotations().contains_key(keys::ORIGINALS);
    let rewritten = found.iter().filter(is_rewritten).count();
    let text = format!(
        "namespace {namespace}: {} still with a variant; replace with: kubectl -n {namespace} rollout restart \
         deployment,statefulset,daemonset",
        count(rewritten, "pod")
    );
    Ok((rewritten > 0).then_some(text))
}
