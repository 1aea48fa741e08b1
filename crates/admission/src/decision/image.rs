//! Decision about one image of a pod that isn't excluded.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use zstart_core::eligibility::record_view::Freshness;
use zstart_core::eligibility::{Blocked, Candidates, Reason, pod as pod_rules};
use zstart_core::{Reference, keys, variant};

use super::trace::Trace;
use super::{Context, Image, PullPolicy, candidates};
use crate::snapshot::Nodes;
use crate::snapshot::template::TemplateTime;

/// Reason for which an image keeps its source.
#[derive(Debug)]
pub(super) struct LeftAlone {
    pub(super) reason: Reason,
    /// Class and node that blocked the variant, in words.
    pub(super) blocker: Option<String>,
}

impl From<Reason> for LeftAlone {
    fn from(reason: Reason) -> Self {
        Self { reason, blocker: None }
    }
}

impl From<Blocked<'_>> for LeftAlone {
    fn from(blocked: Blocked<'_>) -> Self {
        let Blocked { reason, candidate } = blocked;
        Self { reason, blocker: candidate.map(|candidate| candidate.to_string()) }
    }
}

/// Decisions about the images of one pod, which share its candidate nodes.
pub(super) struct ImageDecider<'a> {
    pod: &'a Pod,
    namespace: &'a str,
    /// A policy of the namespace requires signatures.
    requires_signature: bool,
    context: &'a Context<'a>,
    nodes: &'a Nodes<'a>,
    kept: BTreeSet<&'a str>,
    /// Found for the first image that needs them, because this is the most expensive step.
    candidates: Option<Candidates<'a>>,
    template: Option<TemplateTime>,
}

impl<'a> ImageDecider<'a> {
    pub(super) fn new(
        pod: &'a Pod,
        namespace: &'a str,
        requires_signature: bool,
        context: &'a Context<'a>,
        nodes: &'a Nodes<'a>,
    ) -> Self {
        let kept = pod_rules::kept_images(&pod.metadata);
        Self { pod, namespace, requires_signature, context, nodes, kept, candidates: None, template: None }
    }

    /// Returns the variant of the image that the pod's author wrote as `written`.
    pub(super) fn decide<T: Trace>(
        &mut self,
        image: &Image,
        written: &str,
        trace: &mut T,
    ) -> Result<String, LeftAlone> {
        let source = self.source(image, written, trace)?;
        let policy = self.context.policy;
        let record = self.context.snapshot.record(&source);
        trace.step(record.is_some(), || match &record {
            Some(record) => format!("the record of {} exists", record.source()),
            None => format!("no record of {} exists", source.identity()),
        });
        let record = record.ok_or(Reason::NoRecord)?;
        let freshness = Freshness {
            template_time: self.template_time(),
            pulled_always: image.pull_policy == PullPolicy::Always,
        };
        let sweep = self.context.snapshot.sweep();
        let found = record.variant(&policy.variants, freshness, &sweep.confirmations, self.context.now);
        trace.step(found.is_ok(), || match &found {
            Ok(variant) => format!(
                "the record is ready and fresh: the registry confirmed the source at {}",
                variant.checked_at(&sweep.confirmations)
            ),
            Err(reason) => describe_refusal(*reason, freshness),
        });
        let found = found?;
        let (pod, nodes) = (self.pod, self.nodes);
        let candidates = self.candidates.get_or_insert_with(|| candidates(pod, nodes, policy));
        let checked = candidates.check(found, written, &policy.runtimes);
        trace.step(checked.is_ok(), || describe_candidates(candidates, checked.as_ref().err()));
        checked?;
        // Where a node has the original, the pod starts without the registry, unless the kubelet asks at each start.
        let registry = found.registry().unwrap_or(source.registry());
        if sweep.unreachable.contains(registry)
            && !freshness.pulled_always
            && nodes.report(candidates, &source)
        {
            trace.step(false, || format!("{registry} doesn't answer, and a candidate node has {written}"));
            return Err(Reason::RegistryUnreachable.into());
        }
        Ok(found.reference_for(written))
    }

    /// Parses the source, and applies the rules that need no record.
    fn source<T: Trace>(&self, image: &Image, written: &str, trace: &mut T) -> Result<Reference, LeftAlone> {
        let source: Reference = match written.parse() {
            Ok(source) => source,
            Err(error) => {
                trace.step(false, || format!("{written:?} is no image reference: {error}"));
                return Err(Reason::InvalidReference.into());
            }
        };
        if self.kept.contains(image.field.name.as_str()) {
            trace.step(false, || format!("the annotation {} names {}", keys::KEEP_IMAGES, image.field.name));
            return Err(Reason::ImageOptedOut.into());
        }
        if variant::is_written_variant(&source) {
            let reason = Reason::AlreadyVariant;
            trace.step(false, || {
                format!("{}; {}", reason.plain_meaning(), reason.action().unwrap_or_default())
            });
            return Err(reason.into());
        }
        if image.pull_policy == PullPolicy::Never {
            return Err(refused(Reason::NeverPulled, trace));
        }
        let (name, signed_images) = (source.name(), &self.context.policy.signed_images);
        let is_signed = self.requires_signature || signed_images.iter().any(|signed| signed.matches(&name));
        if is_signed {
            return Err(refused(Reason::SignatureRequired, trace));
        }
        Ok(source)
    }

    fn template_time(&mut self) -> Option<jiff::Timestamp> {
        let (pod, namespace, snapshot) = (self.pod, self.namespace, self.context.snapshot);
        self.template.get_or_insert_with(|| snapshot.template_time(pod, namespace)).latest()
    }
}

/// Records the meaning of a reason as the step that failed.
fn refused<T: Trace>(reason: Reason, trace: &mut T) -> LeftAlone {
    trace.step(false, || reason.plain_meaning());
    reason.into()
}

/// Describes a record that offers no variant.
fn describe_refusal(reason: Reason, freshness: Freshness) -> String {
    match (reason, freshness.template_time) {
        (Reason::NotFresh, time) if time == TemplateTime::Newest.latest() => format!(
            "the pod's ReplicaSet or revision isn't known yet, so it may be newer than the last look at the tag: {reason}"
        ),
        (Reason::NotFresh, Some(time)) => format!(
            "the pod's template was made or restarted at {time}, and the controller hasn't looked at the tag since: {reason}"
        ),
        (Reason::RecordStale, _) if freshness.pulled_always => format!(
            "the controller's last look at the tag is older than maxStalenessAlways, which counts for \
             imagePullPolicy Always: {reason}"
        ),
        (Reason::RecordStale, _) => {
            format!("the controller's last look at the tag is older than maxStaleness: {reason}")
        }
        _ => format!("the record offers no variant now: {reason}"),
    }
}

/// Describes the candidate nodes, and the one that blocks.
fn describe_candidates(candidates: &Candidates<'_>, blocked: Option<&Blocked<'_>>) -> String {
    let nodes: usize = candidates.nodes.iter().map(|candidate| candidate.nodes).sum();
    let classes = candidates.nodes.len();
    let future = if candidates.future.is_some() { ", and nodes that don't exist yet," } else { "" };
    let nodes = counted(nodes, "candidate node", "candidate nodes");
    let classes = counted(classes, "class", "classes");
    match blocked {
        None => format!("{nodes} of {classes}{future} can start the variant"),
        Some(Blocked { candidate: Some(candidate), reason }) => {
            format!("{candidate} can't start the variant: {reason}")
        }
        Some(Blocked { candidate: None, reason: Reason::NoCandidateNode }) => {
            Reason::NoCandidateNode.plain_meaning()
        }
        Some(Blocked { candidate: None, reason }) => {
            format!("{nodes} of {classes}{future}: {reason}")
        }
    }
}

/// Formats a number with its noun.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
