//! Metrics as a program exports them, in the `OpenMetrics` text format.

use std::collections::{BTreeMap, BTreeSet};

/// Values of each label.
pub type Labels = BTreeMap<String, BTreeSet<String>>;

/// Metrics of one or more programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposition {
    /// Names in `# TYPE` lines.
    families: BTreeSet<String>,
    /// Labels of the samples, by their name with its suffix.
    samples: BTreeMap<String, Labels>,
}

impl Exposition {
    /// Reads a program's answer.
    pub fn parse(text: &str) -> Self {
        let mut exposition = Self::default();
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                exposition.families.extend(family.split(' ').next().map(str::to_owned));
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

    /// Names of metrics as documents have them: without the suffixes of a histogram's samples.
    pub fn documented_names(&self) -> BTreeSet<String> {
        let name = |sample: &str| {
            let histogram = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|suffix| sample.strip_suffix(suffix).filter(|name| self.families.contains(*name)));
            histogram.unwrap_or(sample).to_owned()
        };
        self.names().map(name).collect()
    }

    /// Families without a sample.
    pub fn empty_families(&self) -> Vec<&str> {
        let has_sample = |family: &str| self.samples.keys().any(|sample| sample.starts_with(family));
        self.families.iter().map(String::as_str).filter(|family| !has_sample(family)).collect()
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
        assert_eq!(exposition.documented_names(), values(&["a_total", "c"]));
    }
}
