//! The measured controller.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::cluster::Cluster;
use super::{Changes, Start};
use crate::bench_webhook::Memory;
use crate::bench_webhook::processor::{cpu_time, memory};
use crate::chart::NAMESPACE as SYSTEM;
use crate::ports::free_ports;
use crate::process::Component;
use crate::wait;

/// Time limit for the lists, and for handling all changes.
const WITHIN: Duration = Duration::from_mins(5);
/// Time without work after which all changes are handled: several times the delay of notices.
const QUIET: Duration = Duration::from_secs(1);
/// Processor time within [`QUIET`] that is no work. A clock tick has 10 ms.
const IDLE: Duration = Duration::from_millis(10);

/// A running controller.
pub(super) struct MeasuredController {
    component: Component,
    metrics: String,
    pub(super) start: Start,
}

impl MeasuredController {
    /// Starts the program, and waits until it has listed everything.
    pub(super) async fn start(program: &Path, cluster: &Cluster) -> Result<Self> {
        let [port] = free_ports()?;
        let config = cluster.folder().join("controller.yaml");
        fs::write(&config, format!("healthListen: 127.0.0.1:{port}\nrotateCertificates: false\n"))?;
        let before = cluster.lists().await?;
        let started = Instant::now();
        let mut component = Component::start("zstart-controller", cluster.folder(), program, |command| {
            command.arg("--config").arg(&config).env("KUBECONFIG", cluster.kubeconfig());
            command.env("POD_NAMESPACE", SYSTEM).env("POD_NAME", "zstart-controller-0")
        })?;
        let url = format!("http://127.0.0.1:{port}");
        wait::until_component(&mut component, "the controller to be ready", WITHIN, || async {
            Ok(reqwest::get(format!("{url}/readyz")).await?.status().is_success().then_some(()))
        })
        .await?;
        let (ready, id) = (started.elapsed(), component.id());
        let (cpu, memory) = (cpu_time(id)?, memory(id)?);
        let mut lists: BTreeMap<String, u64> = cluster.lists().await?;
        for (resource, count) in &mut lists {
            *count -= before.get(resource).copied().unwrap_or_default();
        }
        lists.retain(|_, count| *count > 0);
        let start = Start { ready, cpu, memory, lists };
        let controller = Self { component, metrics: format!("{url}/metrics"), start };
        controller.settle().await?;
        Ok(controller)
    }

    /// Measures the processor time of changes.
    pub(super) async fn measure(
        &self,
        name: &'static str,
        count: usize,
        change: impl Future<Output = Result<()>>,
    ) -> Result<Changes> {
        let (cpu, named) = (cpu_time(self.component.id())?, self.named().await?);
        change.await?;
        self.settle().await?;
        Ok(Changes {
            name,
            count,
            cpu: cpu_time(self.component.id())?.saturating_sub(cpu),
            named: self.named().await?.zip(named).map(|(after, before)| after - before),
        })
    }

    /// Waits until the controller has nothing to do.
    async fn settle(&self) -> Result<()> {
        let id = self.component.id();
        wait::until("the controller to be idle", WITHIN, || async move {
            let before = cpu_time(id)?;
            tokio::time::sleep(QUIET).await;
            Ok((cpu_time(id)?.saturating_sub(before) <= IDLE).then_some(()))
        })
        .await
    }

    /// Memory now.
    pub(super) fn memory(&self) -> Result<Memory> {
        memory(self.component.id())
    }

    /// Sources in demand.
    pub(super) async fn sources(&self) -> Result<Option<u64>> {
        self.metric("zstart_controller_sources").await
    }

    /// Sources that change notices have named.
    async fn named(&self) -> Result<Option<u64>> {
        self.metric("zstart_controller_source_changes_total").await
    }

    /// A metric; `None` if this version of the controller doesn't have it.
    async fn metric(&self, name: &str) -> Result<Option<u64>> {
        let text = reqwest::get(&self.metrics).await?.error_for_status()?.text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.map(|value| value.trim().parse()).transpose()?)
    }
}
