//! Tables that `make bench` prints.

use std::fmt::Write as _;
use std::time::Duration;

use zstart_core::units;

use super::incremental::IncrementalTimes;
use super::large::LargeImage;
use super::node::NodeSpeeds;
use super::{Comparison, Row, median};

/// Rows of one image, then zstart's ratio to every other tool and to the lower bound.
pub(super) fn comparison_table(compared: &Comparison) -> String {
    let Comparison { name, source_bytes, floor, rows } = compared;
    let mut text = String::new();
    // Writing into a String can't fail.
    let _ = writeln!(text, "\n{name:<10}{:>10}{:>10}{:>12}{:>12}", "wall", "cpu", "memory", "size");
    let size = |bytes: i64| units::size(bytes.unsigned_abs());
    let _ = writeln!(text, "{:<10}{:>10}{:>10}{:>12}{:>12}", "gzip", "", "", "", size(*source_bytes));
    let (wall, cpu) = (units::duration(floor.wall), units::duration(floor.cpu));
    let _ = writeln!(text, "{:<10}{wall:>10}{cpu:>10}", "floor");
    let median_of =
        |row: &Row, part: fn(&super::Usage) -> Duration| median(row.runs.iter().map(part).collect());
    let wall = |row: &Row| median_of(row, |run| run.wall);
    let cpu = |row: &Row| median_of(row, |run| run.cpu);
    for row in rows {
        let memory = row.runs.iter().map(|run| run.memory).max().unwrap_or_default();
        let (name, bytes, memory) = (row.name, size(row.bytes), units::size(memory));
        let (wall, cpu) = (units::duration(wall(row)), units::duration(cpu(row)));
        let _ = writeln!(text, "{name:<10}{wall:>10}{cpu:>10}{memory:>12}{bytes:>12}");
    }
    let Some((own, others)) = rows.split_first() else { return text };
    let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    let _ = writeln!(text, "\n{} to", own.name);
    let floor = (ratio(wall(own), floor.wall), ratio(cpu(own), floor.cpu));
    let _ = writeln!(text, "{:<10}{:>10.2}{:>10.2}", "floor", floor.0, floor.1);
    for other in others {
        let (wall, cpu) = (ratio(wall(own), wall(other)), ratio(cpu(own), cpu(other)));
        let _ = writeln!(text, "{:<10}{wall:>10.2}{cpu:>10.2}", other.name);
    }
    text
}

/// Times for the image with a changed top layer.
pub(super) fn incremental_table(runs: &[IncrementalTimes]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:<24}{:>10}{:>12}{:>10}", "", "image", "changed top", "ratio");
    let times_of = |times: fn(&IncrementalTimes) -> [Duration; 2]| runs.iter().map(times).collect::<Vec<_>>();
    let rows = [
        ("other machine", times_of(|run| run.other_machine)),
        ("layer cache", times_of(|run| run.layer_cache)),
        ("one process", times_of(|run| run.one_process)),
    ];
    for (name, runs) in rows {
        let [first, second] = [0, 1].map(|number| median(runs.iter().map(|run| run[number]).collect()));
        let ratio = first.as_secs_f64() / second.as_secs_f64();
        let (first, second) = (units::duration(first), units::duration(second));
        let _ = writeln!(text, "{name:<24}{first:>10}{second:>12}{ratio:>10.1}");
    }
    text
}

/// Memory and disk writes for large images.
pub(super) fn memory_table(runs: &[LargeImage]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<10}{:>12}{:>12}{:>10}{:>12}{:>12}",
        "layers", "uncompressed", "gzip", "wall", "memory", "written"
    );
    for LargeImage { layers, uncompressed, compressed, usage } in runs {
        let (uncompressed, compressed, wall) =
            (units::size(*uncompressed), units::size(*compressed), units::duration(usage.wall));
        let (memory, written) = (units::size(usage.memory), units::size(usage.written));
        let _ = writeln!(
            text,
            "{layers:<10}{uncompressed:>12}{compressed:>12}{wall:>10}{memory:>12}{written:>12}"
        );
    }
    text
}

/// Speed of each decoder, and its time as a multiple of zlib-rs's or libzstd's.
pub(super) fn node_table(speeds: &NodeSpeeds) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:<20}{:>12}{:>12}", "decoder", "MB/s", "time");
    let NodeSpeeds { uncompressed, times } = speeds;
    for (decoder, took) in times {
        let speed = u128::from(*uncompressed) / took.as_micros().max(1);
        let own = times.get(&decoder.own()).map_or(1.0, |own| took.as_secs_f64() / own.as_secs_f64());
        let _ = writeln!(text, "{:<20}{speed:>12}{own:>12.2}", decoder.name());
    }
    text
}
