//! Report as JSON.

use jiff::Timestamp;
use serde::Serialize;

use super::figures::{Image, Measured, Savings};

/// Savings. Times are in milliseconds or seconds, sizes in bytes, as the names say.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonReport<'a> {
    time: Timestamp,
    images: Vec<JsonImage<'a>>,
    total: JsonTotal,
    /// Records without a variant.
    without_variant: usize,
    /// Records of another version of zstart.
    unreadable: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonImage<'a> {
    source: &'a str,
    variant: &'a str,
    platforms: usize,
    source_bytes: u64,
    variant_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_pulls: Option<JsonPulls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant_pulls: Option<JsonPulls>,
    /// The source or the variant was pulled less than three times, so one slow node may decide.
    few_pulls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_saved: Option<f64>,
    wire_bytes_saved: i64,
    conversion_milliseconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonPulls {
    count: u64,
    median_milliseconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonTotal {
    source_bytes: u64,
    variant_bytes: u64,
    variant_pulls: u64,
    /// Pulls of variants to which the saved time belongs.
    compared_pulls: u64,
    compared_images: usize,
    few_pulls_images: usize,
    seconds_saved: f64,
    wire_bytes_saved: i64,
    /// Upper bound of the present variants' storage: they share the layers that their sources share.
    storage_added_bytes: u64,
    conversion_milliseconds: u64,
}

/// Returns the report.
pub(super) fn text(savings: &Savings) -> Result<String, serde_json::Error> {
    let total = &savings.total;
    let report = JsonReport {
        time: savings.time,
        images: savings.images.iter().map(image).collect(),
        total: JsonTotal {
            source_bytes: total.size.source,
            variant_bytes: total.size.variant,
            variant_pulls: total.variant_pulls,
            compared_pulls: total.compared_pulls,
            compared_images: total.compared,
            few_pulls_images: total.few_pulls,
            seconds_saved: total.seconds,
            wire_bytes_saved: total.wire_bytes,
            storage_added_bytes: total.size.variant,
            conversion_milliseconds: milliseconds(total.conversion),
        },
        without_variant: savings.without_variant,
        unreadable: savings.unreadable,
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn image(image: &Image) -> JsonImage<'_> {
    let pulls = |measured: Option<Measured>| {
        measured
            .map(|found| JsonPulls { count: found.count, median_milliseconds: milliseconds(found.median) })
    };
    JsonImage {
        source: &image.source,
        variant: &image.variant,
        platforms: image.platforms,
        source_bytes: image.size.source,
        variant_bytes: image.size.variant,
        source_pulls: pulls(image.pulls.source),
        variant_pulls: pulls(image.pulls.variant),
        few_pulls: image.has_few_pulls(),
        seconds_saved: image.seconds_saved(),
        wire_bytes_saved: image.wire_bytes_saved(),
        conversion_milliseconds: milliseconds(image.conversion),
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::savings;
    use super::*;

    #[test]
    fn json_has_images_and_their_sum() {
        let json: serde_json::Value = serde_json::from_str(&text(&savings()).unwrap()).unwrap();
        assert_eq!(json["images"][0]["variantPulls"]["medianMilliseconds"], 5_500);
        assert_eq!(json["images"][2].get("secondsSaved"), None);
        assert_eq!((&json["total"]["secondsSaved"], &json["withoutVariant"]), (&30.5.into(), &1.into()));
    }
}
