//! Reads an OCI layout folder from its files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zstart_core::Digest;

/// An OCI layout folder.
pub(crate) struct Layout {
    folder: PathBuf,
}

impl Layout {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        Self { folder: folder.join(name) }
    }

    /// All tags, in order.
    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        let entries = self.entries()?;
        Ok(entries.iter().filter_map(|entry| Some(name(entry)?.to_owned())).collect())
    }

    /// Digest of a tag.
    pub(crate) fn digest(&self, tag: &str) -> Result<String> {
        let entries = self.entries()?;
        let entry = entries.iter().find(|entry| name(entry) == Some(tag));
        let entry = entry.with_context(|| format!("no image {tag}"))?;
        Ok(entry["digest"].as_str().context("no digest")?.to_owned())
    }

    /// Manifest or index of a tag.
    pub(crate) fn manifest(&self, tag: &str) -> Result<Value> {
        self.json(&self.digest(tag)?)
    }

    /// Blob parsed as JSON.
    pub(crate) fn json(&self, digest: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.blob(digest)?)?)
    }

    fn blob(&self, digest: &str) -> Result<Vec<u8>> {
        let bytes = fs::read(self.folder.join("blobs").join(digest.replace(':', "/")))?;
        ensure!(sha256(&bytes) == digest, "{digest} holds something else");
        Ok(bytes)
    }

    /// Requires that every layer of a manifest is zstd and unpacks to the config's `diff_id`.
    pub(crate) fn require_zstd_layers(&self, manifest: &Value) -> Result<()> {
        let config = self.json(manifest["config"]["digest"].as_str().context("config")?)?;
        let diff_ids = config["rootfs"]["diff_ids"].as_array().context("diff_ids")?;
        let layers = manifest["layers"].as_array().context("layers")?;
        ensure!(layers.len() == diff_ids.len(), "{} layers", layers.len());
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let packed = self.blob(layer["digest"].as_str().context("digest")?)?;
            ensure!(sha256(&zstd::decode_all(&packed[..])?) == *diff_id, "{layer} is not {diff_id}");
        }
        Ok(())
    }

    /// Gives the image of a tag another name, or none, without regard to other images of that name.
    pub(crate) fn rename(&self, tag: &str, name: Option<&str>) -> Result<()> {
        let mut entries = self.entries()?;
        let entry = entries.iter_mut().find(|entry| self::name(entry) == Some(tag));
        let entry = entry.and_then(Value::as_object_mut).with_context(|| format!("no image {tag}"))?;
        match name {
            Some(name) => entry["annotations"]["org.opencontainers.image.ref.name"] = name.into(),
            None => drop(entry.remove("annotations")),
        }
        let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
        Ok(fs::write(self.folder.join("index.json"), index.to_string())?)
    }

    fn entries(&self) -> Result<Vec<Value>> {
        let index = match fs::read(self.folder.join("index.json")) {
            Ok(bytes) => serde_json::from_slice::<Value>(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        Ok(index["manifests"].as_array().cloned().unwrap_or_default())
    }
}

fn name(entry: &Value) -> Option<&str> {
    entry["annotations"]["org.opencontainers.image.ref.name"].as_str()
}

fn sha256(bytes: &[u8]) -> String {
    Digest::from_sha256(Sha256::digest(bytes).into()).to_string()
}

/// Sum of a manifest's compressed layers, in bytes.
pub(crate) fn layer_bytes(manifest: &Value) -> u64 {
    manifest["layers"].as_array().into_iter().flatten().filter_map(|layer| layer["size"].as_u64()).sum()
}
