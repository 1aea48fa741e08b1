//! Parser of `WWW-Authenticate` that reads what real registries send.
//!
//! RFC 9110, 11.6.1, wants commas between parameters and quotes around everything but plain words. Registries
//! send `Basic realm=/` (regclient#265), addresses without quotes, and quotes that never end
//! (external-auth-server#162). A parser that stops there loses the scheme, and each challenge that follows.

/// One challenge: a scheme and its parameters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ParsedChallenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl ParsedChallenge {
    pub(super) fn has_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The first parameter of this name.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads all challenges of a header. Never fails: characters that fit nowhere are skipped.
pub(super) fn parse(text: &str) -> Vec<ParsedChallenge> {
    let mut challenges: Vec<ParsedChallenge> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if is_separator(first) {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, after_word) =
            split_while(rest, |found| !is_separator(found) && !matches!(found, '=' | '"'));
        let after_spaces = after_word.trim_start();
        match after_spaces.strip_prefix('=') {
            Some(after_equals) => {
                let (value, after_value) = value(after_equals.trim_start());
                if let Some(challenge) = challenges.last_mut() {
                    challenge.parameters.push((word.to_owned(), value));
                }
                rest = after_value;
            }
            None if word.is_empty() => rest = value(rest).1,
            None => {
                challenges.push(ParsedChallenge { scheme: word.to_owned(), parameters: Vec::new() });
                rest = after_word;
            }
        }
    }
    challenges
}

fn is_separator(found: char) -> bool {
    found == ',' || found.is_whitespace()
}

/// Splits where the first character doesn't match.
fn split_while(text: &str, matches: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|found| !matches(found)).unwrap_or(text.len()))
}

/// A value at the front of the text, quoted or plain, and the text after the value. Quotes that never end
/// end with the text.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (plain, rest) = split_while(text, |found| !is_separator(found));
        return (plain.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, found)) = characters.next() {
        match found {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            plain => value.push(plain),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(scheme: &str, parameters: &[(&str, &str)]) -> ParsedChallenge {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        ParsedChallenge { scheme: scheme.to_owned(), parameters: parameters.iter().map(owned).collect() }
    }

    #[test]
    fn challenges_of_the_specification_are_parsed() {
        // RFC 9110, 11.6.1.
        let header =
            r#"Basic realm="simple", Newauth realm="apps", type=1 , title="Login to \"apps\"", Last"#;
        assert_eq!(
            parse(header),
            [
                parsed("Basic", &[("realm", "simple")]),
                parsed("Newauth", &[("realm", "apps"), ("type", "1"), ("title", "Login to \"apps\"")]),
                parsed("Last", &[]),
            ]
        );
        assert_eq!(parse(""), []);
        assert_eq!(parse(", ,"), []);
    }

    #[test]
    fn challenges_outside_the_grammar_are_parsed() {
        for (header, expected) in [
            ("Basic realm=/", vec![parsed("Basic", &[("realm", "/")])]),
            ("Basic realm=", vec![parsed("Basic", &[("realm", "")])]),
            ("Basic  realm=\"é\"", vec![parsed("Basic", &[("realm", "é")])]),
            ("Basic realm=\"open, ended", vec![parsed("Basic", &[("realm", "open, ended")])]),
            (
                "Bearer realm=https://a.example/t,service=a.example",
                vec![parsed("Bearer", &[("realm", "https://a.example/t"), ("service", "a.example")])],
            ),
            (
                "Bearer realm=\"https://a.example/t\" service=\"x\"",
                vec![parsed("Bearer", &[("realm", "https://a.example/t"), ("service", "x")])],
            ),
            ("= \"lost\", Basic", vec![parsed("Basic", &[])]),
            ("Bearer realm=\"a\\", vec![parsed("Bearer", &[("realm", "a")])]),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }
}
