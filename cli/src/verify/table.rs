//! Table of `zstart verify`: one line for each layer, then other entries, then the differences.

use zstart_core::units;
use zstart_verify::{Compression, EntryOutcome, EntryReport, LayerReport, PlatformReport};

use super::report::VerifyReport;

/// Returns all lines.
pub(super) fn lines(report: &VerifyReport) -> Vec<String> {
    let VerifyReport { source, variant, report, .. } = report;
    let mut lines: Vec<String> = report.platforms.iter().flat_map(platform_lines).collect();
    lines.extend(report.entries.iter().map(entry_line));
    lines.extend(report.differences.iter().map(|difference| format!("differs: {difference}")));
    lines.push(match report.differences.len() {
        0 => {
            format!("equal: {variant}@{} unpacks to {source}@{}", report.variant_digest, report.source_digest)
        }
        1 => format!("not equal: {variant}@{} has 1 difference", report.variant_digest),
        count => format!("not equal: {variant}@{} has {count} differences", report.variant_digest),
    });
    lines
}

fn platform_lines(platform: &PlatformReport) -> Vec<String> {
    let count = platform.layers.len();
    if count == 0 {
        return vec![format!("{:<16} no layers", platform.platform)];
    }
    let layers = platform.layers.iter().enumerate();
    layers.map(|(index, layer)| layer_line(&platform.platform, index + 1, count, layer)).collect()
}

fn layer_line(platform: &str, number: usize, count: usize, layer: &LayerReport) -> String {
    let LayerReport { source, variant, diff_id: _, equal } = layer;
    let compression = |compression: Option<Compression>| {
        compression.map_or_else(|| "?".to_owned(), |compression| compression.to_string())
    };
    let change = if source.digest == variant.digest {
        format!("{}, unchanged", compression(variant.compression))
    } else {
        format!("{} → {}", compression(source.compression), compression(variant.compression))
    };
    let unpacked = source.plain_bytes.or(variant.plain_bytes).map_or_else(|| "?".to_owned(), units::size);
    let result = if *equal { "equal" } else { "differs" };
    format!(
        "{platform:<16} layer {:<7} {}  {change:<15} {unpacked:>9}  {result}",
        format!("{number}/{count}"),
        source.digest.short(),
    )
}

fn entry_line(entry: &EntryReport) -> String {
    let name = entry.platform.as_deref().unwrap_or("no platform");
    let fate = match entry.outcome {
        EntryOutcome::Unchanged => "unchanged",
        EntryOutcome::Dropped => "dropped: attests an image that is converted",
        EntryOutcome::NotSelected => "platform not selected",
        EntryOutcome::Missing => "missing in the variant",
    };
    format!("{name:<16} {}  {fate}", entry.digest.short())
}
