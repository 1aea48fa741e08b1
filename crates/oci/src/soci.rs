//! Names of Seekable OCI (SOCI). With a SOCI index, nodes read single files of an image's gzip layers, and
//! start the image before the download ends (soci-snapshotter, `docs/soci-index-manifest-v2.md`).

/// Annotation of an image manifest with the digest of the image's SOCI index (version 2).
pub const INDEX_DIGEST_ANNOTATION: &str = "com.amazon.soci.index-digest";
/// Artifact type of a SOCI index whose subject is the image (version 1).
pub const ARTIFACT_TYPE_V1: &str = "application/vnd.amazon.soci.index.v1+json";
