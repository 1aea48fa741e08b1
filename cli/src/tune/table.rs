//! What `zstart tune` found, for people.

use std::time::Duration;

use zstart_convert::plan::ManifestPlan;
use zstart_convert::tune::{Figure, LevelTuning, Prospect, Rank, Tuning};
use zstart_core::units;

use super::quantity::Bandwidth;
use crate::place::Place;

/// How many bandwidths stand side by side, within 100 columns.
const BESIDE: usize = 3;

/// All lines.
pub(super) fn lines(
    place: &Place,
    image: &ManifestPlan,
    links: &[Bandwidth],
    tuning: &Tuning,
) -> Vec<String> {
    let mut lines = vec![format!("{place}@{}", image.raw.digest)];
    lines.push(format!(
        "{:<16} {:>3} layers  {}, {} unpacked",
        image.platform.to_string(),
        image.manifest.layers.len(),
        units::size(tuning.now.bytes),
        units::size(tuning.plain_bytes),
    ));
    let indexes: Vec<usize> = (0..links.len()).collect();
    for beside in indexes.chunks(BESIDE) {
        lines.push(String::new());
        lines.extend(table(links, beside, tuning));
    }
    lines.push(String::new());
    if tuning.levels.is_empty() {
        lines.push(if image.manifest.layers.is_empty() {
            format!("{place}: there are no layers, every level makes the same of it")
        } else {
            format!("{place}: all layers are zstd already, there is nothing to do")
        });
        return lines;
    }
    lines.extend(links.iter().enumerate().filter_map(|(index, link)| verdict(*link, index, tuning)));
    lines.push(certainty(tuning));
    lines.push(
        "Not counted: writing to disk, which is the same at every level. Decoding is zlib-rs and libzstd"
            .to_owned(),
    );
    lines.push("here; a node's decoders may be slower.".to_owned());
    lines
}

/// The table for some of the links.
fn table(links: &[Bandwidth], beside: &[usize], tuning: &Tuning) -> Vec<String> {
    let heads: String =
        beside.iter().map(|index| format!("{:>16}", format!("at {}", links[*index]))).collect();
    let mut lines = vec![format!("{:<9}{:>9} {:<6}{:>12}{:>12}{heads}", "", "size", "", "encode", "decode")];
    let times: String =
        beside.iter().map(|index| format!("{:>9}{:7}", seconds(tuning.now.seconds[*index]), "")).collect();
    let now = &tuning.now;
    let row = format!(
        "{:<9}{:>9} {:<6}{:>12}{:>12}{times}",
        "as it is",
        units::size(now.bytes),
        "",
        "",
        speed(now.decode_speed)
    );
    lines.push(row.trim_end().to_owned());
    for level in &tuning.levels {
        let cells: String = beside.iter().filter_map(|index| level.prospects.get(*index)).map(cell).collect();
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

/// A time with its margin and mark.
fn cell(prospect: &Prospect) -> String {
    let Prospect { seconds: Figure { value, margin }, rank } = prospect;
    let mark = match rank {
        Rank::Best => "*",
        Rank::AsGood => "~",
        Rank::Behind => "",
    };
    let margin = margin.map_or_else(|| "±?".to_owned(), |margin| format!("±{:.0}%", 100.0 * margin / value));
    format!("{:>9} {:<6}", seconds(*value), format!("{margin}{mark}"))
}

/// The best level at one bandwidth.
fn verdict(link: Bandwidth, index: usize, tuning: &Tuning) -> Option<String> {
    let ranked = |rank| {
        tuning
            .levels
            .iter()
            .filter(move |level| level.prospects.get(index).is_some_and(|prospect| prospect.rank == rank))
    };
    let best = ranked(Rank::Best).next()?;
    let (found, now) = (best.prospects.get(index)?.seconds.value, *tuning.now.seconds.get(index)?);
    let change = if found < now {
        format!("{:.1}% sooner than", 100.0 * (1.0 - found / now))
    } else {
        format!("{:.1}% later than", 100.0 * (found / now - 1.0))
    };
    let same: Vec<String> = ranked(Rank::AsGood).map(|level| level.level.get().to_string()).collect();
    let same =
        if same.is_empty() { String::new() } else { format!("; no surely longer: {}", same.join(", ")) };
    Some(format!("at {link}: level {}, {}, {change} as it is{same}", best.level.get(), seconds(found)))
}

/// What was measured on how much.
fn certainty(tuning: &Tuning) -> String {
    let exact: Vec<&LevelTuning> =
        tuning.levels.iter().filter(|level| level.bytes.margin == Some(0.0)).collect();
    let names = |levels: &[&LevelTuning]| {
        let names: Vec<String> = levels.iter().map(|level| level.level.get().to_string()).collect();
        names.join(", ")
    };
    let estimated = tuning.levels.iter().filter(|level| level.bytes.margin != Some(0.0));
    let mut parts: Vec<String> = Vec::new();
    if !exact.is_empty() {
        parts.push(format!("exact at level {}", names(&exact)));
    }
    let estimated: Vec<&LevelTuning> = estimated.collect();
    for group in estimated.chunk_by(|one, other| one.pieces == other.pieces) {
        parts.push(format!("from {} pieces at {}", group[0].pieces, names(group)));
    }
    format!("Sizes: {}. ± holds 19 times of 20; * best, ~ not surely longer.", parts.join(", "))
}

fn size(bytes: Figure) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a size")]
    units::size(bytes.value.round() as u64)
}

fn speed(bytes_per_second: Option<f64>) -> String {
    bytes_per_second.map_or_else(String::new, |value| format!("{}/s", size(Figure { value, margin: None })))
}

fn seconds(seconds: f64) -> String {
    units::duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
