//! Bandwidths and sizes on the command line: a number with K, M or G.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use zstart_core::units;
use zstart_tune::MIN_SAMPLE_BYTES;

/// Bandwidth in bits per second. K, M and G are decimal, as is usual for links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bandwidth(u64);

/// Size of the sample of an image, in bytes. K, M and G are binary, as for all sizes in zstart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SampleSize(u64);

/// Error of parsing a quantity.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum QuantityError {
    /// The text isn't a bandwidth.
    #[error("{text:?} is not a bandwidth: write bits per second, with K, M or G, e.g. 200M or 2.5G")]
    Bandwidth { text: String },
    /// The text isn't a size.
    #[error("{text:?} is not a size: write bytes, with K, M or G, e.g. 288M")]
    Size { text: String },
    /// The sample would have too few pieces for an estimate.
    #[error("a sample of {} is too small: an estimate needs at least {}", units::size(*bytes), units::size(MIN_SAMPLE_BYTES))]
    SampleTooSmall { bytes: u64 },
}

impl Bandwidth {
    pub(crate) fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl SampleSize {
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Bandwidth {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let bits = number(text, 1000.0).ok_or_else(|| QuantityError::Bandwidth { text: text.to_owned() })?;
        Ok(Self(bits))
    }
}

impl FromStr for SampleSize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let bytes = number(text, 1024.0).ok_or_else(|| QuantityError::Size { text: text.to_owned() })?;
        if bytes < MIN_SAMPLE_BYTES { Err(QuantityError::SampleTooSmall { bytes }) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "as many digits as were written")]
        let bits = self.0 as f64;
        match self.0 {
            1_000_000_000.. => write!(formatter, "{}G", bits / 1e9),
            1_000_000.. => write!(formatter, "{}M", bits / 1e6),
            1_000.. => write!(formatter, "{}K", bits / 1e3),
            bits => write!(formatter, "{bits}"),
        }
    }
}

/// Parses a positive number with an optional suffix. Returns `None` for any other text, and for 9e15 and
/// more, which a float doesn't hold exactly.
fn number(text: &str, thousand: f64) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (end, 'k' | 'K') => (&text[..end], thousand),
        (end, 'm' | 'M') => (&text[..end], thousand.powi(2)),
        (end, 'g' | 'G') => (&text[..end], thousand.powi(3)),
        _ => (text, 1.0),
    };
    // Excludes signs, exponents, and words such as "inf", which `f64` would parse.
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let value = (digits.parse::<f64>().ok()? * unit).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is a whole number in range"
    )]
    (1.0..9e15).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidth_is_decimal_and_round_trips() {
        for (text, bits) in [
            ("200M", 200_000_000),
            ("1G", 1_000_000_000),
            ("2.5G", 2_500_000_000),
            ("64K", 64_000),
            ("12500M", 12_500_000_000),
            ("9", 9),
        ] {
            let bandwidth: Bandwidth = text.parse().unwrap();
            assert_eq!(bandwidth.bits_per_second(), bits, "{text}");
            assert_eq!(bandwidth.to_string().parse(), Ok(bandwidth), "{text}");
        }
        assert_eq!("2.5g".parse::<Bandwidth>().unwrap().to_string(), "2.5G");
    }

    #[test]
    fn invalid_bandwidth_is_quoted_in_the_error() {
        for text in ["", "G", "fast", "-1M", "0", "0.0G", "1e3", "inf", "nan", "1GB", "1.2.3M", "99999999G"] {
            let error = text.parse::<Bandwidth>().unwrap_err();
            assert_eq!(error, QuantityError::Bandwidth { text: text.to_owned() });
        }
    }

    #[test]
    fn sample_size_is_binary_and_at_least_96_mib() {
        assert_eq!("96M".parse(), Ok(SampleSize(96 << 20)));
        assert_eq!("1G".parse(), Ok(SampleSize(1 << 30)));
        assert_eq!("95M".parse::<SampleSize>(), Err(QuantityError::SampleTooSmall { bytes: 95 << 20 }));
        assert!(matches!("much".parse::<SampleSize>(), Err(QuantityError::Size { .. })));
    }
}
