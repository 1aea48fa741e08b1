//! Conversions as Kubernetes Jobs, with the real Job controller, scheduler, garbage collection, kubelet and containerd.

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::api::{EvictParams, ListParams};
use kube::{Api, ResourceExt};
use zstart_core::keys;
use zstart_core::record::{READY, condition};
use zstart_tests::cluster::{self, LOCAL_REGISTRY};
use zstart_tests::images::Fixture;
use zstart_tests::wait;

use crate::shop::{Shop, WITHIN, deployment};

/// Label of the nodes that convert.
const POOL: &str = "pool";

impl Shop {
    async fn jobs(&self) -> Result<Vec<Job>> {
        let jobs: Api<Job> = Api::namespaced(self.cluster.client(), cluster::NAMESPACE);
        Ok(jobs.list(&ListParams::default().labels(keys::CONVERSION)).await?.items)
    }

    /// Waits until the record of an image says this.
    async fn says(&self, name: &str, part: &str) -> Result<()> {
        let said = wait::until(format!("the record of {name} to say {part:?}"), WITHIN, || async {
            let status = self.record(name).await?.unwrap_or_default();
            let message = condition(&status, READY).map(|ready| ready.message.clone()).unwrap_or_default();
            ensure!(message.contains(part), "the record says {message:?}");
            Ok(Some(message))
        });
        let message = said.await.with_context(|| self.diagnostics())?;
        self.say(&format!("the record of {name} says: {message}"));
        Ok(())
    }

    /// Waits until neither Jobs nor their Secrets exist.
    async fn tidy(&self) -> Result<()> {
        let secrets: Api<Secret> = Api::namespaced(self.cluster.client(), cluster::NAMESPACE);
        let gone = wait::until("the Jobs and their Secrets to be gone", WITHIN, || async {
            let jobs: Vec<String> = self.jobs().await?.iter().map(ResourceExt::name_any).collect();
            let secrets = secrets.list(&ListParams::default()).await?.items;
            let secrets = secrets.iter().map(ResourceExt::name_any).filter(|name| name.contains("convert"));
            let left: Vec<String> = jobs.into_iter().chain(secrets).collect();
            ensure!(left.is_empty(), "{left:?}");
            Ok(Some(()))
        });
        gone.await.with_context(|| self.diagnostics())
    }
}

/// A Job waits for a node while its leader is killed.
async fn killed_leader(shop: &Shop) -> Result<()> {
    let digest = shop.push("first", "first").await?;
    shop.apply(&deployment("first", 0, "IfNotPresent"))?;
    shop.says("first", "no node suits pod").await?;
    let [job] = &shop.jobs().await?[..] else { bail!("not one Job") };
    let arguments = ["-n", cluster::NAMESPACE, "delete", "pod", "--now", "--wait=true", "--selector"];
    let selector = "app.kubernetes.io/component=controller";
    shop.cluster.kubectl(&[&arguments[..], &[selector]].concat())?;
    shop.say("deleted the leader");
    shop.cluster.kubectl(&["label", "node", "--all", &format!("{POOL}=batch")])?;
    shop.variant("first", &digest).await?;
    let is_of_job = |event: &Event| event.involved_object.name.as_deref() == Some(&job.name_any());
    shop.events(cluster::NAMESPACE, "reason=Completed", |events| events.iter().any(is_of_job)).await?;
    shop.tidy().await
}

/// More images than the pool's two workers.
async fn many_images(shop: &Shop) -> Result<()> {
    let names = ["a", "b", "c", "d", "e"];
    let mut digests = Vec::new();
    for name in names {
        digests.push(shop.push(name, name).await?);
    }
    let started = Instant::now();
    for name in names {
        shop.apply(&deployment(name, 0, "IfNotPresent"))?;
    }
    for (name, digest) in names.iter().zip(&digests) {
        shop.variant(name, digest).await?;
    }
    shop.say(&format!("{} Jobs took {:.1} s", names.len(), started.elapsed().as_secs_f64()));
    shop.tidy().await
}

/// The kernel kills a conversion at its memory limit.
async fn out_of_memory(shop: &Shop) -> Result<()> {
    let values = [
        "controller.executor=jobs",
        "controller.level=19",
        "controller.jobs.resources.limits.memory=24Mi",
        "controller.jobs.resources.requests.memory=24Mi",
    ];
    shop.cluster.upgrade_zstart(&values)?;
    let image = Fixture::new().large_layer("usr/bin/large", 4 << 20);
    image.push(LOCAL_REGISTRY, "shop/large:v1").await?;
    shop.apply(&deployment("large", 0, "IfNotPresent"))?;
    shop.says("large", "the container was killed at its memory limit (OOMKilled)").await?;
    let [job] = &shop.jobs().await?[..] else { bail!("not one Job") };
    shop.says("large", &format!("Job {}/{}: ", cluster::NAMESPACE, job.name_any())).await?;
    // The next attempt has more memory, and replaces the Job.
    shop.cluster.upgrade_zstart(&["controller.executor=jobs", "controller.level=19"])?;
    let name = zstart_core::record::record_name(&crate::shop::source("large").parse()?);
    shop.cluster.kubectl(&["annotate", "imgconv", &name, &format!("{}=now", keys::RETRY)])?;
    shop.says("large", "every layer equals its diff_id").await?;
    shop.tidy().await
}

/// A drain evicts the pod of a running conversion. The Job replaces the pod.
async fn evicted_pod(shop: &Shop) -> Result<()> {
    // Level 19 gives the test time for the eviction.
    let image = Fixture::new().large_layer("usr/bin/drained", 12 << 20);
    let digest = image.push(LOCAL_REGISTRY, "shop/drained:v1").await?;
    shop.apply(&deployment("drained", 0, "IfNotPresent"))?;
    let pods: Api<Pod> = Api::namespaced(shop.cluster.client(), cluster::NAMESPACE);
    let own = ListParams::default().labels(keys::CONVERSION);
    let running = wait::until("a conversion to run", WITHIN, || async {
        let is_running =
            |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        Ok(pods.list(&own).await?.items.into_iter().find(is_running))
    });
    let pod = running.await.with_context(|| shop.diagnostics())?;
    let job = pod.owner_references().first().context("no Job")?.name.clone();
    pods.evict(&pod.name_any(), &EvictParams::default()).await?;
    shop.say(&format!("evicted {}", pod.name_any()));
    shop.variant("drained", &digest).await?;
    let fields = format!("involvedObject.name={job},reason=SuccessfulCreate");
    let events = shop.events(cluster::NAMESPACE, &fields, |events| events.len() > 1).await?;
    let uids: Vec<_> = events.iter().map(|event| event.involved_object.uid.as_deref()).collect();
    ensure!(uids.len() == 2 && uids[0] == uids[1], "one Job had two pods: {events:#?}");
    shop.tidy().await
}

#[test]
fn jobs_convert_on_a_real_node() {
    cluster::run("jobs::jobs_convert_on_a_real_node", |cluster| async move {
        let selector = format!("controller.jobs.nodeSelector.{POOL}=batch");
        let shop = Shop::open(cluster, &["controller.executor=jobs", &selector])?;
        killed_leader(&shop).await?;
        many_images(&shop).await
    });
}

#[test]
#[ignore = "takes over a minute; make scenarios runs it"]
fn jobs_survive_a_memory_limit_and_a_drain() {
    cluster::run("jobs::jobs_survive_a_memory_limit_and_a_drain", |cluster| async move {
        let shop = Shop::open(cluster, &["controller.executor=jobs"])?;
        out_of_memory(&shop).await?;
        evicted_pod(&shop).await
    });
}
