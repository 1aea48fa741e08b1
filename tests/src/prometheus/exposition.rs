//! Metrics as a program exports them, in the `OpenMetrics` text format.

use std::collections::{BTreeMap, BTreeSet};

/// Values of each label.
pub type Labels = BTreeMap<String, BTreeSet<String>>;

/// A metric as documents have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric<'a> {
    /// Name: that of the samples, without the suffixes of a histogram's.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'a str,
    /// Help text, without the full stop at its end.
    pub help: &'a str,
    /// Labels, except the bounds of a histogram's buckets.
    pub labels: Labels,
}

/// Lines in front of a metric's samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Family {
    kind: String,
    help: String,
}

/// Metrics of one or more programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposition {
    /// By the name in the `# HELP` and `# TYPE` lines.
    families: BTreeMap<String, Family>,
    /// Labels of the samples, by their name with its suffix.
    samples: BTreeMap<String, Labels>,
}

impl Exposition {
    /// Reads a program's answer.
    pub fn parse(text: &str) -> Self {
        let mut exposition = Self::default();
        for line in text.lines() {
            let head = |keyword: &str| line.strip_prefix(keyword)?.split_once(' ');
            if let Some((family, kind)) = head("# TYPE ") {
                kind.clone_into(&mut exposition.families.entry(family.to_owned()).or_default().kind);
            } else if let Some((family, help)) = head("# HELP ") {
                help.clone_into(&mut exposition.families.entry(family.to_owned()).or_default().help);
            } else if !line.starts_with('#') {
                exposition.add_sample(line);
            }
        }
        exposition
    }

    fn add_sample(&mut self, line: &str) {
        let Some((series, _)) = line.rsplit_once(' ') else { return };
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let sample = self.samples.entry(name.to_owned()).or_default();
        // No value contains a quote, because values are words of closed lists.
        for label in labels.trim_end_matches('}').split_terminator("\",").filter(|label| !label.is_empty()) {
            if let Some((label, value)) = label.split_once("=\"") {
                sample.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
            }
        }
    }

    /// Adds another program's metrics.
    pub fn merge(&mut self, other: Self) {
        self.families.extend(other.families);
        self.samples.extend(other.samples);
    }

    /// Labels of a sample, and the values that they have.
    pub fn labels(&self, sample: &str) -> Option<&Labels> {
        self.samples.get(sample)
    }

    /// Names of the samples.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.samples.keys().map(String::as_str)
    }

    /// Metrics by name.
    pub fn metrics(&self) -> impl Iterator<Item = Metric<'_>> {
        self.families.iter().map(|(family, Family { kind, help })| {
            let (name, sample) = match kind.as_str() {
                "counter" => (format!("{family}_total"), format!("{family}_total")),
                "histogram" => (family.clone(), format!("{family}_bucket")),
                _ => (family.clone(), family.clone()),
            };
            let mut labels = self.samples.get(&sample).cloned().unwrap_or_default();
            labels.remove("le");
            Metric { name, kind, help: help.trim_end_matches('.'), labels }
        })
    }

    /// Families without a sample.
    pub fn empty_families(&self) -> Vec<&str> {
        let has_sample = |family: &str| self.samples.keys().any(|sample| sample.starts_with(family));
        self.families.keys().map(String::as_str).filter(|family| !has_sample(family)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_families_are_read() {
        let text = "# HELP a Help.\n# TYPE a counter\na_total{x=\"1\",y=\"b c\"} 3\na_total{x=\"2\",y=\"\"} 4\n\
                    # TYPE b gauge\n# UNIT b seconds\n# TYPE c histogram\nc_sum 1.5\nc_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let exposition = Exposition::parse(text);
        let values = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
        let labels = exposition.labels("a_total").unwrap();
        assert_eq!((&labels["x"], &labels["y"]), (&values(&["1", "2"]), &values(&["", "b c"])));
        assert_eq!(exposition.labels("c_sum"), Some(&Labels::new()));
        assert_eq!(exposition.empty_families(), ["b"]);
        let metrics: Vec<Metric<'_>> = exposition.metrics().collect();
        let [a, b, c] = &metrics[..] else { panic!("{metrics:?}") };
        assert_eq!((a.name.as_str(), a.kind, a.help, a.labels.len()), ("a_total", "counter", "Help", 2));
        assert_eq!((b.name.as_str(), b.kind, b.help), ("b", "gauge", ""));
        assert_eq!((c.name.as_str(), c.kind, &c.labels), ("c", "histogram", &Labels::new()));
    }
}
