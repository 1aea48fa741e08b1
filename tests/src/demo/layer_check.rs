//! Checks that containerd unpacked the variant and that the variant has the source's files. The check reads
//! containerd's content store and uses another decoder and hash than the converter.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zstart_core::Digest;
use zstart_oci::media_type;

use crate::cluster::Cluster;

/// Result of the check.
pub(super) struct LayerCheck {
    /// Layers of type `tar+zstd` whose uncompressed bytes hash to the config's `diff_ids`.
    pub(super) equal_layers: usize,
    /// Uncompressed bytes of all layers.
    pub(super) uncompressed_bytes: u64,
}

/// Checks the variant in containerd's store and snapshots.
pub(super) fn check_in_containerd(cluster: &Cluster, variant: &Digest) -> Result<LayerCheck> {
    let check = check_layers(|digest| cluster.content(digest), variant)?;
    ensure!(
        cluster.has_snapshot(&cluster.diff_ids(variant)?)?,
        "containerd has no snapshot of {variant}, so it didn't unpack the image"
    );
    Ok(check)
}

/// Unpacks and hashes every layer of the variant. `blob` returns the file of a digest.
pub(super) fn check_layers(blob: impl Fn(&Digest) -> PathBuf, variant: &Digest) -> Result<LayerCheck> {
    let json = |digest: &Digest| -> Result<Value> {
        let path = blob(digest);
        let bytes = std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    let manifest = json(variant)?;
    let config = json(&field(&manifest["config"], "digest")?.parse()?)?;
    let diff_ids: Vec<Digest> = serde_json::from_value(config["rootfs"]["diff_ids"].clone())?;
    let layers = manifest["layers"].as_array().context("the manifest has no layers")?;
    ensure!(
        layers.len() == diff_ids.len(),
        "the manifest has {} layers, but the config has {} diff_ids",
        layers.len(),
        diff_ids.len()
    );
    let mut check = LayerCheck { equal_layers: 0, uncompressed_bytes: 0 };
    for (layer, diff_id) in layers.iter().zip(&diff_ids) {
        let media_type = field(layer, "mediaType")?;
        ensure!(media_type == media_type::OCI_TAR_ZSTD, "a layer has the media type {media_type}");
        let digest: Digest = field(layer, "digest")?.parse()?;
        let (found, bytes) = hash_uncompressed(&blob(&digest))?;
        ensure!(*diff_id == found, "layer {digest} unpacks to {found}, not to {diff_id}");
        check.equal_layers += 1;
        check.uncompressed_bytes += bytes;
    }
    Ok(check)
}

fn field<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    value[name].as_str().with_context(|| format!("no {name} in {value}"))
}

/// Digest and size of a zstd file's uncompressed bytes.
fn hash_uncompressed(path: &Path) -> Result<(Digest, u64)> {
    let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
    let mut decoder = zstd::stream::read::Decoder::new(file)?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = std::io::Read::read(&mut decoder, &mut buffer)?;
        if count == 0 {
            return Ok((Digest::from_sha256(hash.finalize().into()), bytes));
        }
        hash.update(&buffer[..count]);
        bytes += count as u64;
    }
}
