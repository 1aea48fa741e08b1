//! A layer after its conversion, as the layer cache keeps it.

use serde::{Deserialize, Serialize};
use zstart_core::Digest;

/// A layer after its conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConvertedLayer {
    /// Digest of the uncompressed bytes.
    pub(crate) diff_id: Digest,
    /// The new layer in the target; `None` if the layer stays as it is because its bytes are zstd already,
    /// regardless of its media type.
    pub(crate) written: Option<BlobInfo>,
}

/// A blob's digest and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlobInfo {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}
