//! Reviews through restarts of the webhook and a rotation of its certificate, under a real API server that keeps
//! its connections. `make soak` is the long form, on a cluster with kubelets and kube-proxy.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use zstart_tests::pod_load::{CreatedPod, PodLoad};
use zstart_tests::wait;

use crate::balancer::Balancer;
use crate::certificates;
use crate::installation::{Installation, Registration, WITHIN};
use crate::program::Program;
use crate::records::{pod, record, variant_of};

const APP: &str = "r.example/app:v1";
const PODS_PER_SECOND: u32 = 20;
const ROLLOUTS: u32 = 2;
/// A shorter grace period than the chart's default.
const SETTINGS: &str = "maxStaleness: 24h\ndrain: {grace: 2s}";

#[tokio::test(flavor = "multi_thread")]
async fn restarts_and_a_rotation_lose_no_review() -> Result<()> {
    let zstart = Installation::ready_for_webhook().await?;
    zstart.record(&record(APP)).await?;
    let programs = [Program::new(&zstart, SETTINGS)?, Program::new(&zstart, SETTINGS)?];
    let mut webhooks = Vec::new();
    for program in &programs {
        webhooks.push(Some(program.start(Stdio::null).await?));
    }
    let balancer = Balancer::start(&programs).await?;
    // Reviews on a busy machine may be slow. They may not be lost.
    let registration = Registration { timeout_seconds: 30, ..Registration::default() };
    zstart.register_webhook(balancer.address, registration).await?;
    zstart.wait_until_rewritten(APP).await?;

    let (pods, new) = (zstart.namespaced::<Pod>("on"), Arc::new(serde_json::from_value(pod(APP))?));
    let load = PodLoad::start(PODS_PER_SECOND, &variant_of(APP), "restarts", move || {
        let (pods, new) = (pods.clone(), Arc::clone(&new));
        async move { Ok(CreatedPod::from(&pods.create(&PostParams::default(), &new).await?)) }
    });
    for rollout in 0..ROLLOUTS {
        for (program, webhook) in programs.iter().zip(&mut webhooks) {
            let status = webhook.take().context("no webhook")?.stop().await?;
            assert!(status.success(), "{status}");
            *webhook = Some(program.start(Stdio::null).await?);
            balancer.wait_until_all_ready().await?;
        }
        if rollout == 0 {
            load.enter("rotation");
            rotate_certificate(&zstart, &programs).await?;
            load.enter("restarts");
        }
    }
    let report = load.finish().await?;
    println!("{}", report.table());
    report.require_all_rewritten()
}

/// Replaces the serving certificate and waits until both webhooks serve it.
async fn rotate_certificate(zstart: &Installation, programs: &[Program]) -> Result<()> {
    let renewed = zstart.authority.issue()?;
    zstart.write_serving_secret(&renewed).await?;
    let renewed = certificates::der(&renewed)?;
    for program in programs {
        wait::until("the renewed certificate to be served", WITHIN, || async {
            Ok((zstart.authority.served(program.https).await? == renewed).then_some(()))
        })
        .await?;
    }
    Ok(())
}
