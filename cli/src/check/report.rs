//! Report of all checks, as text and as JSON.

use serde::Serialize;

use super::VERSION;
use super::outcome::{Check, Outcome, Section};
use crate::style::{BAD, GOOD, ODD, PLAIN, STRONG, paint};

/// Results of all checks.
#[derive(Serialize)]
pub(super) struct Report {
    /// Version of this program.
    zstart: &'static str,
    sections: Vec<Section>,
    passed: usize,
    warnings: usize,
    failed: usize,
    skipped: usize,
}

impl Report {
    pub(super) fn new(sections: Vec<Section>) -> Self {
        let number = |is: fn(&Outcome) -> bool| {
            sections.iter().flat_map(|section| &section.checks).filter(|check| is(&check.outcome)).count()
        };
        Self {
            zstart: VERSION,
            passed: number(|outcome| matches!(outcome, Outcome::Passed)),
            warnings: number(|outcome| matches!(outcome, Outcome::Warning { .. })),
            failed: number(|outcome| matches!(outcome, Outcome::Failed { .. })),
            skipped: number(|outcome| matches!(outcome, Outcome::Skipped)),
            sections,
        }
    }

    /// Number of failed checks, and of all checks.
    pub(super) fn failed(&self) -> (usize, usize) {
        (self.failed, self.passed + self.warnings + self.failed + self.skipped)
    }

    /// One line a check, and a second one for its action.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Section { title, checks } in &self.sections {
            lines.push(paint(STRONG, title));
            for Check { name: _, outcome, text } in checks {
                let (mark, todo) = match outcome {
                    Outcome::Passed => (paint(GOOD, "✓"), None),
                    Outcome::Warning { todo } => (paint(ODD, "!"), Some(todo)),
                    Outcome::Failed { todo } => (paint(BAD, "✗"), Some(todo)),
                    Outcome::Skipped => (paint(PLAIN, "-"), None),
                };
                lines.push(format!("  {mark} {text}"));
                lines.extend(todo.map(|todo| format!("      → {todo}")));
            }
            lines.push(String::new());
        }
        let Self { passed, warnings, failed, skipped, .. } = self;
        lines.push(format!("{passed} passed, {warnings} with a warning, {failed} failed, {skipped} skipped"));
        lines
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::name::CheckName;
    use super::*;
    use crate::style::plain;

    fn report() -> Report {
        let checks = vec![
            Check::passed(CheckName::ApiServer, "fine"),
            Check::warning(CheckName::GkePort, "odd", "mend b"),
            Check::failed(CheckName::CaBundle, "broken", "mend c"),
            Check::skipped(CheckName::EksFargateOrder, "unseen"),
        ];
        Report::new(vec![Section { title: "part", checks }])
    }

    #[test]
    fn text_has_a_mark_and_an_action() {
        let expected = [
            "part",
            "  ✓ fine",
            "  ! odd",
            "      → mend b",
            "  ✗ broken",
            "      → mend c",
            "  - unseen",
            "",
            "1 passed, 1 with a warning, 1 failed, 1 skipped",
        ];
        assert_eq!(plain(&report().lines()), expected);
        assert_eq!(report().failed(), (1, 4));
    }

    #[test]
    fn json_has_name_outcome_and_action() {
        let report = serde_json::to_value(report()).unwrap();
        let checks = &report["sections"][0]["checks"];
        assert_eq!(checks[0], json!({"name": "api-server", "outcome": "passed", "text": "fine"}));
        assert_eq!(
            checks[2],
            json!({"name": "ca-bundle", "outcome": "failed", "todo": "mend c", "text": "broken"})
        );
        assert_eq!(report["failed"], 1);
    }
}
