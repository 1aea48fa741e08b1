//! Report as a table for people.

use std::time::Duration;

use zstart_core::units::{self, count};

use super::figures::{Image, Measured, Savings, Total, percent};

/// Returns the table, the totals and the footnotes.
pub(super) fn text(savings: &Savings) -> String {
    let mut lines = Vec::new();
    if savings.images.is_empty() {
        lines.push(
            "no image has a variant yet; zstart status shows what the controller does, zstart check what prevents it"
                .to_owned(),
        );
    } else {
        lines.extend(table(&savings.images));
        lines.push(String::new());
        lines.extend(totals(savings));
    }
    lines.join("\n") + "\n"
}

fn table(images: &[Image]) -> Vec<String> {
    const HEADS: [&str; 9] =
        ["SOURCE", "GZIP", "ZSTD", "SAVED", "GZIP PULL", "ZSTD PULL", "SAVED", "TIME SAVED", "CONVERTED IN"];
    let mut rows = vec![HEADS.map(str::to_owned)];
    rows.extend(images.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(image: &Image) -> [String; 9] {
    let mark = if image.has_few_pulls() { "~" } else { "" };
    let saved = image.medians().map_or_else(
        || "-".to_owned(),
        |medians| {
            let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            units::saving(milliseconds(medians.source), milliseconds(medians.variant)) + mark
        },
    );
    [
        image.source.clone(),
        units::size(image.size.source),
        units::size(image.size.variant),
        units::saving(image.size.source, image.size.variant),
        median(image.pulls.source, "-"),
        median(image.pulls.variant, "-"),
        saved,
        image.seconds_saved().map_or_else(|| "-".to_owned(), |saved| seconds(saved) + mark),
        conversion(image.conversion),
    ]
}

/// The totals, as lines with a label each.
pub(super) fn totals(savings: &Savings) -> Vec<String> {
    let Savings { images, total, without_variant, unreadable, .. } = savings;
    let Total { size, variant_pulls, compared_pulls, compared, few_pulls, wire_bytes, .. } = total;
    let mut lines = vec![
        format!(
            "pull time saved    {}{} in {} of variants ({compared} of {} compared)",
            seconds(total.seconds),
            if *few_pulls > 0 { "~" } else { "" },
            pulls(*compared_pulls),
            count(images.len(), "image")
        ),
        format!(
            "transfer saved     {} in {} of variants, if each transferred all layers",
            signed_size(*wire_bytes),
            pulls(*variant_pulls)
        ),
        format!(
            "image size         {} as gzip, {} as zstd: {:.1}% smaller",
            units::size(size.source),
            units::size(size.variant),
            percent(*size)
        ),
        format!(
            "storage            {} of present variants at most: they share the layers that their sources share",
            units::size(size.variant)
        ),
        format!("conversions        {}", conversion(total.conversion)),
    ];
    if *without_variant > 0 {
        lines.push(format!(
            "without a variant  {}; zstart status says why",
            count(*without_variant, "record")
        ));
    }
    if *unreadable > 0 {
        lines.push(format!(
            "not counted        {} of another version of zstart",
            count(*unreadable, "record")
        ));
    }
    lines.push("Figures are of each tag's present digest; earlier variants aren't counted.".to_owned());
    if *few_pulls > 0 {
        lines.push(format!(
            "~ fewer than 3 pulls of source or variant: one slow node may decide ({})",
            count(*few_pulls, "image")
        ));
    }
    lines
}

/// Formats a median and the number of pulls, or `none` without pulls.
pub(super) fn median(measured: Option<Measured>, none: &str) -> String {
    measured.map_or_else(
        || none.to_owned(),
        |found| format!("{} ({})", units::duration(found.median), found.count),
    )
}

/// Formats a number of measured pulls.
pub(super) fn pulls(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "measured pull")
}

/// Formats seconds, which may be negative.
pub(super) fn seconds(seconds: f64) -> String {
    let text = units::duration(Duration::try_from_secs_f64(seconds.abs()).unwrap_or(Duration::MAX));
    if seconds < 0.0 { format!("-{text}") } else { text }
}

/// Formats bytes, which may be negative.
pub(super) fn signed_size(bytes: i64) -> String {
    let text = units::size(bytes.unsigned_abs());
    if bytes < 0 { format!("-{text}") } else { text }
}

/// Formats the duration of conversions; a variant of another program has none.
pub(super) fn conversion(took: Duration) -> String {
    if took.is_zero() { "-".to_owned() } else { units::duration(took) }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::savings;
    use super::*;

    #[test]
    fn table_marks_few_pulls_and_sums_up() {
        let text = text(&savings());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            &lines[..4],
            [
                "SOURCE            GZIP      ZSTD      SAVED  GZIP PULL  ZSTD PULL    SAVED   TIME SAVED  CONVERTED IN",
                "r.example/app:v3  95.4 MiB  76.3 MiB  20.0%  10.0s (3)  5.5s (5)     45.0%   22.5s       4.0s",
                "r.example/app:v2  191 MiB   153 MiB   20.0%  10.0s (1)  6.0s (2)     40.0%~  8.0s~       4.0s",
                "r.example/app:v1  95.4 MiB  76.3 MiB  20.0%  -          5.0s (1000)  -       -           4.0s",
            ]
        );
        for line in [
            "pull time saved    30.5s~ in 7 measured pulls of variants (2 of 3 images compared)",
            "transfer saved     18.8 GiB in 1007 measured pulls of variants, if each transferred all layers",
            "without a variant  1 record; zstart status says why",
            "~ fewer than 3 pulls of source or variant: one slow node may decide (1 image)",
        ] {
            assert!(lines.contains(&line), "{text}");
        }
    }

    #[test]
    fn negative_savings_keep_their_sign() {
        assert_eq!((seconds(-2.0), signed_size(-1024)), ("-2.0s".to_owned(), "-1.00 KiB".to_owned()));
    }
}
