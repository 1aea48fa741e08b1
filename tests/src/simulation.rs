//! A control plane with simulated nodes, for any user: API server, etcd and scheduler are real. kwok takes the
//! kubelets' part: it reports nodes ready and pods running.
//!
//! No controller runs. The test itself removes the taints that a node lifecycle controller would remove.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control_plane::ControlPlane;
use crate::kwok;
use crate::objects::is_node_ready;
use crate::ports::free_ports;
use crate::process::Component;
use crate::tools::{self, Tool};
use crate::wait;

pub mod node_match;
mod webhook;

pub use crate::kwok::NODE_ANNOTATION;
pub use webhook::WebhookProcess;

/// Names of the files about audit.
const AUDIT_POLICY: &str = "audit-policy.json";
const AUDIT_LOG: &str = "audit.log";
/// Time limit for the scheduler to decide about every pod. It binds some hundred pods a second.
const SETTLED_WITHIN: Duration = Duration::from_mins(3);

/// A running control plane with scheduler and kwok.
pub struct Simulation {
    // Drop order: the clients before the API server.
    scheduler: Component,
    kwok: Component,
    plane: ControlPlane,
    admin: Client,
    metrics: SchedulerMetrics,
    /// Folder of the audit log.
    audit: TempDir,
}

impl Simulation {
    /// Starts everything.
    pub async fn start() -> Result<Self> {
        let (scheduler, kwok) = (tools::find(Tool::KubeScheduler).await?, tools::find(Tool::Kwok).await?);
        let audit = TempDir::with_prefix("zstart-lab-audit-")?;
        let arguments = apiserver_arguments(audit.path())?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let plane = ControlPlane::start_with(&arguments).await?;
        let (folder, kubeconfig) = (plane.folder(), plane.kubeconfig());
        let [metrics_port] = free_ports()?;
        let config = write_json(&folder.join("scheduler.json"), &scheduler_config(kubeconfig))?;
        let scheduler = Component::start("kube-scheduler", folder, &scheduler, |command| {
            command
                .arg(format!("--config={}", config.display()))
                .args(["--bind-address=127.0.0.1", "--authorization-always-allow-paths=/metrics"])
                .arg(format!("--secure-port={metrics_port}"))
        })?;
        let kwok = kwok::start(folder, &kwok, kubeconfig)?;
        let admin = plane.client().await?;
        let metrics = SchedulerMetrics::new(metrics_port)?;
        Ok(Self { scheduler, kwok, plane, admin, metrics, audit })
    }

    /// Client with all rights.
    pub fn client(&self) -> Client {
        self.admin.clone()
    }

    /// The API server.
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Waits until kwok has reported every node ready, and returns the nodes by name.
    pub async fn wait_until_ready(&mut self, nodes: usize) -> Result<Vec<Node>> {
        let api: Api<Node> = Api::all(self.admin.clone());
        wait::until_component(&mut self.kwok, "every node to be ready", SETTLED_WITHIN, || async {
            let found = api.list(&ListParams::default()).await?.items;
            let ready = found.iter().filter(|node| is_node_ready(node)).count();
            ensure!(ready == nodes, "{ready} of {nodes} nodes are ready");
            Ok(Some(found))
        })
        .await
    }

    /// Waits until the scheduler has decided about every pod and knows `nodes`, and returns all pods. A pod without
    /// a node then is one that no node can take.
    pub async fn wait_until_settled(&mut self, nodes: &BTreeSet<&str>) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::all(self.admin.clone());
        let decided = "the scheduler to decide about every pod";
        wait::until_component(&mut self.scheduler, decided, SETTLED_WITHIN, || async {
            let pods = api.list(&ListParams::default()).await?.items;
            let unbound = pods.iter().filter(|pod| node_name(pod).is_none()).count();
            // The scheduler also counts nodes that pods name and that don't exist.
            let named = pods.iter().filter_map(node_name).chain(nodes.iter().copied());
            let nodes = named.collect::<BTreeSet<_>>().len();
            let expected = Queues { waiting: 0, rejected: unbound, nodes };
            let queues = self.metrics.queues().await?;
            ensure!(queues == expected, "{queues:?} instead of {expected:?}");
            Ok(Some(pods))
        })
        .await
    }

    /// Audit annotations of created pods, by pod name: the answers of admission webhooks.
    pub fn audit_annotations(&self, key: &str) -> Result<BTreeMap<String, String>> {
        let path = self.audit.path().join(AUDIT_LOG);
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let mut found = BTreeMap::new();
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).context("failed to parse an audit event")?;
            let name = event["objectRef"]["name"].as_str();
            if let Some((name, value)) = name.zip(event["annotations"][key].as_str()) {
                found.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(found)
    }
}

/// The scheduler's metrics.
struct SchedulerMetrics {
    client: reqwest::Client,
    url: String,
}

impl SchedulerMetrics {
    fn new(port: u16) -> Result<Self> {
        // No authority signed the certificate. The connection stays on loopback.
        let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
        Ok(Self { client, url: format!("https://127.0.0.1:{port}/metrics") })
    }

    async fn queues(&self) -> Result<Queues> {
        let text = self.client.get(&self.url).send().await?.error_for_status()?.text().await?;
        let count = |name: &str| -> Result<usize> {
            let found = text.lines().find_map(|line| line.strip_prefix(name));
            let count = found.with_context(|| format!("the scheduler has no metric {name}"))?;
            Ok(count.trim().parse()?)
        };
        let pending = |queue: &str| count(&format!("scheduler_pending_pods{{queue=\"{queue}\"}}"));
        Ok(Queues {
            waiting: pending("active")? + pending("backoff")?,
            rejected: pending("unschedulable")? + pending("gated")?,
            nodes: count("scheduler_cache_size{type=\"nodes\"}")?,
        })
    }
}

/// State of the scheduler.
#[derive(Debug, PartialEq, Eq)]
struct Queues {
    /// Pods that the scheduler will try soon.
    waiting: usize,
    /// Pods that the scheduler tries again after a change in the cluster.
    rejected: usize,
    /// Nodes in the scheduler's cache.
    nodes: usize,
}

/// Name of the node that a pod is bound to.
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Enables the audit log of created pods. Disables the plugin that taints each new node until a controller finds
/// the node ready: no such controller runs.
fn apiserver_arguments(folder: &Path) -> Result<Vec<String>> {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "verbs": ["create"], "resources": [{"group": "", "resources": ["pods"]}]},
            {"level": "None"},
        ],
    });
    let policy = write_json(&folder.join(AUDIT_POLICY), &policy)?;
    Ok(vec![
        "--disable-admission-plugins=TaintNodesByCondition".into(),
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", folder.join(AUDIT_LOG).display()),
    ])
}

/// A real scheduler's configuration, except for shorter waits and more requests a second.
fn scheduler_config(kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig, "qps": 2000, "burst": 4000},
        "leaderElection": {"leaderElect": false},
        "podInitialBackoffSeconds": 1, "podMaxBackoffSeconds": 1,
    })
}

fn write_json(path: &Path, value: &Value) -> Result<PathBuf> {
    fs::write(path, value.to_string()).with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path.to_owned())
}
