//! Explanation, as text and as JSON.

use serde::Serialize;
use zstart_admission::decision::Decision;
use zstart_admission::decision::trace::Step;

use super::Subject;

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
    /// Reason of the decision of now.
    reason: &'static str,
    /// Reference that a pod created now would run.
    runs: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocker: Option<String>,
    steps: Vec<StepReport>,
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
        remarks: Vec<String>,
    ) -> Self {
        let images = decisions.into_iter().map(|(decision, steps)| {
            let Decision { image, reason, blocker, replacement, original: _ } = decision;
            let field = image.field.to_string();
            let steps = std::iter::once(call.clone()).chain(if call.passed { steps } else { Vec::new() });
            let step = |Step { passed, text }| StepReport { passed, text };
            ImageReport {
                then: then(subject, &field),
                reason: if call.passed { reason.as_str() } else { "NotReviewed" },
                runs: replacement.filter(|_| call.passed).unwrap_or_else(|| image.reference.clone()),
                blocker,
                steps: steps.map(step).collect(),
                image: image.reference,
                field,
            }
        });
        Self { subject: subject.title.clone(), images: images.collect(), remarks }
    }

    /// The explanation, one line a step.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.subject.clone()];
        for image in &self.images {
            lines.push(String::new());
            lines.push(format!("{}  {}", image.field, image.image));
            lines.extend(image.then.iter().map(|then| format!("  then: {then}")));
            for StepReport { passed, text } in &image.steps {
                lines.push(format!("  {} {text}", if *passed { "✓" } else { "✗" }));
            }
            lines.push(format!("  now: {}, a new pod runs {}", image.reason, image.runs));
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
fn then(subject: &Subject, field: &str) -> Option<String> {
    let node = subject.node.as_ref()?;
    let original = subject.rewritten.iter().find(|(name, _)| name == field).map(|(_, original)| original);
    Some(match original {
        Some(original) => format!("rewritten from {original}, and runs on node {node}"),
        None => format!("not rewritten, and runs on node {node}"),
    })
}
