//! Result of a run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::connection::Answer;

/// One review.
pub(super) struct Sample {
    /// Index of the review's group.
    pub(super) group: usize,
    /// Time from the moment at which the review was due until it was sent.
    pub(super) late: Duration,
    /// Time from the moment at which the review was due until its whole response was read.
    pub(super) took: Duration,
    pub(super) answer: Result<Answer, String>,
}

/// Latencies of a run. Failed reviews count too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Median.
    pub p50: Duration,
    /// 99 of 100 are at most this long.
    pub p99: Duration,
    /// 999 of 1,000 are at most this long.
    pub p999: Duration,
    /// Longest.
    pub max: Duration,
}

/// Latencies of one group of reviews.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupLatency {
    /// Name of the group.
    pub group: String,
    /// Latencies from the moments at which the reviews were due.
    pub latency: Percentiles,
}

/// Result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Reviews sent.
    pub sent: usize,
    /// Reviews without a response that admits the pod.
    pub failed: usize,
    /// First failure.
    pub failure: Option<String>,
    /// Responses with a patch.
    pub patched: usize,
    /// Duration of the measurement.
    pub elapsed: Duration,
    /// Processor time of the generator.
    pub cpu: Duration,
    /// Latencies of all reviews, from the moments at which they were due.
    pub latency: Percentiles,
    /// Latencies of each group.
    pub groups: Vec<GroupLatency>,
    /// Delays from the moments at which the reviews were due until they were sent, a part of the latencies.
    pub late: Percentiles,
}

impl Percentiles {
    fn of(durations: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = durations.collect();
        sorted.sort_unstable();
        let at = |permille: usize| {
            let rank = (sorted.len() * permille).div_ceil(1_000);
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self { p50: at(500), p99: at(990), p999: at(999), max: at(1_000) }
    }
}

impl LoadReport {
    pub(super) fn new(groups: &[String], samples: &[Sample], elapsed: Duration, cpu: Duration) -> Self {
        let latency = |group: usize| {
            Percentiles::of(samples.iter().filter(|sample| sample.group == group).map(|sample| sample.took))
        };
        let named = groups.iter().enumerate();
        Self {
            sent: samples.len(),
            failed: samples.iter().filter(|sample| sample.answer.is_err()).count(),
            failure: samples.iter().find_map(|sample| sample.answer.clone().err()),
            patched: samples.iter().filter(|sample| sample.answer == Ok(Answer::Patched)).count(),
            elapsed,
            cpu,
            latency: Percentiles::of(samples.iter().map(|sample| sample.took)),
            groups: named
                .map(|(index, name)| GroupLatency { group: name.clone(), latency: latency(index) })
                .collect(),
            late: Percentiles::of(samples.iter().map(|sample| sample.late)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn percentiles_are_measured_values() {
        let all = Percentiles::of((1..=1_000).rev().map(millis));
        assert_eq!(
            all,
            Percentiles { p50: millis(500), p99: millis(990), p999: millis(999), max: millis(1_000) }
        );
        let one = Percentiles::of([millis(7)].into_iter());
        assert_eq!(one, Percentiles { p50: millis(7), p99: millis(7), p999: millis(7), max: millis(7) });
        assert_eq!(Percentiles::of(std::iter::empty()), Percentiles::default());
    }

    #[test]
    fn report_counts_patches_failures_and_groups() {
        let sample = |group, took, answer| Sample { group, late: millis(1), took: millis(took), answer };
        let samples = [
            sample(0, 2, Ok(Answer::Patched)),
            sample(1, 4, Ok(Answer::Unchanged)),
            sample(1, 6, Err("closed".to_owned())),
        ];
        let groups = ["a".to_owned(), "b".to_owned()];
        let report = LoadReport::new(&groups, &samples, millis(9), millis(3));
        assert_eq!((report.sent, report.failed, report.patched), (3, 1, 1));
        assert_eq!(report.failure.as_deref(), Some("closed"));
        let longest: Vec<(&str, Duration)> =
            report.groups.iter().map(|group| (group.group.as_str(), group.latency.max)).collect();
        assert_eq!(longest, [("a", millis(2)), ("b", millis(6))]);
        assert_eq!((report.latency.max, report.late.max), (millis(6), millis(1)));
    }
}
