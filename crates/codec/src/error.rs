//! Errors of a layer's conversion.

use std::io;

use thiserror::Error;
use zstart_core::Digest;

/// Why a layer can't be converted.
#[derive(Debug, Error)]
pub enum LayerError {
    /// The gzip stream is damaged, cut short, or its checksum is wrong.
    #[error("the gzip stream is damaged at or before byte {offset} of the compressed layer")]
    Gzip {
        /// How many compressed bytes had been read.
        offset: u64,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// Behind the last gzip member there is something else.
    #[error("unknown bytes follow the gzip stream at byte {offset} of the compressed layer")]
    TrailingGarbage {
        /// Where they start.
        offset: u64,
    },
    /// The zstd frames are damaged, cut short, or ask for more memory than decoders must have.
    #[error("the zstd frames can't be decoded at or before byte {offset} of the compressed layer")]
    Zstd {
        /// How many compressed bytes had been read.
        offset: u64,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// It unpacks to more than any honest layer: a bomb, or next to nothing but zeros.
    #[error(
        "it unpacks to more than {max_uncompressed} bytes, which is more than is believed of a layer of its size"
    )]
    TooLarge {
        /// How many bytes it may unpack to, by [`UnpackLimits`](crate::UnpackLimits).
        max_uncompressed: u64,
    },
    /// The compressed bytes don't hash to the layer's digest, or there are more or fewer of them
    /// than its descriptor says.
    #[error(
        "the repository served {found_size} bytes with digest {found}, but the manifest asks for {expected_size}"
    )]
    Digest {
        /// The digest of what came.
        found: Digest,
        /// How many bytes came.
        found_size: u64,
        /// How many the descriptor names.
        expected_size: u64,
    },
    /// The source stopped in the middle.
    #[error("the source broke off")]
    Read {
        /// What the repository said.
        #[source]
        source: io::Error,
    },
    /// The encoder or the target failed.
    #[error("failed to write the converted layer")]
    Write {
        /// What was said.
        #[source]
        source: io::Error,
    },
}

impl LayerError {
    /// Whether the bytes themselves are at fault. Then it is worth knowing whether they were the
    /// right bytes at all.
    pub fn is_content_error(&self) -> bool {
        matches!(
            self,
            Self::Gzip { .. } | Self::TrailingGarbage { .. } | Self::Zstd { .. } | Self::TooLarge { .. }
        )
    }
}
