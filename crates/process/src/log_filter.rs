//! What is logged.

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// A filter that has been checked.
#[derive(Clone, Debug)]
pub struct LogFilter(String);

/// The text isn't a filter.
#[derive(Debug, Error)]
#[error(
    "{directive:?} is neither a level (off, error, warn, info, debug, trace) nor like zstart_webhook=debug"
)]
pub struct LogFilterError {
    directive: String,
}

/// Checks a filter: levels and `target=level`, with commas between them. A word alone that isn't a
/// level would be taken for the name of a target, and silence all others.
pub fn parse(text: &str) -> Result<LogFilter, LogFilterError> {
    for directive in text.split(',').map(str::trim) {
        let is_level = directive.parse::<LevelFilter>().is_ok() && !directive.is_empty();
        let is_known = is_level || (directive.contains('=') && EnvFilter::try_new(directive).is_ok());
        if !is_known {
            return Err(LogFilterError { directive: directive.to_owned() });
        }
    }
    Ok(LogFilter(text.to_owned()))
}

impl LogFilter {
    /// The filter itself.
    pub fn into_filter(self) -> EnvFilter {
        EnvFilter::new(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_log_level_is_rejected() {
        for text in ["info", "off", "warn,zstart_webhook=debug", "zstart_webhook::server=trace", "INFO"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in ["", "inof", "info,", "info,webhook", "zstart_webhook=loud"] {
            assert!(parse(text).unwrap_err().to_string().contains("neither a level"), "{text}");
        }
    }
}
