//! Colours of a result on a terminal.
//!
//! Text holds its styles as escape sequences, and `anstream` leaves them out when it writes to a file or a pipe, and if
//! `NO_COLOR` or `TERM=dumb` ask for that. `CLICOLOR_FORCE` keeps them.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// Style of success.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Style of a warning.
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();
/// Style of failure.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// Style of headings.
pub(crate) const STRONG: Style = Style::new().bold();
/// Text without a style.
pub(crate) const PLAIN: Style = Style::new();

/// Returns the text with a style.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Returns lines without their styles.
#[cfg(test)]
pub(crate) fn plain(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn painted_text_is_the_text_between_two_sequences() {
        assert_eq!(paint(BAD, "failed"), "\u{1b}[31mfailed\u{1b}[0m");
        assert_eq!(paint(PLAIN, "failed"), "failed");
        assert_eq!(plain(&[paint(GOOD, "ready")]), ["ready"]);
    }
}
