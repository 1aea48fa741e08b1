//! Table of the comparisons, and the differences as text.

use std::fmt::Write as _;

use super::Row;

/// One line per comparison.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    // Writing into a String can't fail.
    let _ = writeln!(
        text,
        "{:<16}{:<22}{:<10}{:>10}{:>10}{:>10}",
        "scanner", "image", "from", "in gzip", "in zstd", "differ"
    );
    for Row { scanner, image, location, source, variant, difference } in rows {
        let differ = difference.len();
        let _ = writeln!(text, "{scanner:<16}{image:<22}{location:<10}{source:>10}{variant:>10}{differ:>10}");
    }
    text
}

/// Packages that differ in a comparison, or `None`.
pub(super) fn difference(row: &Row) -> Option<String> {
    let Row { scanner, image, location, difference, .. } = row;
    let lines = difference.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    (!difference.is_empty()).then(|| format!("{scanner}, {image}, {location}:\n{lines}"))
}
