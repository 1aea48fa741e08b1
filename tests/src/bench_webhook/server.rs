//! The measured servers: zstart's webhook, and a webhook on controller-runtime that replaces images by a map.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::cluster::LoadedCluster;
use super::histogram::LatencyHistogram;
use super::processor::{self, Memory};
use super::{READY_WITHIN, records};
use crate::chart::NAMESPACE as SYSTEM;
use crate::ports::free_ports;
use crate::process::Component;
use crate::tools::{self, Tool};
use crate::wait;

/// A running server.
pub(super) struct MeasuredServer {
    component: Component,
    address: SocketAddr,
    metrics: String,
    /// Name of the histogram of review durations.
    histogram: &'static str,
    /// Time from the start of the process until it was ready.
    pub(super) start: Duration,
}

/// Counters of a server at one moment.
pub(super) struct Counters {
    pub(super) histogram: LatencyHistogram,
    /// Processor time of the server.
    pub(super) cpu: Duration,
    /// Time that all processors were busy.
    pub(super) busy: Duration,
}

impl MeasuredServer {
    /// Starts the program `zstart-webhook` with the chart's defaults, and waits until it has listed everything.
    pub(super) async fn webhook(program: &Path, cluster: &LoadedCluster) -> Result<Self> {
        let [https, health] = free_ports()?;
        let config = cluster.folder().join("webhook.yaml");
        // Records are as old as the bench. A controller would check them every five minutes.
        let text =
            format!("listen: 127.0.0.1:{https}\nhealthListen: 127.0.0.1:{health}\nmaxStaleness: 24h\n");
        fs::write(&config, text)?;
        Self::start("zstart-webhook", program, cluster, [https, health], "/readyz", |command| {
            command.arg("--config").arg(&config).env("KUBECONFIG", cluster.kubeconfig());
            command.env("POD_NAMESPACE", SYSTEM)
        })
        .await
    }

    /// Starts the peer with a map of the first `records` sources to their variants.
    pub(super) async fn map_webhook(cluster: &LoadedCluster, records: usize) -> Result<Self> {
        let program = tools::find(Tool::MapWebhook).await?;
        let [https, metrics] = free_ports()?;
        let file = cluster.folder().join("images.json");
        let sources = (0..records).map(records::source);
        let images: BTreeMap<String, String> = sources
            .map(|source| Ok((source.clone(), records::variant_of(&source)?)))
            .collect::<Result<_>>()?;
        fs::write(&file, serde_json::to_vec(&images)?)?;
        Self::start("map-webhook", &program, cluster, [https, metrics], "/metrics", |command| {
            command.arg("-images").arg(&file).arg("-certificates").arg(cluster.certificates());
            command.args(["-port", &https.to_string(), "-metrics", &format!("127.0.0.1:{metrics}")])
        })
        .await
    }

    async fn start(
        name: &'static str,
        program: &Path,
        cluster: &LoadedCluster,
        [https, plain]: [u16; 2],
        ready: &str,
        prepare: impl FnOnce(&mut std::process::Command) -> &mut std::process::Command,
    ) -> Result<Self> {
        let started = Instant::now();
        let mut component = Component::start(name, cluster.folder(), program, prepare)?;
        let (url, address) =
            (format!("http://127.0.0.1:{plain}"), SocketAddr::from((Ipv4Addr::LOCALHOST, https)));
        wait::until_component(&mut component, &format!("{name} to be ready"), READY_WITHIN, || async {
            tokio::net::TcpStream::connect(address).await?;
            Ok(reqwest::get(format!("{url}{ready}")).await?.status().is_success().then_some(()))
        })
        .await?;
        Ok(Self {
            component,
            address,
            metrics: format!("{url}/metrics"),
            histogram: if name == "zstart-webhook" {
                "zstart_webhook_review_seconds"
            } else {
                "review_seconds"
            },
            start: started.elapsed(),
        })
    }

    /// Address for reviews.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads the counters.
    pub(super) async fn counters(&self) -> Result<Counters> {
        let text = reqwest::get(&self.metrics).await?.error_for_status()?.text().await?;
        Ok(Counters {
            histogram: LatencyHistogram::parse(&text, self.histogram)?,
            cpu: processor::cpu_time(self.component.id())?,
            busy: processor::busy_time()?,
        })
    }

    /// Reads the memory.
    pub(super) fn memory(&self) -> Result<Memory> {
        processor::memory(self.component.id()).context("failed to read the server's memory")
    }
}
