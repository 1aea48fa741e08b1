//! Content digests in the format of the OCI image specification (`descriptor.md`, "Digests").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};
use thiserror::Error;

/// Validated digest: a registered algorithm and exactly as many lower-case hexadecimal digits as the
/// algorithm yields. A digest is therefore safe in a URL or a path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    text: String,
}

/// Hash algorithm that the OCI image specification registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, the only algorithm that container runtimes report.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// Error for a text that isn't a digest.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DigestError {
    /// No colon, or no algorithm in front of the colon.
    #[error("digest {text:?} is not of the form algorithm:hex")]
    Form {
        /// Text as given.
        text: String,
    },
    /// Unknown algorithm. The specification registers sha256 and sha512; registries and runtimes serve no
    /// others.
    #[error("digest {text:?} uses an unknown algorithm; sha256 and sha512 are known")]
    Algorithm {
        /// Text as given.
        text: String,
    },
    /// Wrong length, or a character that isn't a lower-case hexadecimal digit.
    #[error("digest {text:?} must have {expected} lower-case hexadecimal digits after the colon")]
    Hex {
        /// Text as given.
        text: String,
        /// Number of digits that the algorithm yields.
        expected: usize,
    },
}

impl Algorithm {
    /// Name in a digest: `sha256` or `sha512`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Number of hexadecimal digits that the algorithm yields.
    fn hex_digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Digest {
    /// Computes the SHA-256 digest of `bytes`.
    pub fn sha256_of(bytes: &[u8]) -> Self {
        Self::from_sha256(Sha256::digest(bytes).into())
    }

    /// Wraps a SHA-256 hash value.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        push_hex(&mut text, &hash);
        Self { algorithm: Algorithm::Sha256, text }
    }

    /// Wraps a SHA-512 hash value.
    pub fn from_sha512(hash: [u8; 64]) -> Self {
        let mut text = String::with_capacity(135);
        text.push_str("sha512:");
        push_hex(&mut text, &hash);
        Self { algorithm: Algorithm::Sha512, text }
    }

    /// Returns whether this is the digest of `bytes` under this digest's algorithm.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        *self
            == match self.algorithm {
                Algorithm::Sha256 => Self::sha256_of(bytes),
                Algorithm::Sha512 => Self::from_sha512(Sha512::digest(bytes).into()),
            }
    }

    /// Hash algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Hexadecimal digits after the colon.
    pub fn hex(&self) -> &str {
        &self.text[7..]
    }

    /// First twelve hexadecimal digits, as variant tags carry them: 48 bits, enough to distinguish all
    /// digests that one tag ever named. A caller that finds a variant by its short digest still compares
    /// whole digests.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// Text form: `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) =
            text.split_once(':').ok_or_else(|| DigestError::Form { text: text.to_owned() })?;
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            "" => return Err(DigestError::Form { text: text.to_owned() }),
            _ => return Err(DigestError::Algorithm { text: text.to_owned() }),
        };
        let expected = algorithm.hex_digits();
        let well_formed = hex.len() == expected
            && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if well_formed {
            Ok(Self { algorithm, text: text.to_owned() })
        } else {
            Err(DigestError::Hex { text: text.to_owned(), expected })
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "maxLength": 135,
            "pattern": "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_matches_only_its_own_bytes() {
        // FIPS 180-2, the examples for "abc".
        let sha512: Digest = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                              2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
            .parse()
            .unwrap();
        for digest in [sha512, Digest::sha256_of(b"abc")] {
            assert!(digest.matches(b"abc") && !digest.matches(b"abd"), "{digest}");
        }
    }

    #[test]
    fn sha256_of_empty_input_is_the_known_value() {
        assert_eq!(
            Digest::sha256_of(b"").as_str(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn digest_splits_into_algorithm_hex_and_short_form() {
        let digest = Digest::sha256_of(b"");
        assert_eq!(digest.algorithm(), Algorithm::Sha256);
        assert_eq!(digest.hex().len(), 64);
        assert_eq!(digest.short(), "e3b0c44298fc");
    }

    #[test]
    fn invalid_digest_is_refused_and_quoted() {
        for text in ["", "sha256", ":", ":abc", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        let upper = format!("sha256:{}", "A".repeat(64));
        let path = format!("sha256:{}", "../".repeat(22));
        for text in [upper, path, "sha256:abc".into(), format!("sha512:{}", "0".repeat(64))] {
            let error = text.parse::<Digest>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
