//! Text inside a string, and where its file writes it.

use std::ops::Range;

/// Text without the escapes of a string around it.
#[derive(Debug, Default)]
pub(crate) struct Unescaped {
    text: String,
    /// First byte, in the file, of the notation of each byte of the text.
    places: Vec<usize>,
    /// End of the notation.
    end: usize,
    is_escaped: bool,
    has_hidden: bool,
}

impl Unescaped {
    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Adds a text that the file writes without escapes, from byte `start`.
    pub(crate) fn push_plain(&mut self, text: &str, start: usize) {
        self.text.push_str(text);
        self.places.extend(start..start + text.len());
        self.end = start + text.len();
    }

    /// Returns whether the file writes the text, or a part of it, with escapes.
    pub(crate) fn is_escaped(&self) -> bool {
        self.is_escaped
    }

    /// Returns whether the text has a digit for something else.
    pub(crate) fn has_hidden(&self) -> bool {
        self.has_hidden
    }

    /// Adds a digit for an interpolation in these bytes. JSON may have a digit in a string and as a number.
    pub(crate) fn hide(&mut self, interpolation: Range<usize>) {
        self.has_hidden = true;
        self.push('1', interpolation);
    }

    /// Adds a character that the file writes in these bytes.
    fn push(&mut self, character: char, notation: Range<usize>) {
        self.text.push(character);
        self.places.extend(std::iter::repeat_n(notation.start, character.len_utf8()));
        self.end = notation.end;
    }

    /// Adds the content of a JSON string ([RFC 8259, section 7](https://www.rfc-editor.org/rfc/rfc8259#section-7)) or of a
    /// quoted template of Terraform, from byte `start`. Returns `None` if an escape is unknown.
    pub(crate) fn push_escaped(&mut self, content: &str, start: usize) -> Option<()> {
        self.is_escaped = true;
        let mut rest = content;
        while !rest.is_empty() {
            let at = start + content.len() - rest.len();
            let plain = rest.find('\\').unwrap_or(rest.len());
            self.push_plain(&rest[..plain], at);
            rest = &rest[plain..];
            if !rest.is_empty() {
                let (character, length) = escape(rest)?;
                self.push(character, at + plain..at + plain + length);
                rest = &rest[length..];
            }
        }
        Some(())
    }

    /// Bytes of the file that write these bytes of the text.
    pub(crate) fn place(&self, range: &Range<usize>) -> Range<usize> {
        let place = |at: usize| self.places.get(at).copied().unwrap_or(self.end);
        place(range.start)..place(range.end)
    }
}

/// Character of the escape at the start of `source`, and the escape's length.
fn escape(source: &str) -> Option<(char, usize)> {
    let character = match source.as_bytes().get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'U' => return Some((char::from_u32(hex(source, 2, 8)?)?, 10)),
        b'u' => {
            let unit = hex(source, 2, 4)?;
            if let Some(character) = char::from_u32(unit) {
                return Some((character, 6));
            }
            let second = source.get(6..8).filter(|next| *next == "\\u").and_then(|_| hex(source, 8, 4))?;
            let pair = [u16::try_from(unit).ok()?, u16::try_from(second).ok()?];
            return Some((char::decode_utf16(pair).next()?.ok()?, 12));
        }
        _ => return None,
    };
    Some((character, 2))
}

fn hex(source: &str, start: usize, digits: usize) -> Option<u32> {
    let digits = source.get(start..start + digits)?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::Unescaped;

    #[test]
    fn escapes_are_read_and_placed() {
        let content = r#"é\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\U0001F600x"#;
        let mut unescaped = Unescaped::default();
        unescaped.push_escaped(content, 100).expect("the escapes are known");
        assert_eq!(unescaped.text(), "é\"\\/\u{8}\u{c}\n\r\té😀😀x");
        assert_eq!(unescaped.place(&(0..2)), 100..102);
        assert_eq!(unescaped.place(&(2..3)), 102..104, "the quote");
        let last = unescaped.text().len() - 1;
        assert_eq!(unescaped.place(&(last..last + 1)), 100 + content.len() - 1..100 + content.len());
    }

    #[test]
    fn unknown_escapes_are_refused() {
        for content in
            [r"\x", r"\", r"\u12", r"\u12g4", r"\u+123", r"\ud83d", r"\ud83dx", r"\ud83dA", r"\ude00"]
        {
            assert_eq!(Unescaped::default().push_escaped(content, 0), None, "{content}");
        }
    }
}
