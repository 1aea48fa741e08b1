//! Errors of a layer's conversion.

use std::io;

use thiserror::Error;
use zstart_core::Digest;
use zstart_transcode::TranscodeError;

/// An error of reading or converting a layer.
#[derive(Debug, Error)]
pub enum LayerError {
    /// The gzip stream is damaged or truncated, or its checksum is wrong.
    #[error("the gzip stream is damaged at or before byte {offset} of the compressed layer")]
    Gzip {
        /// Number of compressed bytes read before the error.
        offset: u64,
        /// The decoder's error.
        #[source]
        source: io::Error,
    },
    /// Bytes other than padding follow the last gzip member.
    #[error("the gzip stream ends at byte {offset} of the compressed layer, but unknown bytes follow")]
    TrailingGarbage {
        /// Offset of the first unknown byte.
        offset: u64,
    },
    /// The zstd frames are damaged or truncated, or need more memory than decoders must have.
    #[error("the zstd frames can't be decoded at or before byte {offset} of the compressed layer")]
    Zstd {
        /// Number of compressed bytes read before the error.
        offset: u64,
        /// The decoder's error.
        #[source]
        source: io::Error,
    },
    /// The layer's uncompressed size exceeds the unpack limit: a decompression bomb, or almost only zeros.
    #[error("layer exceeds the unpack limit of {max_uncompressed} bytes for its compressed size")]
    TooLarge {
        /// The limit in bytes, from [`UnpackLimits`](crate::UnpackLimits).
        max_uncompressed: u64,
    },
    /// The compressed bytes have another digest than the layer's descriptor, or another size.
    #[error(
        "the repository served {found_size} bytes with digest {found}, but the manifest lists {expected_size} \
         bytes"
    )]
    Digest {
        /// Digest of the bytes that the repository served.
        found: Digest,
        /// Number of bytes that the repository served.
        found_size: u64,
        /// Size in the descriptor.
        expected_size: u64,
    },
    /// The transcoder noticed a fault of its own or of zstd. The layer isn't the cause: encode it in the ordinary way
    /// ([`without_transcoder`](crate::LayerConverter::without_transcoder)).
    #[error("the transcoder would have written wrong bytes")]
    Transcode {
        /// The fault.
        #[source]
        source: TranscodeError,
    },
    /// The source failed before the layer's end.
    #[error("failed to read from the repository")]
    Read {
        /// The repository's error.
        #[source]
        source: io::Error,
    },
    /// The encoder or the target failed.
    #[error("failed to write the converted layer")]
    Write {
        /// The encoder's or target's error.
        #[source]
        source: io::Error,
    },
}

impl LayerError {
    /// Whether the layer's bytes cause the error. The caller then checks the digest, because a wrong digest
    /// explains the error better.
    pub fn is_content_error(&self) -> bool {
        matches!(
            self,
            Self::Gzip { .. } | Self::TrailingGarbage { .. } | Self::Zstd { .. } | Self::TooLarge { .. }
        )
    }
}
