//! Shows that a pod is rewritten, then ends: the program of `helm test`.
//!
//! Pods are created as dry runs ([`Probe`]), so none of them runs. A pod whose image is ready must come back with the
//! image's variant, or the webhook must have decided against it for a reason that lasts, e.g. a setting.

use std::time::Duration;

use clap::Args;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, Client};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;
use zstart_core::eligibility::Reason;
use zstart_core::record::{READY, condition};
use zstart_core::{ImageConversion, Reference};
use zstart_process::probe::{Answer, NO_IMAGE, Probe};

/// Ready images that are tried in each round.
const IMAGES_MAX: usize = 20;
const PAUSE: Duration = Duration::from_secs(1);

/// Arguments of the test.
#[derive(Debug, Args)]
pub struct TestRewriteArguments {
    /// Opted-in namespace of the dry-run pods.
    #[arg(long)]
    namespace: String,
    /// Source image that a workload of the namespace uses. Default: any image that is ready.
    #[arg(long)]
    image: Option<Reference>,
    /// Longest time of the test.
    #[arg(long, value_name = "SECONDS", default_value = "300")]
    timeout_seconds: u64,
}

/// Error of the test.
#[derive(Debug, Error)]
pub enum TestRewriteError {
    /// The API server failed to answer.
    #[error("failed to {action}")]
    Request {
        /// Action, e.g. `create a dry-run pod`.
        action: &'static str,
        /// Cause.
        source: Box<kube::Error>,
    },
    /// The time is up.
    #[error("{state}, in {} seconds", timeout.as_secs())]
    TimedOut {
        /// State at the end.
        state: String,
        /// Limit.
        timeout: Duration,
    },
    /// The process was told to end.
    #[error("stopped before the test was complete")]
    Stopped,
}

/// Result of a round.
#[derive(Debug, PartialEq)]
enum Round {
    /// A pod came back with its variant.
    Rewritten { image: String, variant: String },
    /// The webhook answers, and no image is ready.
    Answered,
    /// The webhook keeps each ready image that was tried, for a reason that lasts. This is the first one.
    Kept { image: String, reason: String },
    /// Not yet, and why.
    Waiting(String),
}

/// A source, and its variant if it is ready.
struct Candidate {
    source: String,
    variant: Result<String, String>,
}

/// Runs the test until it succeeds or its time is up.
pub async fn test_rewrite(
    client: Client,
    arguments: TestRewriteArguments,
    shutdown: CancellationToken,
) -> Result<(), TestRewriteError> {
    let TestRewriteArguments { namespace, image, timeout_seconds } = arguments;
    let timeout = Duration::from_secs(timeout_seconds);
    let end = Instant::now() + timeout;
    let mut logged = String::new();
    loop {
        match round(&client, &namespace, image.as_ref()).await? {
            Round::Rewritten { image, variant } => {
                info!(image, variant, "the webhook rewrote a dry-run pod");
                return Ok(());
            }
            Round::Answered => {
                info!(
                    "the webhook reviewed a dry-run pod. No image is converted yet, so no rewrite was shown: opt a \
                     namespace in, or set the chart's value test.image"
                );
                return Ok(());
            }
            Round::Kept { image, reason } => {
                info!(
                    image,
                    reason,
                    "the webhook keeps each ready image that was tried (at most {IMAGES_MAX}), for a reason that lasts \
                     (docs/pods.md), so no rewrite was shown"
                );
                return Ok(());
            }
            Round::Waiting(state) => {
                if state != logged {
                    info!("waiting: {state}");
                    logged.clone_from(&state);
                }
                if Instant::now() >= end {
                    return Err(TestRewriteError::TimedOut { state, timeout });
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = shutdown.cancelled() => return Err(TestRewriteError::Stopped),
        }
    }
}

async fn round(
    client: &Client,
    namespace: &str,
    image: Option<&Reference>,
) -> Result<Round, TestRewriteError> {
    let probe = create(client, namespace, NO_IMAGE).await?;
    if probe.review().is_none() {
        return Ok(Round::Waiting(unreviewed(&probe)));
    }
    let candidates = candidates(client, image).await?;
    let (mut waiting, mut kept) = (None, None);
    for Candidate { source, variant } in candidates.into_iter().take(IMAGES_MAX) {
        let variant = match variant {
            Ok(variant) => variant,
            Err(reason) => {
                waiting.get_or_insert(reason);
                continue;
            }
        };
        let answer = create(client, namespace, &source).await?;
        if answer.image() == Some(&variant) {
            return Ok(Round::Rewritten { image: source, variant });
        }
        if answer.image().is_none() {
            waiting = Some(format!(
                "the API server refused a pod with the ready image {source}: {}",
                answer.refusal()
            ));
            continue;
        }
        let reason = answer.review().and_then(|review| review.reason).unwrap_or("no reason");
        if image.is_none() && is_lasting(reason) {
            kept.get_or_insert(Round::Kept { image: source, reason: reason.to_owned() });
        } else {
            waiting = Some(format!(
                "a pod with the ready image {source} was admitted without its variant {variant}: {reason}; \
                 `zstart explain -f FILE` says why"
            ));
        }
    }
    Ok(waiting.map(Round::Waiting).or(kept).unwrap_or(Round::Answered))
}

fn is_lasting(reason: &str) -> bool {
    Reason::ALL.iter().any(|known| known.is_lasting() && known.as_str() == reason)
}

/// The given image, or all ready ones.
async fn candidates(client: &Client, image: Option<&Reference>) -> Result<Vec<Candidate>, TestRewriteError> {
    let api = Api::<DeserializeGuard<ImageConversion>>::all(client.clone());
    let list = api.list(&ListParams::default()).await;
    let list = list.map_err(|source| TestRewriteError::Request {
        action: "list conversion records",
        source: source.into(),
    })?;
    let records = list.items.into_iter().filter_map(|DeserializeGuard(record)| record.ok());
    Ok(select(records, image))
}

fn select(records: impl Iterator<Item = ImageConversion>, image: Option<&Reference>) -> Vec<Candidate> {
    let candidates = records.map(|record| {
        let status = record.status.as_ref();
        let ready = status.and_then(|status| condition(status, READY));
        let variant = status.and_then(|status| status.variant.as_ref());
        let state =
            ready.map_or("Pending".to_owned(), |ready| format!("{}: {}", ready.reason, ready.message));
        let variant = variant.filter(|_| ready.is_some_and(|ready| ready.status == "True"));
        let source = record.spec.source;
        let variant = variant.map(|variant| variant.reference.to_string());
        (variant.ok_or_else(|| format!("the image {source} isn't ready ({state})")), source)
    });
    let Some(image) = image else {
        let ready = candidates.filter(|(variant, _)| variant.is_ok());
        return ready.map(|(variant, source)| Candidate { source: source.to_string(), variant }).collect();
    };
    let mut candidates = candidates.filter(|(_, source)| source == image);
    let unknown = || Err(format!("the controller has no record of the image {image}"));
    let variant = candidates.next().map_or_else(unknown, |(variant, _)| variant);
    vec![Candidate { source: image.to_string(), variant }]
}

async fn create(client: &Client, namespace: &str, image: &str) -> Result<Answer, TestRewriteError> {
    let probe = Probe { namespace, image, manager: "zstart-test" };
    probe
        .create(client)
        .await
        .map_err(|source| TestRewriteError::Request { action: "create a dry-run pod", source: source.into() })
}

fn unreviewed(probe: &Answer) -> String {
    if probe.image().is_some() {
        return "the API server admitted a dry-run pod without the webhook's answer; `zstart check` finds the cause"
            .to_owned();
    }
    format!("the API server refused a dry-run pod: {}", probe.refusal())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(source: &str, ready: &str) -> ImageConversion {
        let (repository, digest) = (source.split(':').next().unwrap(), format!("sha256:{}", "0".repeat(64)));
        serde_json::from_value(json!({
            "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion", "metadata": {"name": "a"},
            "spec": {"source": source},
            "status": {
                "conditions": [{
                    "type": "Ready", "status": ready, "reason": "Converting", "message": "at work",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
                "variant": {
                    "sourceDigest": digest, "settings": "level=3",
                    "reference": format!("{repository}:v1-zstd@{digest}"),
                    "platforms": [], "verifiedAt": "2026-01-01T00:00:00Z", "durationMilliseconds": 0,
                },
            },
        }))
        .unwrap()
    }

    #[test]
    fn any_ready_image_is_tried_without_a_given_one() {
        let records = [record("registry.example/a:v1", "True"), record("registry.example/b:v1", "False")];
        let candidates = select(records.into_iter(), None);
        let candidates: Vec<_> = candidates.into_iter().map(|one| (one.source, one.variant)).collect();
        let variant = format!("registry.example/a:v1-zstd@sha256:{}", "0".repeat(64));
        assert_eq!(candidates, [("registry.example/a:v1".to_owned(), Ok(variant))]);
    }

    #[test]
    fn given_image_is_awaited_with_its_reason() {
        let state = |ready, image: &str| {
            let records = [record("registry.example/a:v1", ready)];
            select(records.into_iter(), Some(&image.parse().unwrap())).remove(0).variant
        };
        assert!(state("True", "registry.example/a:v1").is_ok());
        let reason = state("False", "registry.example/a:v1").unwrap_err();
        assert_eq!(reason, "the image registry.example/a:v1 isn't ready (Converting: at work)");
        let reason = state("True", "registry.example/other:v1").unwrap_err();
        assert_eq!(reason, "the controller has no record of the image registry.example/other:v1");
    }

    #[test]
    fn refusal_and_missing_review_are_told_apart() {
        let answer = |body: Value| Answer { status: 403, body, ..Answer::default() };
        let admitted = answer(json!({"spec": {"containers": [{"name": "probe", "image": "a"}]}}));
        assert!(unreviewed(&admitted).contains("without the webhook's answer"));
        let refused = unreviewed(&answer(json!({"kind": "Status", "message": "exceeded quota"})));
        assert_eq!(refused, "the API server refused a dry-run pod: exceeded quota");
    }
}
