//! From a review to its answer. It can't fail: what it doesn't understand is admitted as it came.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize as _;
use serde_json::{Map, Value};
use zstart_core::eligibility::Reason;

use crate::config::Policy;
use crate::metrics::{Metrics, Outcome};
use crate::patch::{self, Annotate};
use crate::review::{Request, Response, ReviewError};
use crate::rewrite::{Context, Decision, decide, images, new_ephemeral};
use crate::snapshot::Snapshot;

#[cfg(test)]
mod tests;

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
        let (decisions, patch) = self.decide(&request, now);
        report(&request, &decisions);
        // A dry run counts for nothing: no pod comes of it.
        if !request.dry_run {
            for decision in &decisions {
                self.metrics.image(decision.reason);
            }
        }
        let outcome = if patch.is_some() { Outcome::Patched } else { Outcome::Unchanged };
        let mut response = Response::admit(request.uid);
        if !decisions.is_empty() {
            response = response.with_audit(DECISIONS, summary(&decisions));
        }
        if let Some(patch) = patch {
            response = response.with_patch(&patch);
        }
        self.metrics.review(outcome, start.elapsed());
        Ok(response)
    }

    fn decide(&self, request: &Request, now: Timestamp) -> (Vec<Decision>, Option<Patch>) {
        let Some(question) = Question::of(request) else { return (Vec::new(), None) };
        let Question { pod, images, annotate } = question;
        let namespace = request.namespace.as_deref().unwrap_or_default();
        let context = Context { snapshot: &self.snapshot, policy: &self.policy, now };
        let decisions = decide(&pod, namespace, images, &context);
        let patch = patch::build(&pod, &decisions, annotate);
        match patch {
            Some(patch) if !patch::fits(&patch, &request.object) => {
                tracing::error!(uid = request.uid, ?patch, "a patch doesn't fit its own pod and is left out");
                (decisions, None)
            }
            patch => (decisions, patch),
        }
    }
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
                let pod = read_pod(request, &request.object)?;
                let images = images(&pod);
                Some(Self { pod, images, annotate: Annotate::Yes })
            }
            // An update of the pod itself is left alone: a changed image restarts a container.
            ("UPDATE", "ephemeralcontainers") => {
                let pod = read_pod(request, &request.object)?;
                let old = read_pod(request, &request.old_object)?;
                let images = new_ephemeral(&pod, &old);
                Some(Self { pod, images, annotate: Annotate::No })
            }
            _ => None,
        }
    }
}

fn read_pod(request: &Request, object: &Value) -> Option<Pod> {
    match Pod::deserialize(object) {
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
        .map(|decision| (decision.image.place.to_string(), Value::from(decision.reason.as_str())));
    Value::Object(entries.collect::<Map<_, _>>()).to_string()
}

fn report(request: &Request, decisions: &[Decision]) {
    if decisions.is_empty() {
        return;
    }
    let name = match request.name.as_str() {
        "" => request.object.pointer("/metadata/generateName").and_then(Value::as_str).unwrap_or_default(),
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
