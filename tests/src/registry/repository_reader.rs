//! Reads the content of a registry with plain requests, and with another decoder and another hash than the
//! engine's.

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zstart_core::Digest;
use zstart_oci::media_type;

use super::Registry;

/// A repository of a registry.
pub struct RepositoryReader {
    base: String,
    http: reqwest::Client,
}

/// A manifest or index.
pub struct StoredManifest {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Bytes as stored.
    pub bytes: Vec<u8>,
    /// Bytes parsed as JSON.
    pub json: Value,
}

impl RepositoryReader {
    /// Reader of a repository.
    pub fn new(registry: &Registry, repository: &str) -> Self {
        crate::control_plane::install_crypto();
        Self { base: format!("http://{}/v2/{repository}", registry.host()), http: reqwest::Client::new() }
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response> {
        let request = self.http.get(format!("{}/{path}", self.base));
        Ok(request.header(ACCEPT, media_type::ACCEPT.join(", ")).send().await?)
    }

    /// Manifest by tag or digest.
    pub async fn manifest(&self, key: &str) -> Result<StoredManifest> {
        let response = self.get(&format!("manifests/{key}")).await?.error_for_status()?;
        let bytes = response.bytes().await?.to_vec();
        Ok(StoredManifest { digest: sha256(&bytes), json: serde_json::from_slice(&bytes)?, bytes })
    }

    /// Digest of a tag's or digest's manifest.
    pub async fn digest(&self, key: &str) -> Result<Digest> {
        Ok(self.manifest(key).await?.digest)
    }

    /// Manifest for a node of this architecture, from an image or an index.
    pub async fn manifest_for(&self, key: &str, architecture: &str) -> Result<Value> {
        let top = self.manifest(key).await?.json;
        if top["manifests"].is_null() {
            return Ok(top);
        }
        Ok(self.manifest(self.child(key, architecture).await?.as_str()).await?.json)
    }

    /// Digest of an index's manifest for this architecture.
    pub async fn child(&self, key: &str, architecture: &str) -> Result<Digest> {
        let index = self.manifest(key).await?.json;
        let entries = index["manifests"].as_array().context("the image is no index")?;
        let entry = entries.iter().find(|entry| entry["platform"]["architecture"] == architecture);
        let digest = &entry.context("the index has no entry for this architecture")?["digest"];
        Ok(text(digest)?.parse()?)
    }

    /// Whether a blob exists.
    pub async fn has_blob(&self, digest: &str) -> Result<bool> {
        Ok(self.get(&format!("blobs/{digest}")).await?.status() == StatusCode::OK)
    }

    /// Deletes a blob, like a failing disk.
    pub async fn delete_blob(&self, digest: &str) -> Result<()> {
        self.http.delete(format!("{}/blobs/{digest}", self.base)).send().await?.error_for_status()?;
        Ok(())
    }

    /// Blob whose digest and size must match its descriptor.
    pub async fn blob(&self, descriptor: &Value) -> Result<Vec<u8>> {
        let digest = text(&descriptor["digest"])?;
        let response = self.get(&format!("blobs/{digest}")).await?.error_for_status()?;
        let bytes = response.bytes().await?.to_vec();
        ensure!(sha256(&bytes).as_str() == digest, "blob {digest} has other content");
        ensure!(
            Some(bytes.len() as u64) == descriptor["size"].as_u64(),
            "blob {digest} has another size than its descriptor"
        );
        Ok(bytes)
    }

    /// Whether a manifest exists.
    pub async fn has_manifest(&self, key: &str) -> Result<bool> {
        let status = self.get(&format!("manifests/{key}")).await?.status();
        ensure!(
            status == StatusCode::OK || status == StatusCode::NOT_FOUND,
            "unexpected status {status} for manifest {key}"
        );
        Ok(status == StatusCode::OK)
    }

    /// Deletes a manifest, like a registry's garbage collection.
    pub async fn delete_manifest(&self, digest: &str) -> Result<()> {
        let request = self.http.delete(format!("{}/manifests/{digest}", self.base));
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// Deletes a tag and keeps its manifest.
    pub async fn delete_tag(&self, tag: &str) -> Result<()> {
        self.http.delete(format!("{}/manifests/{tag}", self.base)).send().await?.error_for_status()?;
        Ok(())
    }

    /// Puts another tag on a manifest.
    pub async fn tag_manifest(&self, key: &str, tag: &str) -> Result<()> {
        let manifest = self.manifest(key).await?;
        let request = self.http.put(format!("{}/manifests/{tag}", self.base));
        let media_type = text(&manifest.json["mediaType"])?.to_owned();
        request.header(CONTENT_TYPE, media_type).body(manifest.bytes).send().await?.error_for_status()?;
        Ok(())
    }

    /// All tags, sorted.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let response = self.get("tags/list").await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        let list: Value = response.error_for_status()?.json().await?;
        let mut tags: Vec<String> = serde_json::from_value(list["tags"].clone()).unwrap_or_default();
        tags.sort();
        Ok(tags)
    }

    /// Requires that `variant` has the files of `source`: an equal config and number of layers, and each
    /// layer is an OCI zstd blob that unpacks to the config's `diff_id`.
    pub async fn require_same_files(&self, variant: &Value, source: &Value) -> Result<()> {
        ensure!(variant["mediaType"] == media_type::OCI_MANIFEST, "{variant:#}");
        ensure!(variant["config"]["mediaType"] == media_type::OCI_CONFIG, "{variant:#}");
        ensure!(variant["config"]["digest"] == source["config"]["digest"], "{variant:#}");
        let config: Value = serde_json::from_slice(&self.blob(&variant["config"]).await?)?;
        let diff_ids = config["rootfs"]["diff_ids"].as_array().context("the config has no diff_ids")?;
        let layers = layers(variant)?;
        ensure!(
            layers.len() == diff_ids.len(),
            "the variant has {} layers, the config {} diff_ids",
            layers.len(),
            diff_ids.len()
        );
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            ensure!(layer["mediaType"] == media_type::OCI_TAR_ZSTD, "{layer:#}");
            let plain = zstd::decode_all(&self.blob(layer).await?[..])?;
            ensure!(sha256(&plain).as_str() == text(diff_id)?, "{layer:#} doesn't unpack to {diff_id}");
        }
        Ok(())
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

/// Layers of a manifest.
pub fn layers(manifest: &Value) -> Result<&Vec<Value>> {
    manifest["layers"].as_array().context("the manifest has no layers")
}

/// Sum of the layers' sizes.
pub fn layers_size(manifest: &Value) -> Result<i64> {
    Ok(layers(manifest)?.iter().filter_map(|layer| layer["size"].as_i64()).sum())
}

/// Text of a JSON string.
pub fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is no string"))
}
