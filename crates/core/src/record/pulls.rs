//! Measured pulls of a source and of its variant.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::units;

/// Fewest pulls of each image that are compared. The median of three leaves out the fastest and the slowest one, so
/// one node that had most layers already, or was busy, decides nothing. With two pulls, each of them would.
pub const MIN_COMPARED_PULLS: i64 = 3;
/// Comparison of fewer pulls, as `kubectl get` prints it.
const TOO_FEW: &str = "too few";

/// Pulls of a source and of its variant, measured by the kubelets of all namespaces.
///
/// The first pull by a node counts. A later one is left out, because the node has the layers already: those of the
/// source serve for the variant too.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeasuredPulls {
    /// Source digest that the figures are about. They begin again when the tag moves.
    pub source_digest: Digest,
    /// Pulls of the source. Absent: none was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<PullFigures>,
    /// Pulls of variants of the source. Absent: none was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<PullFigures>,
    /// The figures in readable form, as `kubectl get --output wide` prints them.
    pub summary: PullSummary,
}

/// Measured pulls of one image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullFigures {
    /// Number of measured pulls.
    pub pulls: i64,
    /// Median duration of the last pulls, in milliseconds, without the time that the kubelet waited for other pulls.
    pub median_milliseconds: i64,
    /// Size of the image that a kubelet reported last, in bytes: containerd counts compressed layers, CRI-O unpacked
    /// ones. Absent for kubelets before 1.30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_bytes: Option<i64>,
}

/// Measured pulls in readable form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullSummary {
    /// Median duration of the source's pulls, and their number, e.g. `12.3s (5)`.
    pub original: String,
    /// Median duration of the variant's pulls, and their number.
    pub variant: String,
    /// Reduction of the median from source to variant, in percent; `too few` if one of them has fewer than three
    /// pulls.
    pub saved: String,
}

impl MeasuredPulls {
    /// Figures of this source digest, and their summary.
    pub fn new(source_digest: Digest, original: Option<PullFigures>, variant: Option<PullFigures>) -> Self {
        let saved = match (&original, &variant) {
            (Some(original), Some(variant)) if original.suffices() && variant.suffices() => units::saving(
                original.median_milliseconds.unsigned_abs(),
                variant.median_milliseconds.unsigned_abs(),
            ),
            _ => TOO_FEW.to_owned(),
        };
        let text =
            |figures: &Option<PullFigures>| figures.as_ref().map(PullFigures::text).unwrap_or_default();
        let summary = PullSummary { original: text(&original), variant: text(&variant), saved };
        Self { source_digest, original, variant, summary }
    }
}

impl PullFigures {
    /// Returns whether the pulls are enough for a comparison.
    pub fn suffices(&self) -> bool {
        self.pulls >= MIN_COMPARED_PULLS
    }

    fn text(&self) -> String {
        let median = Duration::from_millis(self.median_milliseconds.unsigned_abs());
        format!("{} ({})", units::duration(median), self.pulls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pulls: i64, median_milliseconds: i64) -> PullFigures {
        PullFigures { pulls, median_milliseconds, image_bytes: None }
    }

    #[test]
    fn comparison_needs_three_pulls_of_each_image() {
        for (original, variant, texts) in [
            (Some(figures(3, 12_340)), Some(figures(3, 4_936)), ["12.3s (3)", "4.9s (3)", "60.0%"]),
            (Some(figures(3, 1_000)), Some(figures(40, 1_100)), ["1.0s (3)", "1.1s (40)", "-10.0%"]),
            (Some(figures(2, 12_340)), Some(figures(3, 4_936)), ["12.3s (2)", "4.9s (3)", TOO_FEW]),
            (Some(figures(3, 12_340)), Some(figures(2, 4_936)), ["12.3s (3)", "4.9s (2)", TOO_FEW]),
            (None, Some(figures(9, 840)), ["", "840ms (9)", TOO_FEW]),
            (Some(figures(9, 840)), None, ["840ms (9)", "", TOO_FEW]),
            (None, None, ["", "", TOO_FEW]),
        ] {
            let summary = MeasuredPulls::new(Digest::sha256_of(b""), original, variant).summary;
            assert_eq!([&*summary.original, &*summary.variant, &*summary.saved], texts);
        }
    }
}
