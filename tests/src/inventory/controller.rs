//! The measured controller.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::cluster::Cluster;
use super::{Changes, Start, Steady};
use crate::bench_webhook::Memory;
use crate::bench_webhook::processor::{cpu_time, memory};
use crate::chart::NAMESPACE as SYSTEM;
use crate::ports::free_ports;
use crate::process::Component;
use crate::wait;

/// Time limit for the lists, and for handling all changes.
const WITHIN: Duration = Duration::from_mins(5);
/// Time limit for the first look at all tags: the webhook's default `maxStaleness`.
const PASS_WITHIN: Duration = Duration::from_mins(15);
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
    /// Starts the program with more settings, and waits until it has confirmed the tags of all `references`.
    pub(super) async fn start(
        program: &Path,
        cluster: &Cluster,
        more: &str,
        references: usize,
    ) -> Result<Self> {
        let [port] = free_ports()?;
        let config = cluster.folder().join("controller.yaml");
        let registry = cluster.registry();
        fs::write(
            &config,
            format!(
                "healthListen: 127.0.0.1:{port}\nrotateCertificates: false\n\
                 plainHttpRegistries: ['{registry}']\n{more}"
            ),
        )?;
        let before = cluster.requests().await?;
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
        let lists = cluster.requests().await?.since(&before).of("LIST");
        let start = Start { ready, cpu, memory, lists, confirmed: Duration::ZERO };
        let mut controller = Self { component, metrics: format!("{url}/metrics"), start };
        controller.wait_until_confirmed(references).await?;
        controller.start.confirmed = started.elapsed();
        Ok(controller)
    }

    /// Waits until every tag was looked at since the start.
    async fn wait_until_confirmed(&self, references: usize) -> Result<()> {
        let expected = u64::try_from(references)?;
        wait::until(format!("{expected} confirmed records"), PASS_WITHIN, || async {
            let confirmed = self.metric("zstart_controller_records_confirmed").await?;
            Ok((confirmed >= Some(expected)).then_some(()))
        })
        .await
    }

    /// Measures the processor time and the API server's work while nothing changes.
    pub(super) async fn measure_steady(&self, cluster: &Cluster, time: Duration) -> Result<Steady> {
        let (cpu, requests) = (cpu_time(self.component.id())?, cluster.requests().await?);
        tokio::time::sleep(time).await;
        let requests = cluster.requests().await?.since(&requests);
        Ok(Steady {
            time,
            cpu: cpu_time(self.component.id())?.saturating_sub(cpu),
            record_writes: requests.writes("imageconversions"),
            sweep_writes: requests.writes("freshnesssweeps"),
        })
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
    pub(super) async fn settle(&self) -> Result<()> {
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
