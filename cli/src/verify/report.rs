//! Result of `zstart verify`, as `--json` prints it.

use serde::Serialize;
use zstart_verify::{Difference, Report};

/// Names of both images, and the verifier's report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerifyReport {
    /// Equality of all that was compared: the variant unpacks to the source's bytes.
    equal: bool,
    pub(super) source: String,
    pub(super) variant: String,
    #[serde(flatten)]
    pub(super) report: Report,
}

impl VerifyReport {
    pub(super) fn new(source: String, variant: String, report: Report) -> Self {
        Self { equal: report.is_equal(), source, variant, report }
    }

    pub(super) fn first_difference(&self) -> Option<&Difference> {
        self.report.differences.first()
    }
}
