//! Memory and disk writes of converting large images: one layer of more than 4 GiB, and 60 layers. Both
//! consist of the real image's bytes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use futures::stream;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use zstart_core::{Digest, Reference, VariantNames};
use zstart_oci::{RawManifest, media_type};
use zstart_registry::Store;

use super::floor::HashSink;
use super::measure::{Usage, measure};
use crate::images::open_repository;
use crate::oracle;
use crate::registry::Registry;

/// Minimum uncompressed size of the single layer, in bytes.
const ONE_LAYER: u64 = (4 << 30) + 1;
/// Layers of the second image.
const MANY_LAYERS: usize = 60;

/// Conversion of one large image.
pub(super) struct LargeImage {
    pub(super) layers: usize,
    /// Size of all layers, uncompressed and compressed, in bytes.
    pub(super) uncompressed: u64,
    pub(super) compressed: u64,
    pub(super) usage: Usage,
}

/// A layer in the registry.
struct StoredLayer {
    descriptor: Value,
    diff_id: Digest,
    uncompressed: u64,
    compressed: u64,
}

/// Measures both images, built from the layers of an OCI layout folder.
pub(super) async fn run(zstart: &Path, folder: &Path) -> Result<[LargeImage; 2]> {
    let registry = Registry::start().await?;
    let layers = super::floor::layer_files(folder)?;
    let one: Reference = format!("{}/one:v1", registry.host()).parse()?;
    let one_layer = vec![push_one_layer(&*open_repository(&one)?, &layers).await?];
    let many: Reference = format!("{}/many:v1", registry.host()).parse()?;
    let many_layers = push_many_layers(&*open_repository(&many)?, &layers).await?;
    Ok([convert(zstart, &one, one_layer).await?, convert(zstart, &many, many_layers).await?])
}

async fn convert(zstart: &Path, image: &Reference, layers: Vec<StoredLayer>) -> Result<LargeImage> {
    push_image(image, &layers).await?;
    let home = TempDir::with_prefix("zstart-bench-")?;
    let mut command = Command::new(zstart);
    command.args(["convert", &image.to_string()]).env_clear().env("HOME", home.path());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let usage = measure(command).await?;
    let repository = open_repository(image)?;
    let made_from = repository.tag_digest(image.tag().context("the image has no tag")?).await?;
    let names = VariantNames::of(image, &made_from);
    let tags = repository.tags(usize::MAX).await?;
    let tag = tags.iter().find(|tag| names.contains(tag)).context("the image has no variant")?;
    let variant = format!("{}:{tag}", image.name()).parse()?;
    oracle::require_equal(image.registry(), image, &variant).await?;
    let (uncompressed, compressed) =
        (layers.iter().map(|layer| layer.uncompressed), layers.iter().map(|layer| layer.compressed));
    Ok(LargeImage {
        layers: layers.len(),
        uncompressed: uncompressed.sum(),
        compressed: compressed.sum(),
        usage,
    })
}

/// Pushes one layer: all layers of the image as members of one gzip stream, repeated until the size is
/// reached.
async fn push_one_layer(repository: &dyn Store, layers: &[PathBuf]) -> Result<StoredLayer> {
    let (mut diff_id, mut digest) = (HashSink(Sha256::new()), Sha256::new());
    let (mut uncompressed, mut compressed) = (0, 0);
    let mut pieces: Vec<Bytes> = Vec::new();
    while uncompressed < ONE_LAYER {
        for (number, layer) in layers.iter().enumerate() {
            if pieces.len() <= number {
                pieces.push(fs::read(layer)?.into());
            }
            let mut inflated = MultiGzDecoder::new(&pieces[number][..]);
            uncompressed += std::io::copy(&mut inflated, &mut diff_id)?;
            digest.update(&pieces[number]);
            compressed += pieces[number].len() as u64;
        }
    }
    let rounds = compressed / pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
    let digest = Digest::from_sha256(digest.finalize().into());
    let content = (0..rounds).flat_map(|_| pieces.clone()).map(Ok).collect::<Vec<_>>();
    let mut upload = repository.start_upload().await?;
    upload.send(Box::pin(stream::iter(content))).await?;
    upload.commit(&digest).await?;
    Ok(stored_layer(&digest, compressed, Digest::from_sha256(diff_id.0.finalize().into()), uncompressed))
}

/// Pushes many layers: the image's bytes, divided into parts of equal size.
async fn push_many_layers(repository: &dyn Store, layers: &[PathBuf]) -> Result<Vec<StoredLayer>> {
    let mut uncompressed = Vec::new();
    for layer in layers {
        MultiGzDecoder::new(&fs::read(layer)?[..]).read_to_end(&mut uncompressed)?;
    }
    let mut parts = Vec::new();
    for part in uncompressed.chunks(uncompressed.len().div_ceil(MANY_LAYERS)) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(part)?;
        let compressed: Bytes = encoder.finish()?.into();
        let (digest, size) = (Digest::sha256_of(&compressed), compressed.len() as u64);
        super::put_blob(repository, compressed, &digest).await?;
        parts.push(stored_layer(&digest, size, Digest::sha256_of(part), part.len() as u64));
    }
    ensure!(
        parts.len() == MANY_LAYERS,
        "the image was divided into {} layers instead of {MANY_LAYERS}",
        parts.len()
    );
    Ok(parts)
}

fn stored_layer(digest: &Digest, compressed: u64, diff_id: Digest, uncompressed: u64) -> StoredLayer {
    let descriptor = json!({"mediaType": media_type::OCI_TAR_GZIP, "digest": digest, "size": compressed});
    StoredLayer { descriptor, diff_id, uncompressed, compressed }
}

async fn push_image(image: &Reference, layers: &[StoredLayer]) -> Result<()> {
    let repository = open_repository(image)?;
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    let config =
        json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = Bytes::from(config.to_string());
    let digest = Digest::sha256_of(&config);
    super::put_blob(&*repository, config.clone(), &digest).await?;
    let layers: Vec<&Value> = layers.iter().map(|layer| &layer.descriptor).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "layers": layers,
        "config": {"mediaType": media_type::OCI_CONFIG, "digest": digest, "size": config.len()},
    });
    let manifest = RawManifest::new(manifest.to_string().into());
    let tag = image.tag().context("the image has no tag")?;
    Ok(repository.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(tag)).await?)
}
