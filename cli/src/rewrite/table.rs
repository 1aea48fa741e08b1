//! Summary on stderr.

/// Longest cell that a row shows in full, in characters.
const MAX_CELL: usize = 100;

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
    let cells = |row: &Row| [shorten_path(&row.place), shorten(&row.holder), shorten(&row.image)];
    let rows: Vec<_> = rows.iter().map(|row| (cells(row), shown(&row.result))).collect();
    let width = |column: usize| rows.iter().map(|(cells, _)| cells[column].chars().count()).max();
    let widths = [0, 1, 2].map(|column| width(column).unwrap_or_default());
    let line = |(cells, result): &([String; 3], String)| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  "));
        padded.chain([result.clone()]).collect()
    };
    rows.iter().map(line).collect()
}

/// Returns the start of the text's first line.
fn shorten(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let mut short: String = first.chars().take(MAX_CELL).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    shown(&short)
}

/// Returns the end of a path, which has the file's name and the line.
fn shorten_path(text: &str) -> String {
    let excess = text.chars().count().saturating_sub(MAX_CELL);
    if excess == 0 {
        return shown(text);
    }
    let end: String = text.chars().skip(excess).collect();
    shown(&format!("…{end}"))
}

fn shown(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
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

    #[test]
    fn long_path_keeps_its_file_and_line() {
        let place = format!("{}/app.yaml:7", "folder/".repeat(20));
        let short = shorten_path(&place);
        assert!(short.starts_with('…') && short.ends_with("folder//app.yaml:7"), "{short}");
        assert_eq!(short.chars().count(), MAX_CELL + 1);
        assert_eq!(shorten_path("a\tb.yaml:7"), "a\u{fffd}b.yaml:7");
    }
}
