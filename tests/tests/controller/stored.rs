//! What the registry really holds, read with plain requests past the gateway.

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use http::header::ACCEPT;
use serde_json::Value;
use zstart_convert::image::media_type;
use zstart_core::Digest;
use zstart_tests::registry::Registry;

/// One repository.
pub(crate) struct Stored {
    base: String,
    http: reqwest::Client,
}

impl Stored {
    pub(crate) fn new(registry: &Registry, repository: &str) -> Self {
        Self { base: format!("http://{}/v2/{repository}", registry.host()), http: reqwest::Client::new() }
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response> {
        let request = self.http.get(format!("{}/{path}", self.base));
        Ok(request.header(ACCEPT, media_type::ACCEPT.join(", ")).send().await?)
    }

    /// All tags.
    pub(crate) async fn tags(&self) -> Result<Vec<String>> {
        let answer = self.get("tags/list").await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        let list: Value = answer.error_for_status()?.json().await?;
        let mut tags: Vec<String> = serde_json::from_value(list["tags"].clone()).unwrap_or_default();
        tags.sort();
        Ok(tags)
    }

    /// The digest of what stands under a tag or digest.
    pub(crate) async fn digest(&self, key: &str) -> Result<Digest> {
        let answer = self.get(&format!("manifests/{key}")).await?.error_for_status()?;
        Ok(Digest::sha256_of(&answer.bytes().await?))
    }

    /// The digests of a manifest's layers.
    pub(crate) async fn layers(&self, key: &str) -> Result<Vec<String>> {
        let answer = self.get(&format!("manifests/{key}")).await?.error_for_status()?;
        let manifest: Value = answer.json().await?;
        let layers = manifest["layers"].as_array().context("layers")?;
        layers.iter().map(|layer| Ok(layer["digest"].as_str().context("a digest")?.to_owned())).collect()
    }

    /// Whether there is a blob.
    pub(crate) async fn has_blob(&self, digest: &str) -> Result<bool> {
        Ok(self.get(&format!("blobs/{digest}")).await?.status() == StatusCode::OK)
    }

    /// Deletes a blob, as a disk that fails does.
    pub(crate) async fn delete_blob(&self, digest: &str) -> Result<()> {
        self.http.delete(format!("{}/blobs/{digest}", self.base)).send().await?.error_for_status()?;
        Ok(())
    }

    /// Deletes a manifest, and so its tags.
    pub(crate) async fn delete(&self, digest: &Digest) -> Result<()> {
        self.http.delete(format!("{}/manifests/{digest}", self.base)).send().await?.error_for_status()?;
        Ok(())
    }

    /// The manifest that a node of this architecture runs, of an image or an index.
    pub(crate) async fn manifest(&self, key: &str, architecture: &str) -> Result<Value> {
        let top: Value = self.get(&format!("manifests/{key}")).await?.error_for_status()?.json().await?;
        let Some(entries) = top["manifests"].as_array() else { return Ok(top) };
        let entry = entries.iter().find(|entry| entry["platform"]["architecture"] == architecture);
        let digest = text(&entry.context("no such platform")?["digest"])?;
        Ok(self.get(&format!("manifests/{digest}")).await?.error_for_status()?.json().await?)
    }

    /// A blob, which must be what its descriptor says.
    async fn blob(&self, descriptor: &Value) -> Result<Vec<u8>> {
        let digest = text(&descriptor["digest"])?;
        let bytes = self.get(&format!("blobs/{digest}")).await?.error_for_status()?.bytes().await?;
        ensure!(Digest::sha256_of(&bytes).as_str() == digest, "blob {digest} holds something else");
        ensure!(Some(bytes.len() as u64) == descriptor["size"].as_u64(), "{digest} has another size");
        Ok(bytes.to_vec())
    }

    /// That a manifest runs the very files of `source`, from zstd layers.
    pub(crate) async fn require_variant(&self, manifest: &Value, source: &Value) -> Result<()> {
        ensure!(manifest["config"]["digest"] == source["config"]["digest"], "{manifest:#}");
        let config: Value = serde_json::from_slice(&self.blob(&manifest["config"]).await?)?;
        let diff_ids = config["rootfs"]["diff_ids"].as_array().context("no diff_ids")?;
        let layers = layers(manifest)?;
        ensure!(layers.len() == diff_ids.len(), "{} layers", layers.len());
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            ensure!(layer["mediaType"] == media_type::OCI_TAR_ZSTD, "{layer:#}");
            let plain = zstd::decode_all(&self.blob(layer).await?[..])?;
            ensure!(Digest::sha256_of(&plain).as_str() == text(diff_id)?, "{layer:#} isn't {diff_id}");
        }
        Ok(())
    }
}

/// A manifest's layers.
pub(crate) fn layers(manifest: &Value) -> Result<&Vec<Value>> {
    manifest["layers"].as_array().context("no layers")
}

/// The sum of its layers' sizes.
pub(crate) fn layers_size(manifest: &Value) -> Result<i64> {
    Ok(layers(manifest)?.iter().filter_map(|layer| layer["size"].as_i64()).sum())
}

/// A JSON string's text.
pub(crate) fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is not text"))
}
