//! Tables of `make bench-layers`.

use std::fmt::Write as _;
use std::time::Duration;

use zstart_core::units;

use super::{DecodeTimes, Layer, Method, SourceRow};
use crate::images::real::RealImage;

/// Megabytes a second.
fn speed(bytes: u64, took: Duration) -> u128 {
    u128::from(bytes) / took.as_micros().max(1)
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Rows of one layer: each method's speed, processor time, memory and size, and the speed at which its result is
/// decoded.
pub(super) fn layer_table(layer: &Layer) -> String {
    let &Layer { kind, gzip, plain, ref gzip_decode, ref rows } = layer;
    let mut text = String::new();
    // Writing into a String can't fail.
    let _ = writeln!(text, "{}: {} MB\n", kind.name(), plain / 1_000_000);
    let _ = writeln!(
        text,
        "{:<10}{:>7}{:>9}{:>9}{:>11}{:>11}{:>9}{:>9}{:>9}",
        "", "MB/s", "cpu", "wall", "memory", "size", "of gzip", "own", "Go"
    );
    let decode =
        |DecodeTimes { own, go }: &DecodeTimes| format!("{:>9}{:>9}", speed(plain, *own), speed(plain, *go));
    let _ = writeln!(
        text,
        "{:<10}{:>7}{:>9}{:>9}{:>11}{:>11}{:>9}{}",
        "gzip",
        "",
        "",
        "",
        "",
        units::size(gzip),
        "",
        decode(gzip_decode)
    );
    for row in rows {
        let (cpu, wall) = (row.usage.cpu.as_secs_f64(), row.usage.wall.as_secs_f64());
        let _ = writeln!(
            text,
            "{:<10}{:>7}{cpu:>7.2} s{wall:>7.2} s{:>11}{:>11}{:>9.3}{}",
            row.method.name(),
            speed(plain, row.usage.cpu),
            units::size(row.usage.memory),
            units::size(row.frame),
            ratio(row.frame, gzip),
            decode(&row.decode)
        );
    }
    let find = |method| rows.iter().find(|row| row.method == method);
    if let (Some(transcode), Some(level_3)) = (find(Method::Transcode), find(Method::Level(3))) {
        let cpu = transcode.usage.cpu.as_secs_f64() / level_3.usage.cpu.as_secs_f64();
        let size = ratio(transcode.frame, level_3.frame);
        let _ = writeln!(text, "\ntranscode to level 3: cpu {cpu:.2}, size {size:.3}");
    }
    text
}

/// Rows of one tree: the hints that `auto` reads, and the transcoder's ratios to level 3.
pub(super) fn source_table(kind: RealImage, rows: &[SourceRow]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}: a part of it from each encoder; transcode to level 3\n", kind.name());
    let _ = writeln!(
        text,
        "{:<20}{:>9}{:>16}{:>11}{:>7}{:>8}",
        "encoder", "fastest", "stored at start", "gzip", "cpu", "size"
    );
    for SourceRow { encoder, gzip, hints, level_3, transcode } in rows {
        let fastest = if hints.is_fastest { "yes" } else { "no" };
        let cpu = transcode.0.cpu.as_secs_f64() / level_3.0.cpu.as_secs_f64();
        let (stored, gzip, size) =
            (units::size(hints.stored), units::size(*gzip), ratio(transcode.1, level_3.1));
        let _ = writeln!(text, "{encoder:<20}{fastest:>9}{stored:>16}{gzip:>11}{cpu:>7.2}{size:>8.3}");
    }
    text
}
