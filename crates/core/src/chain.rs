//! Errors as one line of text.

use std::error::Error;

/// Joins an error and its causes into one line, outermost first, for a log line, a condition or a terminal.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let cause = cause.to_string();
        // Some libraries repeat the cause in their own message.
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn each_cause_is_printed_once() {
        let innermost = Layer { text: "connection refused", source: None };
        let inner = Layer { text: "tcp connect error: connection refused", source: Some(innermost.into()) };
        let outer = Layer { text: "failed to pull", source: Some(inner.into()) };
        assert_eq!(chain(&outer), "failed to pull: tcp connect error: connection refused");
    }
}
