//! Histograms in the Prometheus text format.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// Observations by bucket: upper bound in nanoseconds (`u64::MAX` for the last one) and number of
/// observations up to that bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LatencyHistogram(BTreeMap<u64, u64>);

impl LatencyHistogram {
    /// Reads the histogram `name` of a scrape. Series with different labels are added up. A histogram without
    /// observations may be missing.
    pub(super) fn parse(text: &str, name: &str) -> Result<Self> {
        let prefix = format!("{name}_bucket{{");
        let mut buckets = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix(&prefix)) {
            let (labels, count) =
                line.rsplit_once("} ").with_context(|| format!("{name}: a bucket without a count"))?;
            let bound = labels.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
            let bound = bound.with_context(|| format!("{name}: a bucket without a bound"))?;
            *buckets.entry(nanoseconds(bound)?).or_default() += count.trim().parse::<u64>()?;
        }
        Ok(Self(buckets))
    }

    /// Observations since an earlier scrape.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let difference = self.0.iter().map(|(bound, count)| {
            let before = earlier.0.get(bound).copied().unwrap_or_default();
            (*bound, count.saturating_sub(before))
        });
        Self(difference.collect())
    }

    /// Number of observations.
    pub(super) fn count(&self) -> u64 {
        self.0.last_key_value().map(|(_, count)| *count).unwrap_or_default()
    }

    /// Upper bound of the bucket that holds the 99th percentile; `None` beyond the largest bound.
    pub(super) fn p99_bound(&self) -> Option<Duration> {
        let rank = (self.count() * 99).div_ceil(100);
        let (bound, _) = self.0.iter().find(|(_, count)| **count >= rank)?;
        (*bound < u64::MAX).then(|| Duration::from_nanos(*bound))
    }

    /// Share of observations, in hundredths of a percent, in the buckets up to `limit`.
    pub(super) fn share_within(&self, limit: Duration) -> Result<u64> {
        let limit = u64::try_from(limit.as_nanos())?;
        let within = self.0.get(&limit).context("the histogram has no bucket with this bound")?;
        ensure!(self.count() > 0, "the histogram has no observations");
        Ok(within * 10_000 / self.count())
    }
}

/// Parses a bound in seconds.
fn nanoseconds(bound: &str) -> Result<u64> {
    if bound == "+Inf" {
        return Ok(u64::MAX);
    }
    let seconds: f64 = bound.parse().with_context(|| format!("{bound:?} is no number"))?;
    Ok(u64::try_from(Duration::try_from_secs_f64(seconds)?.as_nanos())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn scrape(counts: [u64; 4]) -> String {
        let [a, b, c, d] = counts;
        format!(
            "# TYPE review_seconds histogram\nreview_seconds_sum 1\nreview_seconds_bucket{{le=\"0.0001\"}} {a}\n\
             review_seconds_bucket{{le=\"0.001\"}} {b}\nreview_seconds_bucket{{le=\"0.005\"}} {c}\n\
             review_seconds_bucket{{le=\"+Inf\"}} {d}\nother_bucket{{le=\"0.001\"}} 7\n"
        )
    }

    fn histogram(counts: [u64; 4]) -> LatencyHistogram {
        LatencyHistogram::parse(&scrape(counts), "review_seconds").unwrap()
    }

    #[test]
    fn difference_of_two_scrapes_gives_percentile_and_share() {
        let between = histogram([60, 1_098, 1_100, 1_100]).since(&histogram([50, 100, 100, 100]));
        assert_eq!(between.count(), 1_000);
        assert_eq!(between.p99_bound(), Some(MILLISECOND));
        assert_eq!(between.share_within(MILLISECOND).unwrap(), 9_980);
        assert!(between.share_within(Duration::from_millis(2)).is_err(), "no bucket has this bound");
    }

    #[test]
    fn percentile_beyond_the_last_bound_is_unknown() {
        assert_eq!(histogram([0, 0, 90, 100]).p99_bound(), None);
        assert_eq!(histogram([0, 0, 100, 100]).p99_bound(), Some(Duration::from_millis(5)));
    }

    #[test]
    fn series_with_other_labels_are_added_up() {
        let text = "s_bucket{code=\"200\",le=\"0.001\"} 3\ns_bucket{code=\"500\",le=\"0.001\"} 1\n\
                    s_bucket{code=\"200\",le=\"+Inf\"} 5\ns_bucket{code=\"500\",le=\"+Inf\"} 1\n";
        let all = LatencyHistogram::parse(text, "s").unwrap();
        assert_eq!((all.count(), all.share_within(MILLISECOND).unwrap()), (6, 6_666));
    }
}
