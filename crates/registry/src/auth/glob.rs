//! Patterns of host names in credential keys.
//!
//! A pattern is compared label by label, as in the kubelet (`pkg/credentialprovider/keyring.go`, `URLsMatch`): a
//! star never matches a dot. Classes such as `[a-c]` or `[^0-9]` are Kubernetes' documented syntax; kubelets
//! built with Go 1.26 ignore such keys. A question mark ends a key's host, so it is no pattern.

/// Whether a host name has the pattern's number of labels, and each label matches.
pub(super) fn matches_host(pattern: &str, host: &str) -> bool {
    let (patterns, labels) = (pattern.split('.'), host.split('.'));
    patterns.clone().count() == labels.clone().count()
        && patterns.zip(labels).all(|(pattern, label)| matches_label(pattern.as_bytes(), label.as_bytes()))
}

/// Matches one label. Only the last star is tried again after a mismatch, so the time is bounded by the product
/// of both lengths: a pull secret's author chooses the pattern.
fn matches_label(pattern: &[u8], label: &[u8]) -> bool {
    let (mut in_pattern, mut in_label) = (0, 0);
    // Position after the last star, and the position in the label from which it was tried.
    let mut star = None;
    while let Some(byte) = label.get(in_label) {
        if pattern.get(in_pattern) == Some(&b'*') {
            in_pattern += 1;
            star = Some((in_pattern, in_label));
        } else if let Some(length) = matches_byte(&pattern[in_pattern..], *byte) {
            in_pattern += length;
            in_label += 1;
        } else if let Some((after_star, tried)) = star {
            (in_pattern, in_label) = (after_star, tried + 1);
            star = Some((after_star, in_label));
        } else {
            return false;
        }
    }
    pattern[in_pattern..].iter().all(|byte| *byte == b'*')
}

/// Length of the pattern's first term, if the term matches the byte.
fn matches_byte(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'[', class @ ..] => {
            let end = class.iter().position(|end| *end == b']')?;
            let (is_negated, ranges) = match &class[..end] {
                [b'^', ranges @ ..] => (true, ranges),
                ranges => (false, ranges),
            };
            (matches_ranges(ranges, byte) != is_negated).then_some(end + 2)
        }
        [first, ..] => (*first == byte).then_some(1),
        [] => None,
    }
}

fn matches_ranges(mut ranges: &[u8], byte: u8) -> bool {
    loop {
        ranges = match ranges {
            [low, b'-', high, ..] if (*low..=*high).contains(&byte) => return true,
            [_, b'-', _, rest @ ..] => rest,
            [one, rest @ ..] if *one != byte => rest,
            [_, ..] => return true,
            [] => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_matches_label_by_label() {
        for (pattern, host, is_match) in [
            ("*.registry.example", "a.registry.example", true),
            ("a.*.example", "a.registry.example", true),
            ("a.registry.*", "a.registry.example", true),
            ("*-good.registry.example", "very-good.registry.example", true),
            ("*b*d*.example", "abcd.example", true),
            ("*ab.example", "aab.example", true),
            ("*", "localhost", true),
            ("registry[0-9].example", "registry7.example", true),
            ("registry[^0-9].example", "registryx.example", true),
            ("[abc]1.example", "b1.example", true),
            ("*.registry.example", "registry.example", false),
            ("*.*.registry.example", "a.registry.example", false),
            ("*.example", "a.registry.example", false),
            ("k*.example", "quay.example", false),
            ("*b*d.example", "abc.example", false),
            ("registry[0-9].example", "registryx.example", false),
            ("registry[^0-9].example", "registry7.example", false),
            ("registry[0-9.example", "registry7.example", false),
            ("", "registry.example", false),
        ] {
            assert_eq!(matches_host(pattern, host), is_match, "{pattern} {host}");
        }
    }

    #[test]
    fn many_stars_take_no_long_time() {
        let pattern = format!("{}b", "*a".repeat(1000));
        assert!(!matches_host(&pattern, &"a".repeat(10_000)));
    }
}
