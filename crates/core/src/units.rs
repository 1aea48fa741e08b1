//! Text form of sizes, ratios and durations, shared by status columns and the terminal.

use std::time::Duration;

/// Formats `bytes` with a binary unit and three significant digits, e.g. `412 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are printed, a float holds fifteen")]
    let mut value = bytes as f64;
    let mut unit = 0;
    // 999.5 would be printed as 1000.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = match (unit, value) {
        (0, _) => 0,
        (_, value) if value < 9.995 => 2,
        (_, value) if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// Parses a whole number of bytes with an optional unit, as Kubernetes writes quantities: `1024`, `10Mi`, `2G`.
pub fn parse_quantity(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, bytes) = unit.unwrap_or((text, 1));
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(bytes)
}

/// Formats the size reduction from `source` to `variant`, e.g. `14.2%`; negative if the variant is larger.
pub fn saving(source: u64, variant: u64) -> String {
    if source == 0 {
        return "0.0%".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is printed, a float holds fifteen")]
    let ratio = 1.0 - variant as f64 / source as f64;
    let percent = format!("{:.1}%", ratio * 100.0);
    if percent == "-0.0%" { "0.0%".to_owned() } else { percent }
}

/// Formats a number of things, e.g. `1 node` and `2 nodes`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Formats a duration for people: `840ms`, `12.3s`, `3m05s`, `7h02m`, `3d04h`.
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..59_950 => format!("{:.1}s", duration.as_secs_f64()),
        _ => {
            let seconds = (millis + 500) / 1_000;
            let (minutes, hours) = ((seconds + 30) / 60, (seconds + 1_800) / 3_600);
            if seconds < 3_600 {
                format!("{}m{:02}s", seconds / 60, seconds % 60)
            } else if minutes < 24 * 60 {
                format!("{}h{:02}m", minutes / 60, minutes % 60)
            } else {
                format!("{}d{:02}h", hours / 24, hours % 24)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantity_is_parsed_with_its_unit() {
        for (text, bytes) in
            [("0", 0), ("1024", 1024), ("10Mi", 10 << 20), ("2G", 2_000_000_000), ("1k", 1_000)]
        {
            assert_eq!(parse_quantity(text), Some(bytes), "{text}");
        }
        for text in ["", "Mi", "-1", "+1", "1.5Gi", "10MB", "10 Mi", "99999999999Ti"] {
            assert_eq!(parse_quantity(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_three_digits_and_a_binary_unit() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "0.98 KiB"),
            (1_536, "1.50 KiB"),
            (432_013_312, "412 MiB"),
            (5 << 30, "5.00 GiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn saving_is_a_percentage_of_the_source() {
        assert_eq!(saving(1000, 858), "14.2%");
        assert_eq!(saving(100, 110), "-10.0%");
        assert_eq!(saving(100_000, 100_001), "0.0%");
        assert_eq!(saving(0, 10), "0.0%");
    }

    #[test]
    fn durations_print_their_two_largest_units() {
        let cases = [
            (12, "12ms"),
            (12_340, "12.3s"),
            (59_949, "59.9s"),
            (59_960, "1m00s"),
            (185_000, "3m05s"),
            (3_599_499, "59m59s"),
            (3_599_500, "1h00m"),
            (25_320_000, "7h02m"),
            (86_369_000, "23h59m"),
            (86_370_000, "1d00h"),
            (273_600_000, "3d04h"),
        ];
        for (millis, text) in cases {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }
}
