//! Report as CSV (RFC 4180): one line an image, in plain units.

use super::figures::{Image, Measured, Savings};

const HEADS: [&str; 13] = [
    "source",
    "variant",
    "platforms",
    "sourceBytes",
    "variantBytes",
    "sourcePulls",
    "sourceMedianMilliseconds",
    "variantPulls",
    "variantMedianMilliseconds",
    "fewPulls",
    "secondsSaved",
    "wireBytesSaved",
    "conversionMilliseconds",
];

/// Returns the lines, with a head.
pub(super) fn text(savings: &Savings) -> String {
    let mut text = line(HEADS.map(str::to_owned));
    for image in &savings.images {
        text += &line(cells(image));
    }
    text
}

fn cells(image: &Image) -> [String; 13] {
    let count = |measured: Option<Measured>| measured.map_or(0, |found| found.count).to_string();
    let median = |measured: Option<Measured>| {
        measured.map_or_else(String::new, |found| found.median.as_millis().to_string())
    };
    [
        image.source.clone(),
        image.variant.clone(),
        image.platforms.to_string(),
        image.size.source.to_string(),
        image.size.variant.to_string(),
        count(image.pulls.source),
        median(image.pulls.source),
        count(image.pulls.variant),
        median(image.pulls.variant),
        image.has_few_pulls().to_string(),
        image.seconds_saved().map_or_else(String::new, |seconds| format!("{seconds:.3}")),
        image.wire_bytes_saved().to_string(),
        image.conversion.as_millis().to_string(),
    ]
}

fn line(cells: [String; 13]) -> String {
    cells.map(|cell| quoted(&cell)).join(",") + "\r\n"
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::savings;
    use super::*;

    #[test]
    fn each_image_has_a_line_of_plain_numbers() {
        let text = text(&savings());
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[2].starts_with("r.example/app:v2,r.example/app:v2-zstd-1@sha256:"), "{text}");
        assert!(
            lines[2].ends_with(",2,200000000,160000000,1,10000,2,6000,true,8.000,40000000,4000"),
            "{text}"
        );
        assert!(lines[3].ends_with(",1,100000000,80000000,0,,1000,5000,false,,20000000000,4000"), "{text}");
    }

    #[test]
    fn special_characters_are_quoted() {
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("plain"), "plain");
    }
}
