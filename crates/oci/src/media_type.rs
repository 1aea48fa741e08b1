//! Media types of manifests, configs and layers, and the layer compression that they declare.
//!
//! Sources: OCI image specification (`media-types.md`), Docker's image manifest version 2 schema 2,
//! `ocicrypt` for the encrypted suffix.

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, plain.
pub const OCI_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, zstd. All converted layers have this type, because only containerd 2.0 and later support
/// Docker's zstd type.
pub const OCI_TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, plain.
pub const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer, gzip.
pub const DOCKER_TAR_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer, zstd.
pub const DOCKER_TAR_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// Types in the `Accept` header of manifest requests. The list has every type, so that the registry doesn't
/// convert a manifest to another type.
pub const ACCEPT: [&str; 6] =
    [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST, SCHEMA_1_SIGNED, SCHEMA_1];
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const SCHEMA_1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// The kind of layer that a media type declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// A plain tar archive.
    Tar,
    /// A gzip-compressed tar archive.
    Gzip,
    /// A zstd-compressed tar archive.
    Zstd,
    /// Not distributed with the image. The registry may not have the bytes.
    Foreign,
    /// Encrypted. Recompression needs the key.
    Encrypted,
    /// Anything else.
    Unknown,
}

/// Returns the kind of layer that `media_type` declares.
pub fn layer_kind(media_type: &str) -> LayerKind {
    match media_type {
        OCI_TAR | DOCKER_TAR => LayerKind::Tar,
        OCI_TAR_GZIP | DOCKER_TAR_GZIP => LayerKind::Gzip,
        OCI_TAR_ZSTD | DOCKER_TAR_ZSTD => LayerKind::Zstd,
        other if other.ends_with("+encrypted") => LayerKind::Encrypted,
        other if other.contains(".nondistributable.") || other.contains(".rootfs.foreign.") => {
            LayerKind::Foreign
        }
        _ => LayerKind::Unknown,
    }
}

/// Whether this is the type of an index.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_INDEX)
}

/// Whether this is a type of Docker's first manifest format, which has no config.
pub fn is_schema_1(media_type: &str) -> bool {
    matches!(media_type, SCHEMA_1 | SCHEMA_1_SIGNED)
}

/// Whether a manifest with a config of this type is a container image.
pub fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}
