//! Prometheus, with the chart's alerts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::chart::chart;
use crate::ports::free_ports;
use crate::process::{Component, run};
use crate::tools::{self, Tool};
use crate::wait;

pub mod dashboard;
pub mod exposition;
pub mod operator;
pub mod programs;
pub mod promql;

/// Time limit of the start.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// Time between two scrapes.
const INTERVAL: &str = "5s";

/// File with the chart's alerts.
pub fn alerts_file() -> PathBuf {
    chart().join("files/alerts.yaml")
}

/// The chart's alerts, each with its expression.
pub fn alerts() -> Result<Vec<Value>> {
    let file = alerts_file();
    let rules: Value = serde_saphyr::from_str(&std::fs::read_to_string(&file)?)
        .with_context(|| format!("failed to parse {}", file.display()))?;
    let groups = rules["groups"].as_array().context("the alerts have no groups")?;
    Ok(groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect())
}

/// Runs `promtool` with arguments and a file. Returns its output; an error contains it.
pub async fn promtool(arguments: &'static [&'static str], file: &Path) -> Result<String> {
    let (program, file) = (tools::find(Tool::Promtool).await?, file.to_owned());
    tokio::task::spawn_blocking(move || run(std::process::Command::new(program).args(arguments).arg(file)))
        .await?
}

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    _component: Component,
    address: String,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes the addresses (`host:port`), a job for each. Its files are in `folder`.
    pub async fn scrape(folder: &Path, targets: &[(&str, String)]) -> Result<Self> {
        let [port] = free_ports()?;
        let configs = targets
            .iter()
            .map(|(job, address)| json!({"job_name": job, "static_configs": [{"targets": [address]}]}));
        Self::start(folder, port, configs.collect()).await
    }

    /// Starts a Prometheus that scrapes zstart's pods in a namespace, with the labels that the Prometheus Operator gives
    /// to targets of a `PodMonitor`.
    pub async fn scrape_pods(folder: &Path, port: u16, kubeconfig: &Path, namespace: &str) -> Result<Self> {
        let label = |from: &str, to: &str| json!({"source_labels": [from], "target_label": to});
        let relabelings = [
            json!({"source_labels": ["__meta_kubernetes_pod_label_app_kubernetes_io_name"],
                "regex": "zstart", "action": "keep"}),
            json!({"source_labels": ["__meta_kubernetes_pod_container_port_name"],
                "regex": "health", "action": "keep"}),
            label("__meta_kubernetes_namespace", "namespace"),
            label("__meta_kubernetes_pod_name", "pod"),
            label("__meta_kubernetes_pod_container_name", "container"),
        ];
        let config = json!({
            "job_name": "zstart",
            "kubernetes_sd_configs": [{
                "role": "pod", "kubeconfig_file": kubeconfig, "namespaces": {"names": [namespace]},
            }],
            "relabel_configs": relabelings,
        });
        Self::start(folder, port, vec![config]).await
    }

    async fn start(folder: &Path, port: u16, scrape_configs: Vec<Value>) -> Result<Self> {
        let program = tools::find(Tool::Prometheus).await?;
        let config = json!({
            "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
            "rule_files": [alerts_file()],
            "scrape_configs": scrape_configs,
        });
        let file = folder.join("prometheus.yaml");
        // JSON is YAML.
        std::fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
        let address = format!("127.0.0.1:{port}");
        let mut component = Component::start("prometheus", folder, &program, |command| {
            command
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
                .arg(format!("--web.listen-address={address}"))
        })?;
        let ready = format!("http://{address}/-/ready");
        wait::until_component(&mut component, "Prometheus to be ready", READY_WITHIN, || async {
            Ok(reqwest::get(&ready).await?.status().is_success().then_some(()))
        })
        .await?;
        Ok(Self { _component: component, address })
    }

    /// `host:port` of the HTTP API.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks the API: `path` below `/api/v1/`, and parameters.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let url =
            reqwest::Url::parse_with_params(&format!("http://{}/api/v1/{path}", self.address), parameters)?;
        let answer: Value = serde_json::from_str(&reqwest::get(url).await?.text().await?)?;
        ensure!(answer["status"] == "success", "Prometheus answered {path} {parameters:?} with {answer}");
        Ok(answer["data"].clone())
    }

    /// Result of an expression, as `[{metric, value}]`.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let data = self.ask("query", &[("query", expression)]).await?;
        data["result"].as_array().cloned().with_context(|| format!("{expression} gave {data}"))
    }

    /// Waits until the last scrape of `count` targets succeeded.
    pub async fn wait_for_targets(&self, count: usize) -> Result<()> {
        wait::until(format!("{count} scraped targets"), READY_WITHIN, || async {
            let data = self.ask("targets", &[]).await?;
            let targets = data["activeTargets"].as_array().context("no list of targets")?;
            let states: Vec<_> = targets
                .iter()
                .map(|target| (&target["scrapeUrl"], &target["health"], &target["lastError"]))
                .collect();
            ensure!(
                states.len() == count && states.iter().all(|(_, health, _)| *health == "up"),
                "the targets are {states:?}"
            );
            Ok(Some(()))
        })
        .await
    }
}
