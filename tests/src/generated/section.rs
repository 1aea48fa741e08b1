//! Generated section of a document: the lines between `<!-- NAME: begin (…) -->` and `<!-- NAME: end -->`.

use anyhow::{Context as _, Result};

/// Replaces the content of a section.
pub(crate) fn replace(document: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin "), format!("<!-- {name}: end -->"));
    let (before, rest) = document.split_once(&begin).with_context(|| format!("no line {begin}… -->"))?;
    let (source, rest) = rest.split_once('\n').with_context(|| format!("no line after {begin}… -->"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no line {end}"))?;
    Ok(format!("{before}{begin}{source}\n\n{content}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_is_replaced_and_its_comments_stay() {
        let document = "a\n<!-- x: begin (of y) -->\nold\n<!-- x: end -->\nb\n";
        let replaced = "a\n<!-- x: begin (of y) -->\n\nnew\n\n<!-- x: end -->\nb\n";
        assert_eq!(replace(document, "x", "new\n").unwrap(), replaced);
        assert_eq!(replace(replaced, "x", "new\n").unwrap(), replaced);
        assert_eq!(replace(document, "z", "").unwrap_err().to_string(), "no line <!-- z: begin … -->");
    }
}
