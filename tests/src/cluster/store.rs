//! What containerd has of an image: its content and its snapshots.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use zstart_core::Digest;

use super::Cluster;
use crate::wait;

/// How long containerd may take to collect an image: it waits for containers and leases to go.
const CLEAN_WITHIN: Duration = Duration::from_mins(2);

impl Cluster {
    /// The file that holds some content in containerd's store.
    pub fn content(&self, digest: &Digest) -> PathBuf {
        let store = self.folder().join("containerd/io.containerd.content.v1.content/blobs");
        store.join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// Content that is JSON.
    pub fn content_json(&self, digest: &Digest) -> Result<Value> {
        let bytes = std::fs::read(self.content(digest));
        let bytes = bytes.with_context(|| format!("containerd does not have {digest}"))?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// The digests of an image's uncompressed layers, by its manifest.
    pub fn diff_ids(&self, manifest: &Digest) -> Result<Vec<Digest>> {
        let manifest = self.content_json(manifest)?;
        let config = manifest["config"]["digest"].as_str().context("the manifest names a config")?;
        let config = self.content_json(&config.parse()?)?;
        Ok(serde_json::from_value(config["rootfs"]["diff_ids"].clone())?)
    }

    /// Whether containerd has unpacked layers with these `diff_ids`.
    pub fn has_snapshot(&self, diff_ids: &[Digest]) -> Result<bool> {
        Ok(self.ctr(&["snapshots", "ls"])?.contains(&chain_id(diff_ids)))
    }

    /// Removes an image from containerd with all its content and snapshots, so that the next pull
    /// starts from nothing. The containers that used it must be on their way out.
    pub async fn forget_image(&self, image: &str) -> Result<()> {
        // An image asked for by tag and digest is named by its digest alone.
        let digest = match image.split_once('@') {
            Some((_, digest)) => digest.to_owned(),
            None => self.image_digest(image)?,
        };
        let diff_ids = self.diff_ids(&digest.parse()?)?;
        // The kubelet's containerd also names an image by digest and by config digest.
        for name in self.ctr(&["images", "ls", "-q"])?.lines() {
            if self.image_digest(name).is_ok_and(|other| other == digest) {
                self.ctr(&["images", "rm", "--sync", name])?;
            }
        }
        wait::until(format!("containerd to forget {image}"), CLEAN_WITHIN, || async {
            let content = self.ctr(&["content", "ls", "-q"])?.contains(&digest);
            Ok((!content && !self.has_snapshot(&diff_ids)?).then_some(()))
        })
        .await
    }

    fn image_digest(&self, image: &str) -> Result<String> {
        let listed = self.ctr(&["images", "ls", &format!("name=={image}")])?;
        let fields = listed.lines().nth(1).and_then(|line| line.split_whitespace().nth(2));
        let digest = fields.with_context(|| format!("containerd has no image {image}"))?;
        ensure!(digest.starts_with("sha256:"), "ctr printed something else than images: {listed}");
        Ok(digest.to_owned())
    }
}

/// The name of the snapshot of all these layers (OCI image specification, `config.md`, "Layer
/// `ChainID`").
fn chain_id(diff_ids: &[Digest]) -> String {
    let mut layers = diff_ids.iter();
    let first = layers.next().map(ToString::to_string).unwrap_or_default();
    layers.fold(first, |chain, layer| Digest::sha256_of(format!("{chain} {layer}").as_bytes()).to_string())
}
