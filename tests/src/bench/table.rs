//! The table at the end.

use std::fmt::Write as _;
use std::time::Duration;

use zstart_core::units;

use super::incremental::Again;
use super::large::Large;
use super::{Compared, Row, median};

/// The rows of one image, and zstart's ratio to each of the others and to the floor.
pub(super) fn print(compared: &Compared) -> String {
    let Compared { name, source_bytes, floor, rows } = compared;
    let mut text = String::new();
    // Writing into a String can't fail.
    let _ = writeln!(text, "\n{name:<10}{:>10}{:>10}{:>12}{:>12}", "wall", "cpu", "memory", "size");
    let size = |bytes: i64| units::size(bytes.unsigned_abs());
    let _ = writeln!(text, "{:<10}{:>10}{:>10}{:>12}{:>12}", "gzip", "", "", "", size(*source_bytes));
    let (wall, processor) = (units::duration(floor.wall), units::duration(floor.processor));
    let _ = writeln!(text, "{:<10}{wall:>10}{processor:>10}", "floor");
    let of = |row: &Row, part: fn(&super::Measured) -> Duration| median(row.runs.iter().map(part).collect());
    let wall = |row: &Row| of(row, |run| run.wall);
    let processor = |row: &Row| of(row, |run| run.processor);
    for row in rows {
        let memory = row.runs.iter().map(|run| run.memory).max().unwrap_or_default();
        let (name, bytes, memory) = (row.name, size(row.bytes), units::size(memory));
        let (wall, processor) = (units::duration(wall(row)), units::duration(processor(row)));
        let _ = writeln!(text, "{name:<10}{wall:>10}{processor:>10}{memory:>12}{bytes:>12}");
    }
    let Some((own, others)) = rows.split_first() else { return text };
    let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    let _ = writeln!(text, "\n{} to", own.name);
    let floor = (ratio(wall(own), floor.wall), ratio(processor(own), floor.processor));
    let _ = writeln!(text, "{:<10}{:>10.2}{:>10.2}", "floor", floor.0, floor.1);
    for other in others {
        let (wall, processor) = (ratio(wall(own), wall(other)), ratio(processor(own), processor(other)));
        let _ = writeln!(text, "{:<10}{wall:>10.2}{processor:>10.2}", other.name);
    }
    text
}

/// The image whose top layer changed.
pub(super) fn print_again(runs: &[Again]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:<24}{:>10}{:>12}{:>10}", "", "image", "other top", "ratio");
    let of = |times: fn(&Again) -> [Duration; 2]| runs.iter().map(times).collect::<Vec<_>>();
    let rows = [
        ("another machine", of(|run| run.elsewhere)),
        ("started for each", of(|run| run.anew)),
        ("one process for both", of(|run| run.going_on)),
    ];
    for (name, runs) in rows {
        let [first, second] = [0, 1].map(|number| median(runs.iter().map(|run| run[number]).collect()));
        let ratio = first.as_secs_f64() / second.as_secs_f64();
        let (first, second) = (units::duration(first), units::duration(second));
        let _ = writeln!(text, "{name:<24}{first:>10}{second:>12}{ratio:>10.1}");
    }
    text
}

/// What large images take of memory and disk.
pub(super) fn print_large(runs: &[Large]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<10}{:>12}{:>12}{:>10}{:>12}{:>12}",
        "layers", "plain", "gzip", "wall", "memory", "to disk"
    );
    for Large { layers, plain, packed, measured } in runs {
        let (plain, packed, wall) =
            (units::size(*plain), units::size(*packed), units::duration(measured.wall));
        let (memory, written) = (units::size(measured.memory), units::size(measured.written));
        let _ = writeln!(text, "{layers:<10}{plain:>12}{packed:>12}{wall:>10}{memory:>12}{written:>12}");
    }
    text
}
