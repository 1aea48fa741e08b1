//! Seekable OCI: an index beside an image by which nodes read single files of its gzip layers, and start
//! the image before they have it whole (soci-snapshotter, `docs/soci-index-manifest-v2.md`).

/// The annotation of an image's manifest that names its index (version 2).
pub const INDEX_DIGEST_ANNOTATION: &str = "com.amazon.soci.index-digest";
/// The artifact type of an index that names its image as its subject (version 1).
pub const ARTIFACT_TYPE_V1: &str = "application/vnd.amazon.soci.index.v1+json";
