//! Jobs that the real Kueue starts, suspends and starts again.
//!
//! Ignored: the first run builds Kueue, which takes minutes. `make scenarios` runs it.

use anyhow::{Context as _, Result};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use zstart_core::record::READY;
use zstart_tests::images::Fixture;
use zstart_tests::kueue::Kueue;
use zstart_tests::wait;

use crate::jobs_lab::{JobLab, is_suspended};
use crate::lab::{SYSTEM, WITHIN};
use crate::records::condition_of;

const QUEUE: &str = "conversions";
const NAMES: [&str; 2] = ["one", "other"];

/// The Job that runs, while the other one waits.
async fn running(jobs: &JobLab, number: usize) -> Result<Job> {
    wait::until(format!("one of {number} Jobs to run"), WITHIN, || async {
        let all = jobs.list().await?;
        let unfinished =
            |job: &Job| job.status.as_ref().is_none_or(|status| status.completion_time.is_none());
        let mut started: Vec<Job> =
            all.iter().filter(|job| !is_suspended(job) && unfinished(job)).cloned().collect();
        Ok((all.len() == number && started.len() == 1).then(|| started.remove(0)))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds Kueue; make scenarios runs it"]
async fn kueue_runs_jobs_within_its_quota() -> Result<()> {
    let jobs = JobLab::start(&["controller.jobs.queue=conversions"]).await?;
    let lab = &jobs.lab;
    let kueue = Kueue::start(&lab.plane).await?;
    // The requests of one Job: 500m and 256Mi.
    kueue.create_queue(SYSTEM, QUEUE, "700m", "1Gi").await?;
    for name in NAMES {
        let image =
            Fixture::new().large_layer("usr/bin/app", 2 << 20).layer(&[("etc/name", name.as_bytes())]);
        lab.push(&format!("{name}:v1"), &image).await?;
        lab.deploy("on", name, &lab.image(&format!("{name}:v1"))).await?;
    }
    let _controller = jobs.start_controller().await?;
    let first = running(&jobs, 2).await?;
    let waits = lab.image(if first.annotations()["zstart.dev/source"].contains("/one:") {
        "other:v1"
    } else {
        "one:v1"
    });
    let queued =
        |status: &_| condition_of(status, READY).2.contains("queue conversions hasn't admitted the Job");
    lab.wait_for(&waits, "queued", queued).await?;

    // Kueue takes the quota back, and gives it again.
    let queues = kueue.objects("ClusterQueue", None);
    let stop = |policy: &str| Patch::Merge(json!({"spec": {"stopPolicy": policy}}));
    queues.patch(QUEUE, &PatchParams::default(), &stop("HoldAndDrain")).await?;
    wait::until("all Jobs to be suspended", WITHIN, || async {
        Ok(jobs.list().await?.iter().all(is_suspended).then_some(()))
    })
    .await?;
    lab.wait_for(&lab.image("one:v1"), "queued", queued).await?;
    lab.wait_for(&lab.image("other:v1"), "queued", queued).await?;
    queues.patch(QUEUE, &PatchParams::default(), &stop("None")).await?;

    for left in [2, 1] {
        let job = running(&jobs, left).await?;
        let ended = jobs.run(&job).await?;
        jobs.end(&job, &ended).await?;
        let source = job.annotations().get("zstart.dev/source").context("no source")?;
        lab.ready(source).await?;
        // No garbage collection runs here, so the Workload of the deleted Job would keep its quota.
        let workloads = kueue.objects("Workload", Some(SYSTEM));
        for workload in workloads.list(&ListParams::default()).await? {
            if workload.owner_references().iter().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref()) {
                workloads.delete(&workload.name_any(), &DeleteParams::default()).await?;
            }
        }
    }
    jobs.no_job().await
}
