//! From a review to its answer. It can't fail: what it doesn't understand is admitted as it came.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zstart_core::eligibility::Reason;
use zstart_core::originals;

use crate::config::Policy;
use crate::metrics::{Metrics, Outcome};
use crate::patch::{self, Annotate};
use crate::review::{Request, Response, ReviewError};
use crate::rewrite::{Context, Decision, decide, images, may_patch, new_ephemeral_images};
use crate::snapshot::Snapshot;

#[cfg(test)]
mod tests;

/// The longest pod that is read. The API server takes at most 3 MiB and stores half of that.
const POD_MAX: usize = 4 << 20;
/// How many parts (what stands between braces) a pod may have to be read. Ordinary ones have some
/// hundreds; each takes up to 3 KiB in memory, and three bytes are enough to write one down.
const PARTS_MAX: usize = 10_000;
/// Key of the audit annotation with the decisions.
const DECISIONS: &str = "decisions";

/// Answers reviews.
pub(crate) struct Handler {
    snapshot: Arc<Snapshot>,
    policy: Policy,
    metrics: Arc<Metrics>,
}

impl Handler {
    pub(crate) fn new(snapshot: Arc<Snapshot>, policy: Policy, metrics: Arc<Metrics>) -> Self {
        Self { snapshot, policy, metrics }
    }

    /// The answer to the review in `body`. An error only where there is no question to answer.
    pub(crate) fn review(&self, body: &[u8], now: Timestamp) -> Result<Response, ReviewError> {
        let start = Instant::now();
        let request = match Request::parse(body) {
            Ok(request) => request,
            Err(error) => {
                self.metrics.review(Outcome::Malformed, start.elapsed());
                return Err(error);
            }
        };
        let Decided { pod, decisions, patch } = &self.decide(&request, now);
        report(&request, pod, decisions);
        let outcome = if patch.is_some() { Outcome::Patched } else { Outcome::Unchanged };
        let mut response = Response::admit(request.uid);
        if !decisions.is_empty() {
            response = response.with_audit(DECISIONS, summary(decisions));
        }
        if let Some(patch) = patch {
            response = response.with_patch(patch);
        }
        // A dry run counts for nothing: no pod comes of it.
        if !request.dry_run {
            let noted = originals(&pod.metadata).unwrap_or_default();
            for Decision { image, reason, .. } in decisions {
                // Where the webhook is asked again, it finds what it did itself.
                let again = *reason == Reason::AlreadyVariant && noted.contains_key(&image.field.to_string());
                if !again {
                    self.metrics.image(*reason);
                }
            }
            self.metrics.review(outcome, start.elapsed());
        }
        Ok(response)
    }

    fn decide(&self, request: &Request, now: Timestamp) -> Decided {
        let Some(Question { pod, images, annotate }) = Question::of(request) else {
            return Decided::default();
        };
        let namespace = request.namespace.as_deref().unwrap_or_default();
        let context = Context { snapshot: &self.snapshot, policy: &self.policy, now };
        let mut decisions = decide(&pod, namespace, images, &context);
        let annotate = if may_patch(&pod, namespace, &context) { annotate } else { Annotate::No };
        let mut patch = patch::build(&pod, &decisions, annotate);
        if let Some(unfit) = patch.take_if(|patch| !patch::applies_to(patch, request.object.as_deref())) {
            let uid = &request.uid;
            tracing::error!(uid, patch = ?unfit, "a patch doesn't fit its own pod and is left out");
            for decision in &mut decisions {
                if decision.variant.take().is_some() {
                    decision.reason = Reason::Failed;
                }
            }
        }
        Decided { pod, decisions, patch }
    }
}

/// What a review led to.
#[derive(Default)]
struct Decided {
    pod: Pod,
    decisions: Vec<Decision>,
    patch: Option<Patch>,
}

/// A review that is about images.
struct Question {
    pod: Pod,
    images: Vec<crate::rewrite::Image>,
    annotate: Annotate,
}

impl Question {
    /// `None` for anything but a pod that is being made, or that gets ephemeral containers.
    fn of(request: &Request) -> Option<Self> {
        let resource = &request.resource;
        if !(resource.group.is_empty() && resource.resource == "pods") {
            return None;
        }
        let sub_resource = request.sub_resource.as_deref().unwrap_or_default();
        match (request.operation.as_str(), sub_resource) {
            ("CREATE", "") => {
                let pod = read_pod(request, request.object.as_deref())?;
                let images = images(&pod);
                Some(Self { pod, images, annotate: Annotate::Yes })
            }
            // An update of the pod itself is left alone: a changed image restarts a container.
            ("UPDATE", "ephemeralcontainers") => {
                let pod = read_pod(request, request.object.as_deref())?;
                let old = read_pod(request, request.old_object.as_deref())?;
                let images = new_ephemeral_images(&pod, &old);
                Some(Self { pod, images, annotate: Annotate::No })
            }
            _ => None,
        }
    }
}

fn read_pod(request: &Request, object: Option<&RawValue>) -> Option<Pod> {
    let text = object.map_or("null", RawValue::get);
    if text.len() > POD_MAX || text.bytes().filter(|byte| *byte == b'{').count() > PARTS_MAX {
        tracing::warn!(uid = request.uid, "a pod is too large to be read and is admitted as it came");
        return None;
    }
    match serde_json::from_str(text) {
        Ok(pod) => Some(pod),
        Err(error) => {
            tracing::warn!(uid = request.uid, %error, "a pod can't be read and is admitted as it came");
            None
        }
    }
}

/// The decisions as one line: `{"containers/app":"Rewritten"}`.
fn summary(decisions: &[Decision]) -> String {
    let entries = decisions
        .iter()
        .map(|decision| (decision.image.field.to_string(), Value::from(decision.reason.as_str())));
    Value::Object(entries.collect::<Map<_, _>>()).to_string()
}

fn report(request: &Request, pod: &Pod, decisions: &[Decision]) {
    if decisions.is_empty() {
        return;
    }
    let name = match request.name.as_str() {
        "" => pod.metadata.generate_name.as_deref().unwrap_or_default(),
        name => name,
    };
    let (uid, dry_run) = (&request.uid, request.dry_run);
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let told = |decision: &Decision| matches!(decision.reason, Reason::Rewritten | Reason::Audited);
    let decided = summary(decisions);
    if decisions.iter().any(told) {
        tracing::info!(namespace, pod = name, dry_run, uid, decisions = decided, "reviewed");
    } else {
        tracing::debug!(namespace, pod = name, dry_run, uid, decisions = decided, "reviewed");
    }
}
