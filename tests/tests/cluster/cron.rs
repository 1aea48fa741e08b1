//! A `CronJob` with `imagePullPolicy: Always`, whose runs are further apart than the age that the webhook allows.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use zstart_tests::wait;

use crate::shop::{NAMESPACE, Shop, WITHIN, images, source};

const APP: &str = "report";
/// Runs start a minute apart, and each needs some seconds.
const NEXT_RUN_WITHIN: Duration = Duration::from_secs(100);

/// Start of the runs.
#[derive(Clone, Copy)]
pub(crate) enum Schedule {
    /// The `CronJob`'s controller starts one each minute.
    EachMinute,
    /// A user starts each, once the record's look of the run before is older than this.
    AfterBound(Duration),
}

/// Lets a `CronJob` run, and requires that each run starts from the variant while nothing is pushed.
pub(crate) async fn runs_start_variants(shop: &Shop, schedule: Schedule, runs: usize) -> Result<()> {
    let digest = shop.push(APP, "one").await?;
    let container = json!({
        "name": "app", "image": source(APP), "imagePullPolicy": "Always",
        "command": ["/bin/busybox", "cat", "/version"],
    });
    let template = json!({
        "metadata": {"labels": {"app": APP}}, "spec": {"restartPolicy": "Never", "containers": [container]},
    });
    shop.apply(&json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": APP, "namespace": NAMESPACE},
        "spec": {
            "schedule": "* * * * *", "suspend": true, "successfulJobsHistoryLimit": 20,
            "jobTemplate": {"spec": {"template": template}},
        },
    }))?;
    let variant = shop.variant(APP, &digest).await?;
    if matches!(schedule, Schedule::EachMinute) {
        shop.kubectl(&["patch", "cronjob", APP, "--patch", r#"{"spec": {"suspend": false}}"#])?;
        shop.say("the CronJob starts a Job each minute");
    }
    let mut seen = BTreeSet::new();
    let mut looked = Timestamp::UNIX_EPOCH;
    for run in 1..=runs {
        if let Schedule::AfterBound(bound) = schedule {
            looked = look_after(shop, looked, bound).await?;
            shop.kubectl(&["create", "job", &format!("{APP}-{run}"), &format!("--from=cronjob/{APP}")])?;
        }
        let finished = next_run(shop, &seen).await?;
        seen.insert(finished.uid());
        ensure!(shop.show(std::slice::from_ref(&finished)).await? == ["one"]);
        ensure!(images(&finished) == [&variant], "run {run} isn't rewritten: {:?}", images(&finished));
    }
    let jobs: Api<k8s_openapi::api::batch::v1::CronJob> = Api::namespaced(shop.cluster.client(), NAMESPACE);
    jobs.delete(APP, &DeleteParams::default()).await?;
    Ok(())
}

/// Waits for a pod of the `CronJob` that is new and has succeeded.
async fn next_run(shop: &Shop, seen: &BTreeSet<Option<String>>) -> Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(shop.cluster.client(), NAMESPACE);
    let run = wait::until("the next run of the CronJob", NEXT_RUN_WITHIN, || async {
        let pods = pods.list(&ListParams::default().labels(&format!("app={APP}"))).await?.items;
        let has_succeeded =
            |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded");
        Ok(pods.into_iter().find(|pod| !seen.contains(&pod.uid()) && has_succeeded(pod)))
    });
    run.await.with_context(|| shop.diagnostics())
}

/// Waits until the controller has looked at the tag so much later than `before` that the earlier look would be too
/// old. Returns the time of the look.
async fn look_after(shop: &Shop, before: Timestamp, bound: Duration) -> Result<Timestamp> {
    wait::until("the controller to look at the tag again", WITHIN, || async {
        let source = shop.record(APP).await?.and_then(|status| status.source);
        let looked = source.map(|source| source.checked_at.0).context("the record has no look")?;
        Ok((looked > before + bound).then_some(looked))
    })
    .await
}
