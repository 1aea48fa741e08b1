//! Fate of a load's pods, by phase.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use zstart_core::units;

use super::{Attempt, CreatedPod};
use crate::table::table;

/// Most losses in an error message.
const SHOWN: usize = 50;

/// Counts of pods by phase, and each pod that was lost.
pub struct Report {
    variant: String,
    /// In the order of the phases.
    phases: Vec<(String, Tally)>,
    losses: Vec<String>,
}

/// Counts of one phase.
#[derive(Clone, Copy, Default)]
struct Tally {
    created: usize,
    admitted: usize,
    rewritten: usize,
    slowest: Duration,
    /// Times of the first and of the last pod.
    span: Option<(Timestamp, Timestamp)>,
}

impl Tally {
    fn merge(&mut self, other: Self) {
        self.created += other.created;
        self.admitted += other.admitted;
        self.rewritten += other.rewritten;
        self.slowest = self.slowest.max(other.slowest);
        self.span = match (self.span, other.span) {
            (Some(one), Some(two)) => Some((one.0.min(two.0), one.1.max(two.1))),
            (one, two) => one.or(two),
        };
    }

    fn row(&self, phase: &str) -> Vec<String> {
        let lasted = self.span.map(|(first, last)| last.duration_since(first).unsigned_abs());
        vec![
            phase.to_owned(),
            units::duration(lasted.unwrap_or_default()),
            self.created.to_string(),
            self.admitted.to_string(),
            self.rewritten.to_string(),
            units::duration(self.slowest),
        ]
    }
}

impl Report {
    pub(super) fn new(variant: &str) -> Self {
        Self { variant: variant.to_owned(), phases: Vec::new(), losses: Vec::new() }
    }

    pub(super) fn add(&mut self, attempt: Attempt) {
        let Attempt { phase, sent, took, created } = attempt;
        let (is_admitted, loss) = match created {
            Ok(CreatedPod { image, .. }) if image == self.variant => (true, None),
            Ok(CreatedPod { name, image }) => {
                (true, Some(format!("{sent}, {phase}: pod {name} kept {image} after {took:?}")))
            }
            Err(error) => {
                (false, Some(format!("{sent}, {phase}: a pod was refused after {took:?}: {error:#}")))
            }
        };
        let is_rewritten = loss.is_none();
        self.losses.extend(loss);
        let pod = Tally {
            created: 1,
            admitted: usize::from(is_admitted),
            rewritten: usize::from(is_rewritten),
            slowest: took,
            span: Some((sent, sent)),
        };
        match self.phases.iter_mut().find(|(name, _)| *name == phase) {
            Some((_, tally)) => tally.merge(pod),
            None => self.phases.push((phase, pod)),
        }
    }

    /// One line per phase, and one for all.
    pub fn table(&self) -> String {
        let heading = ["phase", "time", "created", "admitted", "rewritten", "slowest admission"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(self.phases.iter().map(|(phase, tally)| tally.row(phase)));
        let mut total = Tally::default();
        for (_, tally) in &self.phases {
            total.merge(*tally);
        }
        rows.push(total.row("total"));
        table(&rows)
    }

    /// Fails if a pod was refused or kept its image. The error names the pods, with time and phase.
    pub fn require_all_rewritten(&self) -> Result<()> {
        let shown = self.losses.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n  ");
        ensure!(self.losses.is_empty(), "{} pods weren't rewritten:\n  {shown}", self.losses.len());
        ensure!(!self.phases.is_empty(), "no pod was created");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn attempt(phase: &str, second: i64, millis: u64, created: Result<&str>) -> Attempt {
        let created = created.map(|image| CreatedPod { name: format!("app-{second}"), image: image.into() });
        let sent = Timestamp::from_second(second).unwrap();
        Attempt { phase: phase.into(), sent, took: Duration::from_millis(millis), created }
    }

    #[test]
    fn pods_are_counted_in_the_phase_of_their_creation() {
        let mut report = Report::new("zstd");
        assert!(report.require_all_rewritten().is_err(), "no pod was created");
        report.add(attempt("drain", 10, 3, Ok("zstd")));
        report.add(attempt("rotation", 12, 9, Ok("zstd")));
        report.add(attempt("drain", 11, 5, Ok("zstd")));
        report.require_all_rewritten().unwrap();
        let table = report.table();
        let cells: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells[1], ["drain", "1.0s", "2", "2", "2", "5ms"]);
        assert_eq!(cells[2], ["rotation", "0ms", "1", "1", "1", "9ms"]);
        assert_eq!(cells[3], ["total", "2.0s", "3", "3", "3", "9ms"]);
    }

    #[test]
    fn lost_pod_is_named_with_time_and_phase() {
        let mut report = Report::new("zstd");
        report.add(attempt("drain", 10, 3, Ok("gzip")));
        report.add(attempt("drain", 11, 3, Err(anyhow!("quota"))));
        let error = report.require_all_rewritten().unwrap_err().to_string();
        assert!(error.contains("1970-01-01T00:00:10Z, drain: pod app-10 kept gzip"), "{error}");
        assert!(error.contains("1970-01-01T00:00:11Z, drain: a pod was refused after 3ms: quota"), "{error}");
        let table = report.table();
        let total: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(total, ["total", "1.0s", "2", "1", "0", "3ms"]);
    }
}
