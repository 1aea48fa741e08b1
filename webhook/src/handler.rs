//! Handler that turns a review into a response. Every parsed review is admitted: an object that the handler
//! doesn't understand is admitted unchanged.

use std::sync::Arc;

use jiff::Timestamp;
use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zstart_admission::config::Policy;
use zstart_admission::decision::{Context, Decision, Decisions, Image, decide, images, new_ephemeral_images};
use zstart_admission::patch::{self, Annotate};
use zstart_admission::snapshot::Snapshot;
use zstart_admission::snapshot::watch::CacheAges;
use zstart_core::eligibility::Reason;
use zstart_core::eligibility::pod::controller;
use zstart_core::keys;

use crate::metrics::{Metrics, Outcome};
use crate::review::pod::ReviewedPod;
use crate::review::{Operation, ReviewError, ReviewRequest, ReviewResponse};

#[cfg(test)]
mod tests;

/// Longest pod that is parsed. The API server accepts at most 3 MiB and stores half of that.
const MAX_POD_BYTES: usize = 4 << 20;
/// Most JSON objects in a pod that is parsed. Ordinary pods have some hundreds. Each object takes up to
/// 3 KiB of memory, and three bytes of JSON are enough for one object.
const MAX_POD_OBJECTS: usize = 10_000;
/// Key of the audit annotation that holds the decisions.
const AUDIT_KEY: &str = "decisions";
/// Key of the audit annotation that names the nodes that blocked variants.
const BLOCKERS_KEY: &str = "blockers";

/// Response to a review.
#[derive(Debug)]
pub(crate) struct Reviewed {
    pub(crate) response: ReviewResponse,
    /// Outcome, if the review is counted. A dry run isn't: it creates no pod.
    pub(crate) outcome: Option<Outcome>,
}

/// Reviews pods.
pub(crate) struct Handler {
    snapshot: Arc<Snapshot>,
    ages: Arc<CacheAges>,
    policy: Policy,
    metrics: Arc<Metrics>,
}

impl Handler {
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        ages: Arc<CacheAges>,
        policy: Policy,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { snapshot, ages, policy, metrics }
    }

    /// Returns the response to the review in `body`, or an error if `body` isn't a review.
    pub(crate) fn review(&self, body: &[u8], now: Timestamp) -> Result<Reviewed, ReviewError> {
        let request = ReviewRequest::parse(body)?;
        let DecisionSet { pod, decisions, patch } = &self.decide(&request, now);
        let (decided, blockers) = (decisions_json(decisions), blockers_json(decisions));
        log_decisions(&request, pod, decisions, &decided, blockers.as_deref());
        let outcome = if patch.is_some() { Outcome::Patched } else { Outcome::Unchanged };
        let mut response = ReviewResponse::admit(request.uid, request.version);
        if !decisions.is_empty() {
            response = response.with_audit_annotation(AUDIT_KEY, decided);
        }
        if let Some(blockers) = blockers {
            response = response.with_audit_annotation(BLOCKERS_KEY, blockers);
        }
        let mut warnings = warnings(pod, decisions);
        warnings.extend(probe_reply(pod, decisions, request.dry_run));
        response = response.with_warnings(warnings);
        if let Some(patch) = patch {
            response = response.with_patch(patch);
        }
        // A dry run creates no pod, so its decisions are not counted.
        if !request.dry_run {
            // A reinvoked webhook finds the variants that it set itself.
            for decision in decisions.iter().filter(|decision| !decision.is_kept()) {
                self.metrics.count_image(decision.reason);
            }
        }
        Ok(Reviewed { response, outcome: (!request.dry_run).then_some(outcome) })
    }

    fn decide(&self, request: &ReviewRequest, now: Timestamp) -> DecisionSet {
        let Some(PodReview { pod, images, annotate }) = PodReview::of(request) else {
            return DecisionSet::default();
        };
        let namespace = request.namespace.as_deref().unwrap_or_default();
        let (snapshot, policy) = (&self.snapshot, &self.policy);
        let stale_cache = self.ages.stale(policy.max_cache_age);
        let context = Context { snapshot, policy, now, stale_cache };
        let Decisions { images: mut decisions, may_patch } = decide(&pod, namespace, images, &context);
        let annotate = if may_patch { annotate } else { Annotate::No };
        let mut patch = patch::build(&pod, &decisions, annotate);
        if let Some(inapplicable) =
            patch.take_if(|patch| !patch::applies_to(patch, request.object.as_deref()))
        {
            let uid = &request.uid;
            tracing::error!(uid, patch = ?inapplicable, "omitted a patch that doesn't apply to its own pod");
            decisions.iter_mut().for_each(Decision::fail);
        }
        DecisionSet { pod, decisions, patch }
    }
}

/// Result of a review.
#[derive(Default)]
struct DecisionSet {
    pod: Pod,
    decisions: Vec<Decision>,
    patch: Option<Patch>,
}

/// Review of a pod with images.
struct PodReview {
    pod: Pod,
    images: Vec<Image>,
    annotate: Annotate,
}

impl PodReview {
    /// Parses the pod of a review that creates a pod or adds ephemeral containers. Returns `None` for every
    /// other review.
    fn of(request: &ReviewRequest) -> Option<Self> {
        let resource = &request.resource;
        if !(resource.group.is_empty() && resource.resource == "pods") {
            return None;
        }
        let sub_resource = request.sub_resource.as_deref().unwrap_or_default();
        match (request.operation, sub_resource) {
            (Operation::Create, "") => {
                let pod = read_pod(request, request.object.as_deref())?;
                let images = images(&pod);
                Some(Self { pod, images, annotate: Annotate::Yes })
            }
            // An update of the pod itself is admitted unchanged: a changed image would restart a container.
            (Operation::Update, "ephemeralcontainers") => {
                let pod = read_pod(request, request.object.as_deref())?;
                let old = read_pod(request, request.old_object.as_deref())?;
                let images = new_ephemeral_images(&pod, &old);
                Some(Self { pod, images, annotate: Annotate::No })
            }
            _ => None,
        }
    }
}

fn read_pod(request: &ReviewRequest, object: Option<&RawValue>) -> Option<Pod> {
    let text = object.map_or("null", RawValue::get);
    let (bytes, objects) = (text.len(), text.bytes().filter(|byte| *byte == b'{').count());
    if bytes > MAX_POD_BYTES || objects > MAX_POD_OBJECTS {
        tracing::warn!(
            uid = request.uid,
            bytes,
            objects,
            "admitted a pod unchanged: it exceeds {MAX_POD_BYTES} bytes or {MAX_POD_OBJECTS} JSON objects"
        );
        return None;
    }
    match serde_json::from_str::<ReviewedPod>(text) {
        Ok(pod) => Some(pod.into()),
        Err(error) => {
            tracing::warn!(uid = request.uid, %error, "admitted a pod unchanged: it can't be parsed");
            None
        }
    }
}

/// Formats the decisions as one line: `{"containers/app":"Rewritten"}`.
fn decisions_json(decisions: &[Decision]) -> String {
    let entries = decisions
        .iter()
        .map(|decision| (decision.image.field.to_string(), Value::from(decision.reason.as_str())));
    Value::Object(entries.collect::<Map<_, _>>()).to_string()
}

/// Formats the blocking nodes as one line: `{"containers/app":"node a (linux/amd64 with containerd://1.4.1)"}`.
/// Returns `None` if no node blocks.
fn blockers_json(decisions: &[Decision]) -> Option<String> {
    let blockers = decisions.iter().filter_map(|decision| {
        Some((decision.image.field.to_string(), Value::from(decision.blocker.as_deref()?)))
    });
    let blockers: Map<String, Value> = blockers.collect();
    (!blockers.is_empty()).then(|| Value::Object(blockers).to_string())
}

/// Returns warnings for the author of a pod without a controller in an audited namespace. Pods of controllers
/// have no reader: a controller drops warnings.
fn warnings(pod: &Pod, decisions: &[Decision]) -> Vec<String> {
    if controller(&pod.metadata).is_some() {
        return Vec::new();
    }
    let audited = decisions.iter().filter(|decision| decision.reason == Reason::Audited);
    let text = |decision: &Decision| {
        let Image { field, reference, .. } = &decision.image;
        format!("zstart audits this namespace: {field} ({reference}) would run as its zstd variant")
    };
    audited.map(text).collect()
}

/// Returns the warning by which `zstart check` and `helm test` see that the API server called the webhook, and what it
/// decided: the webhook fails open, so a failed call is silent. Only a dry run asks for it.
fn probe_reply(pod: &Pod, decisions: &[Decision], dry_run: bool) -> Option<String> {
    let is_probe = || pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(keys::PROBE));
    (dry_run && is_probe()).then(|| {
        let decisions =
            decisions.iter().map(|decision| format!("{} {}", decision.image.field, decision.reason));
        let decisions = decisions.collect::<Vec<_>>().join(", ");
        format!("{}{} ({decisions})", keys::PROBE_REPLY, env!("CARGO_PKG_VERSION"))
    })
}

/// Logs the decisions. `decided` and `blockers` are their texts.
fn log_decisions(
    request: &ReviewRequest,
    pod: &Pod,
    decisions: &[Decision],
    decided: &str,
    blockers: Option<&str>,
) {
    if decisions.is_empty() {
        return;
    }
    let name = match request.name.as_str() {
        "" => pod.metadata.generate_name.as_deref().unwrap_or_default(),
        name => name,
    };
    let (uid, dry_run) = (&request.uid, request.dry_run);
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let is_noteworthy = |decision: &Decision| matches!(decision.reason, Reason::Rewritten | Reason::Audited);
    if decisions.iter().any(is_noteworthy) {
        tracing::info!(namespace, pod = name, dry_run, uid, decisions = decided, blockers, "reviewed");
    } else {
        tracing::debug!(namespace, pod = name, dry_run, uid, decisions = decided, blockers, "reviewed");
    }
}
