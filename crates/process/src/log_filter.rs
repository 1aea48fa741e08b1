//! The filter of log lines.

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// A valid filter.
#[derive(Clone, Debug)]
pub struct LogFilter(String);

/// The text is no filter.
#[derive(Debug, Error)]
#[error(
    "log filter {directive:?} is neither a level (off, error, warn, info, debug, trace) nor target=level, \
     e.g. zstart_webhook=debug"
)]
pub struct LogFilterError {
    directive: String,
}

/// Parses a filter: levels and `target=level`, separated by commas. A single word that is no level is
/// rejected: `tracing` would read it as a target and silence all others.
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
    /// Converts to the filter of `tracing`.
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
