//! Table of `zstart tune`, for people.

use std::time::Duration;

use zstart_convert::plan::ManifestPlan;
use zstart_core::units;
use zstart_tune::{Estimate, LevelEstimate, Node, PullEstimate, Rank, TuneReport};

use super::quantity::Bandwidth;
use crate::image_ref::ImageRef;

/// Number of bandwidths in one table, within 100 columns of text.
const LINKS_PER_TABLE: usize = 3;

/// Footnotes of every table.
const FOOTNOTES: [&str; 3] = [
    "± is a 95 % confidence interval, ±? means that the sample is too small for one.",
    "* is the fastest level, ~ is not significantly slower.",
    "Not counted: writing to disk, which takes equally long at every level.",
];

/// Returns all lines.
pub(super) fn lines(
    image_ref: &ImageRef,
    image: &ManifestPlan,
    links: &[Bandwidth],
    node: Node,
    report: &TuneReport,
) -> Vec<String> {
    let mut lines = vec![format!("{image_ref}@{}", image.raw.digest)];
    lines.push(format!(
        "{:<16} {:>10}  {}, {} unpacked",
        image.platform.to_string(),
        units::count(image.manifest.layers.len(), "layer"),
        units::size(report.baseline.bytes),
        units::size(report.uncompressed_bytes),
    ));
    let indexes: Vec<usize> = (0..links.len()).collect();
    for columns in indexes.chunks(LINKS_PER_TABLE) {
        lines.push(String::new());
        lines.extend(table(links, columns, report));
    }
    lines.push(String::new());
    if report.levels.is_empty() {
        lines.push(if image.manifest.layers.is_empty() {
            format!("{image_ref}: no layers to convert")
        } else {
            format!("{image_ref}: all layers are already zstd, nothing to convert")
        });
        return lines;
    }
    lines.extend(links.iter().enumerate().filter_map(|(index, link)| best_level(*link, index, report)));
    lines.push(precision(report));
    lines.extend(FOOTNOTES.map(str::to_owned));
    lines.extend(decoders(node));
    lines
}

/// Names the node's decoders, and how their times follow from this machine's.
fn decoders(node: Node) -> [String; 2] {
    let gzip = match node {
        Node::Containerd => "containerd's in Go",
        Node::Pigz => "unpigz",
        Node::Igzip => "igzip",
    };
    [
        format!(
            "Decoders of the node: {gzip} for gzip ({:.1} × the time of zlib-rs on this machine),",
            node.gzip_factor()
        ),
        format!(
            "and Go's for zstd ({:.1} × libzstd's). Other nodes: --node containerd|pigz|igzip.",
            node.zstd_factor()
        ),
    ]
}

/// Returns the table for some of the links.
fn table(links: &[Bandwidth], columns: &[usize], report: &TuneReport) -> Vec<String> {
    let heads = columns.iter().map(|index| format!("{:>16}", format!("at {}", links[*index])));
    let heads = heads.collect::<Vec<_>>().concat();
    let mut lines = vec![format!("{:<9}{:>9} {:<6}{:>12}{:>12}{heads}", "", "size", "", "encode", "decode")];
    let baseline = &report.baseline;
    let times = columns.iter().filter_map(|index| baseline.seconds.get(*index));
    let times = times.map(|time| format!("{:>9}{:7}", seconds(*time), "")).collect::<Vec<_>>().concat();
    let (bytes, decode) = (units::size(baseline.bytes), speed(baseline.decode_speed));
    let row = format!("{:<9}{bytes:>9} {:<6}{:>12}{decode:>12}{times}", "source", "", "");
    lines.push(row.trim_end().to_owned());
    for level in &report.levels {
        let cells: String = columns.iter().filter_map(|index| level.pulls.get(*index)).map(cell).collect();
        let margin = match level.bytes.margin {
            Some(0.0) => String::new(),
            Some(margin) => format!("±{:.1}%", 100.0 * margin / level.bytes.value),
            None => "±?".to_owned(),
        };
        let row = format!(
            "{:<9}{:>9} {margin:<6}{:>12}{:>12}{cells}",
            format!("level {}", level.level.get()),
            size(level.bytes),
            speed(level.encode_speed),
            speed(level.decode_speed.map(|speed| speed.value)),
        );
        lines.push(row.trim_end().to_owned());
    }
    lines
}

/// Formats a time with its margin and mark.
fn cell(pull: &PullEstimate) -> String {
    let PullEstimate { seconds: Estimate { value, margin }, rank } = pull;
    let mark = match rank {
        Rank::Best => "*",
        Rank::AsGood => "~",
        Rank::Slower => "",
    };
    let margin = margin.map_or_else(|| "±?".to_owned(), |margin| format!("±{:.0}%", 100.0 * margin / value));
    format!("{:>9} {:<6}", seconds(*value), format!("{margin}{mark}"))
}

/// Names the best level at one bandwidth, and the levels that are equal within the confidence interval.
fn best_level(link: Bandwidth, index: usize, report: &TuneReport) -> Option<String> {
    let ranked = |rank| {
        report.levels.iter().filter(move |level| level.pulls.get(index).is_some_and(|pull| pull.rank == rank))
    };
    let best = ranked(Rank::Best).next()?;
    let (found, now) = (best.pulls.get(index)?.seconds.value, *report.baseline.seconds.get(index)?);
    let change = if found < now {
        format!("{:.1}% less time than", 100.0 * (1.0 - found / now))
    } else {
        format!("{:.1}% more time than", 100.0 * (found / now - 1.0))
    };
    let same: Vec<String> = ranked(Rank::AsGood).map(|level| level.level.get().to_string()).collect();
    let same =
        if same.is_empty() { String::new() } else { format!("; equal within ±: {}", same.join(", ")) };
    Some(format!("at {link}: level {}, {}, {change} the source{same}", best.level.get(), seconds(found)))
}

/// Says which sizes are exact, and how many pieces the others were estimated from.
fn precision(report: &TuneReport) -> String {
    let (exact, estimated): (Vec<&LevelEstimate>, Vec<&LevelEstimate>) =
        report.levels.iter().partition(|level| level.bytes.margin == Some(0.0));
    if estimated.is_empty() {
        return "Sizes are exact: the whole image was encoded.".to_owned();
    }
    let names = |levels: &[&LevelEstimate]| {
        let names: Vec<String> = levels.iter().map(|level| level.level.get().to_string()).collect();
        format!("{} {}", if levels.len() == 1 { "level" } else { "levels" }, names.join(", "))
    };
    let groups = estimated.chunk_by(|one, other| one.pieces == other.pieces);
    let groups =
        groups.map(|group| format!("estimated at {} from {} pieces of 4 MiB", names(group), group[0].pieces));
    let exact = (!exact.is_empty()).then(|| format!("exact at {}", names(&exact)));
    format!("Sizes are {}.", exact.into_iter().chain(groups).collect::<Vec<_>>().join("; "))
}

fn size(bytes: Estimate) -> String {
    units::size(bytes.rounded())
}

fn speed(bytes_per_second: Option<f64>) -> String {
    bytes_per_second.map_or_else(String::new, |value| format!("{}/s", size(Estimate { value, margin: None })))
}

fn seconds(seconds: f64) -> String {
    units::duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
