//! Annotations and media types. Written from the documentation, not taken from the converter's code.

/// Annotation of a variant's manifest, index or index entry: digest of the source's.
pub(crate) const SOURCE_DIGEST: &str = "dev.zstart.source.digest";
/// Annotation of a variant's layer: digest of the source's layer.
pub(crate) const LAYER_SOURCE_DIGEST: &str = "dev.zstart.layer.source.digest";
/// Annotation of a variant's manifest or index: settings of the conversion.
pub(crate) const SETTINGS: &str = "dev.zstart.settings";
/// Annotation of a `BuildKit` attestation: digest of the attested image.
pub(crate) const ATTESTED_DIGEST: &str = "vnd.docker.reference.digest";
/// Prefixes of annotations that describe a layer's compressed bytes. A variant's layer has none of them.
pub(crate) const COMPRESSED_BYTES: [&str; 3] =
    ["containerd.io/snapshot/stargz/", "io.containers.estargz.", "io.github.containers.zstd-chunked."];

/// Types of a variant's documents.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Type of all of a variant's layers.
pub(crate) const OCI_TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Types of indexes.
pub(crate) const INDEX_TYPES: [&str; 2] =
    [OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Types of an image's config.
pub(crate) const CONFIG_TYPES: [&str; 2] = [OCI_CONFIG, "application/vnd.docker.container.image.v1+json"];
/// Types of layers whose bytes are in the registry, unencrypted.
pub(crate) const LAYER_TYPES: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    OCI_TAR_ZSTD,
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];
