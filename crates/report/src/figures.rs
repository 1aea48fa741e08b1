//! Savings of each image and of all images. Pure.

use std::time::Duration;

use jiff::Timestamp;
use zstart_core::ImageConversion;
use zstart_core::record::{MIN_COMPARED_PULLS, PlatformVariant, PullFigures, Variant};

/// Savings of all images with a variant.
#[derive(Debug)]
pub struct Savings {
    /// Time of the report.
    pub time: Timestamp,
    /// Images with a variant, those that saved most time first.
    pub images: Vec<Image>,
    /// Sums over all images.
    pub total: Total,
    /// Records without a variant.
    pub without_variant: usize,
    /// Records that this program can't read.
    pub unreadable: usize,
}

/// Image with a variant.
#[derive(Debug)]
pub struct Image {
    /// Source reference.
    pub source: String,
    /// Reference for pods.
    pub variant: String,
    /// Compressed sizes of the converted platforms.
    pub size: Comparison<u64>,
    /// Number of converted platforms, of which a node pulls one.
    pub platforms: usize,
    /// Measured pulls of source and variant.
    pub pulls: Pulls,
    /// Duration of the conversion. Zero if another program made the variant.
    pub conversion: Duration,
}

/// Figure of the source and of its variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison<T> {
    /// Figure of the source.
    pub source: T,
    /// Figure of the variant.
    pub variant: T,
}

/// Pulls that kubelets measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulls {
    /// Pulls of the source, if one was measured.
    pub source: Option<Measured>,
    /// Pulls of the variant, if one was measured.
    pub variant: Option<Measured>,
}

/// Measured pulls of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Number of pulls, each the first one of a node.
    pub count: u64,
    /// Median of the last pulls.
    pub median: Duration,
}

/// Sums over all images.
#[derive(Debug, Default, PartialEq)]
pub struct Total {
    /// Compressed sizes of the converted platforms.
    pub size: Comparison<u64>,
    /// Measured pulls of variants.
    pub variant_pulls: u64,
    /// Those of compared images, to which the saved time belongs.
    pub compared_pulls: u64,
    /// Images whose pulls were measured for source and variant.
    pub compared: usize,
    /// Compared images with fewer than three pulls of source or variant.
    pub few_pulls: usize,
    /// Saved time of the compared images, in seconds.
    pub seconds: f64,
    /// Bytes that nodes didn't transfer.
    pub wire_bytes: i64,
    /// Duration of all conversions.
    pub conversion: Duration,
}

impl Savings {
    /// Sums up records. `unreadable` is the number of those that can't be parsed.
    pub fn of_records(
        records: impl Iterator<Item = ImageConversion>,
        unreadable: usize,
        time: Timestamp,
    ) -> Self {
        let (mut images, mut without_variant) = (Vec::new(), 0);
        for record in records {
            match Image::of(record) {
                Some(image) => images.push(image),
                None => without_variant += 1,
            }
        }
        Self { without_variant, unreadable, ..Self::new(images, time) }
    }

    /// Sums up images.
    pub fn new(mut images: Vec<Image>, time: Timestamp) -> Self {
        let seconds = |image: &Image| image.seconds_saved().unwrap_or_default();
        images.sort_by(|one, other| {
            seconds(other).total_cmp(&seconds(one)).then_with(|| one.source.cmp(&other.source))
        });
        let mut total = Total::default();
        for image in &images {
            total.add(image);
        }
        Self { time, images, total, without_variant: 0, unreadable: 0 }
    }

    /// The report as a table for people.
    pub fn table(&self) -> String {
        super::table::text(self)
    }

    /// The report as JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        super::json::text(self)
    }

    /// The report as CSV (RFC 4180): one line an image, in plain units.
    pub fn csv(&self) -> String {
        super::csv::text(self)
    }

    /// The report as one HTML file with plots, which loads nothing.
    pub fn html(&self) -> String {
        super::html::text(self)
    }
}

impl Image {
    /// Returns `None` if the record has no variant.
    fn of(record: ImageConversion) -> Option<Self> {
        let status = record.status?;
        let Variant { reference, platforms, source_digest, duration_milliseconds, .. } = status.variant?;
        // After the tag moved, the figures are about another digest than the variant's until the next pull.
        let pulls = status.pulls.filter(|pulls| pulls.source_digest == source_digest);
        let pulls = pulls.map_or_else(Pulls::default, |pulls| Pulls {
            source: pulls.original.as_ref().and_then(Measured::of),
            variant: pulls.variant.as_ref().and_then(Measured::of),
        });
        let sum = |bytes: fn(&PlatformVariant) -> i64| {
            platforms.iter().map(|platform| u64::try_from(bytes(platform)).unwrap_or_default()).sum()
        };
        Some(Self {
            source: record.spec.source.to_string(),
            variant: reference.to_string(),
            size: Comparison {
                source: sum(|platform| platform.source_bytes),
                variant: sum(|platform| platform.variant_bytes),
            },
            platforms: platforms.len(),
            pulls,
            conversion: Duration::from_millis(u64::try_from(duration_milliseconds).unwrap_or_default()),
        })
    }

    /// Medians of source and variant, if both were measured.
    pub fn medians(&self) -> Option<Comparison<Duration>> {
        let Pulls { source: Some(source), variant: Some(variant) } = self.pulls else { return None };
        Some(Comparison { source: source.median, variant: variant.median })
    }

    /// Returns whether source and variant were compared by so few pulls that one slow node may decide.
    pub fn has_few_pulls(&self) -> bool {
        let is_few = |measured: Measured| measured.count < MIN_COMPARED_PULLS.unsigned_abs();
        self.medians().is_some() && [self.pulls.source, self.pulls.variant].into_iter().flatten().any(is_few)
    }

    /// Seconds that pulls of the variant saved: their number, times the difference of the medians. Negative if the
    /// variant's pulls take longer. `None` without measured pulls of both.
    pub fn seconds_saved(&self) -> Option<f64> {
        let Comparison { source, variant } = self.medians()?;
        let count = u32::try_from(self.pulls.variant?.count).unwrap_or(u32::MAX);
        Some((source.as_secs_f64() - variant.as_secs_f64()) * f64::from(count))
    }

    /// Bytes that measured pulls of the variant didn't transfer, if each transferred all layers. With several
    /// platforms, the mean of them.
    pub fn wire_bytes_saved(&self) -> i64 {
        let count = i128::from(self.pulls.variant.map_or(0, |variant| variant.count));
        let difference = i128::from(self.size.source) - i128::from(self.size.variant);
        let platforms = i128::try_from(self.platforms.max(1)).unwrap_or(1);
        i64::try_from(difference * count / platforms).unwrap_or(i64::MAX)
    }
}

impl Measured {
    fn of(figures: &PullFigures) -> Option<Self> {
        let count = u64::try_from(figures.pulls).ok().filter(|count| *count > 0)?;
        Some(Self { count, median: Duration::from_millis(figures.median_milliseconds.unsigned_abs()) })
    }
}

impl Total {
    fn add(&mut self, image: &Image) {
        self.size.source += image.size.source;
        self.size.variant += image.size.variant;
        let pulls = image.pulls.variant.map_or(0, |variant| variant.count);
        self.variant_pulls += pulls;
        self.compared_pulls += if image.medians().is_some() { pulls } else { 0 };
        self.compared += usize::from(image.medians().is_some());
        self.few_pulls += usize::from(image.has_few_pulls());
        self.seconds += image.seconds_saved().unwrap_or_default();
        self.wire_bytes = self.wire_bytes.saturating_add(image.wire_bytes_saved());
        self.conversion += image.conversion;
    }
}

/// Reduction from source to variant, in percent. Negative if the variant is larger.
#[expect(clippy::cast_precision_loss, reason = "a percentage needs no such precision")]
pub(crate) fn percent(size: Comparison<u64>) -> f64 {
    if size.source == 0 { 0.0 } else { 100.0 * (1.0 - size.variant as f64 / size.source as f64) }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};
    use zstart_core::Digest;

    use super::*;

    /// A record whose source has 100 MB, and whose variant has 80, for each of the platforms.
    fn record(tag: &str, platforms: &[&str], pulls: &Value) -> ImageConversion {
        let digest = Digest::sha256_of(b"app");
        let platform = |platform: &&str| {
            json!({"platform": platform, "sourceBytes": 100_000_000, "variantBytes": 80_000_000, "layers": 1,
                "convertedLayers": 1})
        };
        let platforms: Vec<Value> = platforms.iter().map(platform).collect();
        serde_json::from_value(json!({
            "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion", "metadata": {"name": tag},
            "spec": {"source": format!("r.example/app:{tag}")},
            "status": {
                "variant": {"sourceDigest": digest, "settings": "", "platforms": platforms,
                    "reference": format!("r.example/app:{tag}-zstd-1@{digest}"),
                    "verifiedAt": "2026-11-28T12:00:00Z", "durationMilliseconds": 4_000},
                "pulls": pulls,
            },
        }))
        .unwrap()
    }

    fn pulls(source: (i64, i64), variant: (i64, i64)) -> Value {
        let figures = |(pulls, median): (i64, i64)| json!({"pulls": pulls, "medianMilliseconds": median});
        json!({"sourceDigest": Digest::sha256_of(b"app"), "original": figures(source),
            "variant": figures(variant), "summary": {"original": "", "variant": "", "saved": ""}})
    }

    /// Three images: one with many pulls, one with few, one without.
    pub(crate) fn savings() -> Savings {
        let mut without = record("v4", &["linux/amd64"], &Value::Null);
        without.status = None;
        let mut only_variant = pulls((1, 0), (1_000, 5_000));
        only_variant["original"] = Value::Null;
        let records = [
            record("v1", &["linux/amd64"], &only_variant),
            record("v2", &["linux/amd64", "linux/arm64"], &pulls((1, 10_000), (2, 6_000))),
            record("v3", &["linux/amd64"], &pulls((3, 10_000), (5, 5_500))),
            without,
        ];
        Savings::of_records(records.into_iter(), 0, "2026-11-28T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn savings_are_pulls_times_the_difference() {
        let Savings { images, total, without_variant, .. } = savings();
        let found: Vec<_> = images
            .iter()
            .map(|image| {
                (
                    image.source.as_str(),
                    image.seconds_saved(),
                    image.wire_bytes_saved(),
                    image.has_few_pulls(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("r.example/app:v3", Some(22.5), 100_000_000, false),
                ("r.example/app:v2", Some(8.0), 40_000_000, true),
                ("r.example/app:v1", None, 20_000_000_000, false),
            ]
        );
        let expected = Total {
            size: Comparison { source: 400_000_000, variant: 320_000_000 },
            variant_pulls: 7 + 1_000,
            compared_pulls: 7,
            compared: 2,
            few_pulls: 1,
            seconds: 30.5,
            wire_bytes: 20_140_000_000,
            conversion: Duration::from_secs(12),
        };
        assert_eq!((total, without_variant), (expected, 1));
    }

    #[test]
    fn pulls_of_another_digest_dont_count() {
        let mut other = pulls((3, 10_000), (5, 5_500));
        other["sourceDigest"] = json!(Digest::sha256_of(b"new"));
        let image = Image::of(record("v1", &["linux/amd64"], &other)).unwrap();
        assert_eq!(image.pulls, Pulls::default());
    }

    #[test]
    fn larger_variant_saves_less_than_nothing() {
        assert!((percent(Comparison { source: 100, variant: 110 }) + 10.0).abs() < 1e-9);
        let slower = Image::of(record("v1", &["linux/amd64"], &pulls((3, 1_000), (4, 1_500)))).unwrap();
        assert_eq!(slower.seconds_saved(), Some(-2.0));
    }
}
