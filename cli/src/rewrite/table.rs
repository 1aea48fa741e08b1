//! Summary on stderr.

/// Longest image or expression that a row shows in full.
const MAX_IMAGE: usize = 100;

/// Row of an image.
pub(super) struct Row {
    pub(super) place: String,
    pub(super) holder: String,
    pub(super) image: String,
    pub(super) result: String,
}

/// Formats the rows below each other. The words come from the file and from registries, so control characters must
/// not reach the terminal.
pub(super) fn lines(rows: &[Row]) -> Vec<String> {
    let columns: [fn(&Row) -> &str; 3] =
        [|row| row.place.as_str(), |row| row.holder.as_str(), |row| row.image.as_str()];
    let width = |column: fn(&Row) -> &str| {
        rows.iter().map(|row| shorten(column(row)).chars().count()).max().unwrap_or_default()
    };
    let widths = columns.map(width);
    let line = |row: &Row| {
        let padded = |(column, width): (&fn(&Row) -> &str, usize)| format!("{:width$}", shorten(column(row)));
        let mut cells: Vec<String> = columns.iter().zip(widths).map(padded).collect();
        cells.push(row.result.replace(char::is_control, "\u{fffd}"));
        cells.join("  ")
    };
    rows.iter().map(line).collect()
}

/// Returns the start of the text's first line.
fn shorten(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let mut short: String = first.chars().take(MAX_IMAGE).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_control_characters_hidden() {
        let row = |place: &str, image: &str| Row {
            place: place.to_owned(),
            holder: "Pod/a".to_owned(),
            image: image.to_owned(),
            result: "kept\u{1b}[2J".to_owned(),
        };
        let shown = lines(&[row("a.yaml:7", "é/app"), row("long.yaml:12", "<<EOF\n[]")]);
        assert_eq!(shown[0], "a.yaml:7      Pod/a  é/app   kept\u{fffd}[2J");
        assert_eq!(shown[1], "long.yaml:12  Pod/a  <<EOF…  kept\u{fffd}[2J");
        assert!(lines(&[]).is_empty());
    }
}
