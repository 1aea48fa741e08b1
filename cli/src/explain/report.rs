//! Explanation, as text and as JSON.

use serde::Serialize;
use zstart_admission::decision::trace::Step;
use zstart_admission::decision::{Decision, ImageList};
use zstart_core::{ImageConversion, Reference, variant};

use super::Subject;
use super::cause::Cause;
use crate::style::{BAD, GOOD, STRONG, paint};

/// Explanation of the decisions about a pod.
#[derive(Serialize)]
pub(super) struct Report {
    subject: String,
    images: Vec<ImageReport>,
    remarks: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageReport {
    /// List and name, e.g. `containers/app`.
    field: String,
    /// Image in the pod.
    image: String,
    /// Decision at the pod's creation, as its annotation tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<String>,
    /// The image belongs to an ephemeral container, which no new pod has.
    #[serde(skip)]
    is_ephemeral: bool,
    /// Reason of the decision of now.
    reason: &'static str,
    /// Reference that a pod created now would run.
    runs: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocker: Option<String>,
    steps: Vec<StepReport>,
    /// Cause that the image's record tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
}

#[derive(Serialize)]
struct StepReport {
    passed: bool,
    text: String,
}

impl Report {
    pub(super) fn new(
        subject: &Subject,
        call: &Step,
        decisions: Vec<(Decision, Vec<Step>)>,
        records: &[ImageConversion],
        remarks: Vec<String>,
    ) -> Self {
        let images = decisions.into_iter().map(|(decision, steps)| {
            let Decision { image, reason, blocker, replacement, original } = decision;
            let source = original.as_ref().unwrap_or(&image.reference);
            let cause = if call.passed { Cause::of(reason, source, records) } else { None };
            let field = image.field.to_string();
            let steps = std::iter::once(call.clone()).chain(if call.passed { steps } else { Vec::new() });
            let step = |Step { passed, text }| StepReport { passed, text };
            ImageReport {
                then: then(subject, &field, &image.reference),
                is_ephemeral: image.field.list == ImageList::EphemeralContainers,
                reason: if call.passed { reason.as_str() } else { "NotReviewed" },
                runs: replacement.filter(|_| call.passed).unwrap_or_else(|| image.reference.clone()),
                blocker,
                cause,
                steps: steps.map(step).collect(),
                image: image.reference,
                field,
            }
        });
        Self { subject: subject.title.clone(), images: images.collect(), remarks }
    }

    /// The explanation, one line a step.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![paint(STRONG, &self.subject)];
        for image in &self.images {
            lines.push(String::new());
            lines.push(format!("{}  {}", paint(STRONG, &image.field), image.image));
            lines.extend(image.then.iter().map(|then| format!("  then: {then}")));
            for StepReport { passed, text } in &image.steps {
                let mark = if *passed { paint(GOOD, "✓") } else { paint(BAD, "✗") };
                lines.push(format!("  {mark} {text}"));
            }
            lines.extend(image.cause.iter().map(Cause::line));
            let runner =
                if image.is_ephemeral { "a new ephemeral container of this image" } else { "a new pod" };
            let reason = paint(STRONG, image.reason);
            lines.push(format!("  now: {reason}, {runner} runs {}", image.runs));
        }
        if self.images.is_empty() {
            lines.push("the pod names no image".to_owned());
        }
        if !self.remarks.is_empty() {
            lines.push(String::new());
            lines.extend(self.remarks.iter().map(|remark| format!("note: {remark}")));
        }
        lines
    }
}

/// Describes the decision at the creation of a running pod. The annotation keeps the originals of rewritten
/// images; other reasons are in the API server's audit log only.
fn then(subject: &Subject, field: &str, image: &str) -> Option<String> {
    let node = subject.node.as_ref()?;
    let original = subject.rewritten.iter().find(|(name, _)| name == field).map(|(_, original)| original);
    let is_variant = || image.parse::<Reference>().is_ok_and(|image| variant::is_written_variant(&image));
    Some(match original {
        Some(original) => format!("rewritten from {original}, and runs on node {node}"),
        // The API server accepts no annotation together with an ephemeral container.
        None if is_variant() => format!(
            "a variant whose original isn't recorded, as that of an ephemeral container; it runs on node {node}"
        ),
        None => format!("not rewritten, and runs on node {node}"),
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn subject() -> Subject {
        let rewritten = vec![("containers/app".to_owned(), "r.example/app:v1".to_owned())];
        Subject {
            pod: Pod::default(),
            namespace: "on".to_owned(),
            title: "pod on/a".to_owned(),
            rewritten,
            node: Some("lab".to_owned()),
            future_replica_set: None,
            remark: None,
        }
    }

    #[test]
    fn variant_without_annotation_is_not_called_unwritten() {
        let digest = "a".repeat(64);
        let variant = format!("r.example/app:v1-zstd-1408394e4e70@sha256:{digest}");
        let then = |field, image: &str| then(&subject(), field, image).unwrap();
        assert_eq!(then("containers/app", &variant), "rewritten from r.example/app:v1, and runs on node lab");
        assert!(then("ephemeralContainers/debug", &variant).starts_with("a variant whose original isn't"));
        assert_eq!(then("containers/b", "r.example/b:v1"), "not rewritten, and runs on node lab");
    }
}
