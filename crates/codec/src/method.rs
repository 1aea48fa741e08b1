//! Methods for gzip layers.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantNames};
use zstart_transcode::Verify;

use crate::Level;

/// Highest level at which [`Method::Auto`] transcodes. Users who choose a higher one want smaller layers.
const MAX_TRANSCODED_LEVEL: i32 = 5;

/// Method by which a gzip layer becomes zstd. Other layers are always encoded.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    EnumString,
    IntoStaticStr,
    VariantNames,
    Deserialize,
    Serialize,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Method {
    /// Transcodes up to level 5, unless the layer's compressor searched too little: its header says so, the layer
    /// starts with mostly stored blocks, or a sample of it says so. Encodes otherwise.
    #[default]
    Auto,
    /// Takes over gzip's matches, adds matches that are too far for gzip, and searches no more. The level counts for
    /// other layers alone.
    Transcode,
    /// Decodes, and encodes at the level.
    Encode,
}

/// Part of a transcoded layer that is decoded again before its last bytes are written. Every match is compared with
/// the uncompressed bytes in any case.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    EnumString,
    IntoStaticStr,
    VariantNames,
    Deserialize,
    Serialize,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Verification {
    /// The first 3/8 MiB, the last ones, and one in about 12 behind the first 8 MiB.
    #[default]
    Sampled,
    /// All of it, for 13 to 18 % of level 3's processor time and 9 MiB of memory.
    Full,
}

/// Treatment of gzip layers at one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GzipLayers {
    Encode,
    Transcode {
        /// Layers whose compressor hardly searched are encoded.
        may_decline: bool,
    },
}

impl Method {
    /// The word for settings and annotations.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Treatment of gzip layers at `level`.
    pub(crate) fn gzip_layers(self, level: Level) -> GzipLayers {
        match self {
            Self::Auto if level.get() <= MAX_TRANSCODED_LEVEL => GzipLayers::Transcode { may_decline: true },
            Self::Transcode => GzipLayers::Transcode { may_decline: false },
            Self::Auto | Self::Encode => GzipLayers::Encode,
        }
    }
}

impl Verification {
    /// The word for settings.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl From<Verification> for Verify {
    fn from(verification: Verification) -> Self {
        match verification {
            Verification::Sampled => Self::default(),
            Verification::Full => Self::Full,
        }
    }
}
