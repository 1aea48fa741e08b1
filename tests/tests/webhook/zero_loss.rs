//! Reviews through restarts of the webhook and a rotation of its certificate, under a real API server that keeps
//! its connections. `make soak` runs the long form.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use zstart_tests::{settings, wait};

use crate::balancer::Balancer;
use crate::certificates;
use crate::installation::{Installation, Registration, WITHIN};
use crate::program::Program;
use crate::records::{pod, record, variant_of};

const APP: &str = "r.example/app:v1";
/// Interval between two pods: 20 pods a second.
const INTERVAL: Duration = Duration::from_millis(50);
/// Each pod of this number is a burst of pods. A burst makes the API server open connections, which are idle
/// until the next burst.
const BURST_EVERY: u32 = 40;
const BURST: u32 = 10;
/// Most pods that are created at once.
const MAX_CREATING: usize = 40;

/// Pods that were created, and their fate.
#[derive(Default)]
struct Tally {
    created: usize,
    /// Longest time of a creation, which includes etcd's.
    slowest: Duration,
    /// Errors of pods that the API server refused.
    refused: Vec<String>,
    /// Images of pods that the webhook didn't rewrite, with the time of creation.
    unchanged: Vec<(Duration, String)>,
}

/// Creates pods until `end`.
async fn create_pods(zstart: Arc<Installation>, end: CancellationToken) -> Result<Tally> {
    let (mut tally, mut running, start) = (Tally::default(), JoinSet::new(), Instant::now());
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while !end.is_cancelled() {
        ticks.tick().await;
        number += 1;
        // A machine that is too slow for 20 pods a second creates fewer.
        while running.len() > MAX_CREATING {
            tally.add(running.join_next().await.context("no pod is being created")??);
        }
        for _ in 0..if number % BURST_EVERY == 0 { BURST } else { 1 } {
            let zstart = Arc::clone(&zstart);
            running.spawn(async move {
                let sent = Instant::now();
                let made = zstart.pod("on", &pod(APP)).await;
                (sent - start, sent.elapsed(), made)
            });
        }
        while let Some(done) = running.try_join_next() {
            tally.add(done?);
        }
    }
    while let Some(done) = running.join_next().await {
        tally.add(done?);
    }
    Ok(tally)
}

impl Tally {
    fn add(&mut self, (at, took, made): (Duration, Duration, Result<Value>)) {
        self.created += 1;
        self.slowest = self.slowest.max(took);
        match made {
            Ok(pod) => match pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default() {
                image if image == variant_of(APP) => {}
                image => self.unchanged.push((at, image.to_owned())),
            },
            Err(error) => self.refused.push(format!("{error:#}")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_and_a_rotation_lose_no_review() -> Result<()> {
    let soak = settings::soak_rollouts()?;
    // The short form drains for less time than the chart's default.
    let (rollouts, drain) = soak.map_or((2, "drain: {grace: 2s}"), |rollouts| (rollouts, ""));
    let zstart = Arc::new(Installation::ready_for_webhook().await?);
    zstart.record(&record(APP)).await?;
    let settings = format!("maxStaleness: 24h\n{drain}");
    let programs = [Program::new(&zstart, &settings)?, Program::new(&zstart, &settings)?];
    let mut webhooks = Vec::new();
    for program in &programs {
        webhooks.push(Some(program.start(Stdio::null).await?));
    }
    let balancer = Balancer::start(&programs).await?;
    // Reviews on a busy machine may be slow. They may not be lost.
    let registration = Registration { timeout_seconds: 30, ..Registration::default() };
    zstart.register_webhook(balancer.address, registration).await?;
    zstart.wait_until_rewritten(APP).await?;

    let end = CancellationToken::new();
    let creating = tokio::spawn(create_pods(Arc::clone(&zstart), end.clone()));
    for rollout in 0..rollouts {
        for (program, webhook) in programs.iter().zip(&mut webhooks) {
            let status = webhook.take().context("no webhook")?.stop().await?;
            assert!(status.success(), "{status}");
            *webhook = Some(program.start(Stdio::null).await?);
            balancer.wait_until_all_ready().await?;
        }
        if rollout == 0 {
            rotate_certificate(&zstart, &programs).await?;
        }
        assert!(!creating.is_finished(), "pods are created at all times");
    }
    end.cancel();
    let Tally { created, slowest, refused, unchanged } = creating.await??;
    println!(
        "{rollouts} rollouts of two webhooks, one rotation: created {created}, admitted {}, rewritten {}, \
         slowest admission {} ms",
        created - refused.len(),
        created - refused.len() - unchanged.len(),
        slowest.as_millis()
    );
    assert!(refused.is_empty(), "refused: {refused:?}");
    assert!(unchanged.is_empty(), "not rewritten: {unchanged:?}");
    Ok(())
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
