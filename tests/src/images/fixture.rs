//! Small images, built byte by byte, so that a test can also build malformed ones.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Result, ensure};
use bytes::Bytes;
use flate2::write::GzEncoder;
use futures::stream;
use serde_json::{Value, json};
use zstart_core::{Digest, Platform, Reference, Tag};
use zstart_oci::{RawManifest, media_type};
use zstart_registry::{LayoutFolder, Store};

use super::push::open_repository;

/// Compression of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// None.
    Plain,
    /// gzip at its default level.
    Gzip,
    /// zstd at level 3.
    Zstd,
}

/// Origin of the media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Docker's.
    Docker,
    /// OCI's.
    Oci,
}

/// Builder for an image of one platform.
#[derive(Clone, Debug)]
pub struct Fixture {
    format: Format,
    platform: Platform,
    layers: Vec<Layer>,
    entrypoint: Vec<String>,
    members: Value,
}

#[derive(Clone, Debug)]
struct Layer {
    uncompressed: Vec<u8>,
    compressed: Vec<u8>,
    compression: Compression,
    diff_id: Digest,
}

/// Builder for an index of several images.
#[derive(Clone, Debug)]
pub struct Index {
    format: Format,
    images: Vec<(Prepared, Value)>,
}

/// A built image with known bytes and digests.
#[derive(Clone, Debug)]
pub struct Prepared {
    blobs: Vec<Bytes>,
    manifests: Vec<RawManifest>,
    /// Digest of the manifest or index.
    pub digest: Digest,
    platform: Platform,
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture {
    /// Image without layers, in Docker's format, for `linux/amd64`.
    pub fn new() -> Self {
        Self {
            format: Format::Docker,
            platform: Platform::new("linux", "amd64"),
            layers: Vec::new(),
            entrypoint: Vec::new(),
            members: Value::Null,
        }
    }

    /// Adds a gzip layer with these files.
    #[must_use]
    pub fn layer(self, files: &[(&str, &[u8])]) -> Self {
        self.layer_as(Compression::Gzip, files)
    }

    /// Adds a layer with these files, readable and executable by all users.
    #[must_use]
    pub fn layer_as(self, compression: Compression, files: &[(&str, &[u8])]) -> Self {
        let uncompressed = archive(files);
        let compressed = compress(compression, &uncompressed);
        self.raw_layer(compression, uncompressed, compressed)
    }

    /// Adds a layer of this size that compresses about as well as program text.
    #[must_use]
    pub fn large_layer(self, name: &str, size: usize) -> Self {
        // A deterministic generator: equal bytes in each run, and no two equal blocks.
        let mut state =
            name.bytes().fold(0x9e37_79b9_u64, |state, byte| state.rotate_left(7) ^ u64::from(byte));
        let mut content = Vec::with_capacity(size + 16);
        while content.len() < size {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = state >> 33;
            content.extend_from_slice(format!("{:x} ", word % 5_000_011).as_bytes());
        }
        content.truncate(size);
        self.layer(&[(name, &content)])
    }

    /// Adds a layer from raw bytes, which need not match each other.
    #[must_use]
    pub fn raw_layer(mut self, compression: Compression, uncompressed: Vec<u8>, compressed: Vec<u8>) -> Self {
        let diff_id = Digest::sha256_of(&uncompressed);
        self.layers.push(Layer { uncompressed, compressed, compression, diff_id });
        self
    }

    /// Gives the last layer a wrong `diff_id` in the config.
    #[must_use]
    pub fn with_wrong_diff_id(mut self) -> Self {
        if let Some(layer) = self.layers.last_mut() {
            layer.diff_id = Digest::sha256_of(b"something else");
        }
        self
    }

    /// Uses OCI media types instead of Docker's.
    #[must_use]
    pub fn oci(mut self) -> Self {
        self.format = Format::Oci;
        self
    }

    /// Sets the platform.
    #[must_use]
    pub fn platform(mut self, os: &str, architecture: &str) -> Self {
        self.platform = Platform::new(os, architecture);
        self
    }

    /// Sets the entrypoint.
    #[must_use]
    pub fn entrypoint(mut self, command: &[&str]) -> Self {
        self.entrypoint = command.iter().map(ToString::to_string).collect();
        self
    }

    /// Adds or replaces members of the manifest: annotations, unknown members.
    #[must_use]
    pub fn members(mut self, members: Value) -> Self {
        self.members = members;
        self
    }

    /// Digests of the uncompressed layers.
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| Digest::sha256_of(&layer.uncompressed)).collect()
    }

    /// Builds the image.
    pub fn prepare(&self) -> Result<Prepared> {
        let diff_ids: Vec<&Digest> = self.layers.iter().map(|layer| &layer.diff_id).collect();
        let config = serde_json::to_vec(&json!({
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "config": {"Entrypoint": self.entrypoint, "Env": ["PATH=/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [],
        }))?;
        let (manifest_type, config_type) = match self.format {
            Format::Docker => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
            Format::Oci => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
        };
        let layers = self
            .layers
            .iter()
            .map(|layer| descriptor(layer_type(self.format, layer.compression), &layer.compressed));
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": descriptor(config_type, &config),
            "layers": layers.collect::<Vec<_>>(),
        });
        for (key, value) in self.members.as_object().into_iter().flatten() {
            manifest[key] = value.clone();
        }
        let manifest = RawManifest::new(serde_json::to_vec(&manifest)?.into());
        let mut blobs: Vec<Bytes> = self.layers.iter().map(|layer| layer.compressed.clone().into()).collect();
        blobs.push(config.into());
        let digest = manifest.digest.clone();
        Ok(Prepared { blobs, manifests: vec![manifest], digest, platform: self.platform.clone() })
    }

    /// Builds the image and pushes it to `host` as `name` (`app:v1`).
    pub async fn push(&self, host: &str, name: &str) -> Result<Digest> {
        self.prepare()?.push(host, name).await
    }
}

impl Index {
    /// Index without entries, in Docker's format.
    pub fn new() -> Self {
        Self { format: Format::Docker, images: Vec::new() }
    }

    /// Uses OCI's media type.
    #[must_use]
    pub fn oci(mut self) -> Self {
        self.format = Format::Oci;
        self
    }

    /// Adds an image.
    pub fn image(self, image: &Fixture) -> Result<Self> {
        self.image_with(image, &json!({}))
    }

    /// Adds an image and adds or replaces members of its entry.
    pub fn image_with(mut self, image: &Fixture, more: &Value) -> Result<Self> {
        self.images.push((image.prepare()?, more.clone()));
        Ok(self)
    }

    /// Builds the index.
    pub fn prepare(&self) -> Result<Prepared> {
        ensure!(!self.images.is_empty(), "an index needs an image");
        let index_type = match self.format {
            Format::Docker => media_type::DOCKER_INDEX,
            Format::Oci => media_type::OCI_INDEX,
        };
        let (mut blobs, mut manifests, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for (image, more) in &self.images {
            blobs.extend(image.blobs.iter().cloned());
            manifests.extend(image.manifests.iter().cloned());
            let top = &image.manifests[image.manifests.len() - 1];
            let mut entry = descriptor(&top.media_type()?, &top.bytes);
            entry["platform"] = json!({"os": image.platform.os, "architecture": image.platform.architecture});
            for (key, value) in more.as_object().into_iter().flatten() {
                entry[key] = value.clone();
            }
            entries.push(entry);
        }
        let index = json!({"schemaVersion": 2, "mediaType": index_type, "manifests": entries});
        let index = RawManifest::new(serde_json::to_vec(&index)?.into());
        let digest = index.digest.clone();
        manifests.push(index);
        Ok(Prepared { blobs, manifests, digest, platform: self.images[0].0.platform.clone() })
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Prepared {
    /// Writes the image into an OCI layout folder.
    pub async fn write(&self, folder: &Path, tag: &str) -> Result<()> {
        self.store(&LayoutFolder::new(folder), &tag.parse()?).await
    }

    /// Pushes the image to `host` as `name` (`app:v1`).
    pub async fn push(&self, host: &str, name: &str) -> Result<Digest> {
        let reference: Reference = format!("{host}/{name}").parse()?;
        let tag = reference.tag().cloned().unwrap_or("latest".parse()?);
        self.store(&*open_repository(&reference)?, &tag).await?;
        Ok(self.digest.clone())
    }

    /// Stores the image in a repository: blobs, then manifests, the last one with the tag.
    pub async fn store(&self, repository: &dyn Store, tag: &Tag) -> Result<()> {
        for blob in &self.blobs {
            let mut upload = repository.start_upload().await?;
            upload.send(Box::pin(stream::iter([Ok(blob.clone())]))).await?;
            upload.commit(&Digest::sha256_of(blob)).await?;
        }
        for (index, manifest) in self.manifests.iter().enumerate() {
            let last = index + 1 == self.manifests.len();
            repository.put_manifest(manifest, &manifest.media_type()?, last.then_some(tag)).await?;
        }
        Ok(())
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256_of(bytes), "size": bytes.len()})
}

fn layer_type(format: Format, compression: Compression) -> &'static str {
    match (format, compression) {
        (Format::Docker, Compression::Plain) => media_type::DOCKER_TAR,
        (Format::Docker, Compression::Gzip) => media_type::DOCKER_TAR_GZIP,
        (Format::Docker, Compression::Zstd) => media_type::DOCKER_TAR_ZSTD,
        (Format::Oci, Compression::Plain) => media_type::OCI_TAR,
        (Format::Oci, Compression::Gzip) => media_type::OCI_TAR_GZIP,
        (Format::Oci, Compression::Zstd) => media_type::OCI_TAR_ZSTD,
    }
}

/// Tar archive with files that all users may read and execute.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        // Writing into memory fails only for a path that tar can't represent.
        archive.append_data(&mut header, path, *content).expect("a path that tar can represent");
    }
    archive.into_inner().expect("writing into memory succeeds")
}

fn compress(compression: Compression, uncompressed: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Plain => uncompressed.to_vec(),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder
                .write_all(uncompressed)
                .and_then(|()| encoder.finish())
                .expect("writing into memory succeeds")
        }
        Compression::Zstd => zstd::encode_all(uncompressed, 3).expect("writing into memory succeeds"),
    }
}
