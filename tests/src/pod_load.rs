//! Load of pods: one client creates pods at a steady rate with bursts, and a report counts the fate of each pod.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::wait;

mod report;

pub use report::Report;

/// Each tick of this number is a burst of pods. A burst makes the API server open connections to the webhook,
/// which are idle until the next burst.
const BURST_EVERY: u32 = 40;
const BURST: u32 = 10;
/// Most pods that are created at once.
const MAX_CREATING: usize = 40;
/// Time limit for pods to be created. The API server admits a pod after 30 s at the latest.
const CREATED_WITHIN: Duration = Duration::from_mins(2);

/// Pod as the API server stored it.
#[derive(Clone, Debug)]
pub struct CreatedPod {
    /// Name of the pod.
    pub name: String,
    /// Image of the first container.
    pub image: String,
}

impl From<&Pod> for CreatedPod {
    fn from(pod: &Pod) -> Self {
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let image = container.and_then(|container| container.image.clone());
        Self { name: pod.name_any(), image: image.unwrap_or_default() }
    }
}

/// One finished creation.
struct Attempt {
    phase: String,
    sent: Timestamp,
    /// Duration of the creation, which includes etcd's.
    took: Duration,
    created: Result<CreatedPod>,
}

/// A running load.
pub struct PodLoad {
    phase: watch::Sender<String>,
    finished: Arc<AtomicUsize>,
    end: CancellationToken,
    task: JoinHandle<Result<Report>>,
}

impl PodLoad {
    /// Creates pods with `create` until [`finish`](Self::finish), `per_second` and bursts of ten more every 40 pods.
    /// Each pod must get the image `variant`. `phase` is the name of the first phase.
    pub fn start<F, R>(per_second: u32, variant: &str, phase: &str, create: F) -> Self
    where
        F: Fn() -> R + Send + 'static,
        R: Future<Output = Result<CreatedPod>> + Send + 'static,
    {
        let (phase, current) = watch::channel(phase.to_owned());
        let (finished, end) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let report = Report::new(variant);
        let load = Load { per_second, current, finished: Arc::clone(&finished), end: end.clone(), report };
        Self { phase, finished, end, task: tokio::spawn(load.run(create)) }
    }

    /// Counts pods that are sent from now on in another phase.
    pub fn enter(&self, phase: &str) {
        self.phase.send_replace(phase.to_owned());
    }

    /// Waits until `pods` more pods have been created or refused.
    pub async fn wait_for(&self, pods: usize) -> Result<()> {
        let target = self.finished.load(Ordering::Relaxed) + pods;
        wait::until(format!("{pods} pods to be created"), CREATED_WITHIN, || async {
            ensure!(!self.task.is_finished(), "the load has ended");
            Ok((self.finished.load(Ordering::Relaxed) >= target).then_some(()))
        })
        .await
    }

    /// Stops the load and returns the fate of all pods.
    pub async fn finish(self) -> Result<Report> {
        if self.task.is_finished() {
            self.task.await??;
            bail!("the load of pods ended early");
        }
        self.end.cancel();
        self.task.await?
    }
}

struct Load {
    per_second: u32,
    current: watch::Receiver<String>,
    finished: Arc<AtomicUsize>,
    end: CancellationToken,
    report: Report,
}

impl Load {
    async fn run<F, R>(mut self, create: F) -> Result<Report>
    where
        F: Fn() -> R,
        R: Future<Output = Result<CreatedPod>> + Send + 'static,
    {
        let (mut running, mut number) = (JoinSet::new(), 0);
        let mut ticks = interval(Duration::from_secs(1) / self.per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.end.is_cancelled() {
            ticks.tick().await;
            number += 1;
            // A machine that is too slow for the rate creates fewer pods.
            while running.len() > MAX_CREATING {
                self.add(running.join_next().await.context("no pod is being created")??);
            }
            let phase = self.current.borrow().clone();
            for _ in 0..if number % BURST_EVERY == 0 { BURST } else { 1 } {
                let (phase, sent, start) = (phase.clone(), Timestamp::now(), Instant::now());
                let creation = create();
                running.spawn(async move {
                    let created = creation.await;
                    Attempt { phase, sent, took: start.elapsed(), created }
                });
            }
            while let Some(done) = running.try_join_next() {
                self.add(done?);
            }
        }
        while let Some(done) = running.join_next().await {
            self.add(done?);
        }
        Ok(self.report)
    }

    fn add(&mut self, attempt: Attempt) {
        self.report.add(attempt);
        self.finished.fetch_add(1, Ordering::Relaxed);
    }
}
