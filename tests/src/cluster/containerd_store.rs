//! containerd's content and snapshots of an image.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use zstart_core::Digest;

use super::Cluster;
use crate::wait;

/// Time limit for containerd to collect an image. Containers and leases must end first.
const CLEAN_WITHIN: Duration = Duration::from_mins(2);

impl Cluster {
    /// File of a blob in containerd's content store.
    pub fn content(&self, digest: &Digest) -> PathBuf {
        let store = self.folder().join("containerd/io.containerd.content.v1.content/blobs");
        store.join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// Blob parsed as JSON.
    pub fn content_json(&self, digest: &Digest) -> Result<Value> {
        let bytes = std::fs::read(self.content(digest));
        let bytes = bytes.with_context(|| format!("containerd has no content {digest}"))?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Digests of an image's uncompressed layers, found through its manifest.
    pub fn diff_ids(&self, manifest: &Digest) -> Result<Vec<Digest>> {
        let manifest = self.content_json(manifest)?;
        let config = manifest["config"]["digest"].as_str().context("the manifest has no config")?;
        let config = self.content_json(&config.parse()?)?;
        Ok(serde_json::from_value(config["rootfs"]["diff_ids"].clone())?)
    }

    /// Whether containerd has unpacked layers with these `diff_ids`.
    pub fn has_snapshot(&self, diff_ids: &[Digest]) -> Result<bool> {
        Ok(self.ctr(&["snapshots", "ls"])?.contains(&chain_id(diff_ids)))
    }

    /// Removes an image from containerd with its content and snapshots, so that the next pull starts from
    /// nothing. The containers that used the image must be terminating.
    pub async fn remove_image(&self, image: &str) -> Result<()> {
        // containerd names an image pulled by tag and digest by its digest alone.
        let digest = match image.split_once('@') {
            Some((_, digest)) => digest.to_owned(),
            None => self.image_digest(image)?,
        };
        let diff_ids = self.diff_ids(&digest.parse()?)?;
        // The kubelet's containerd also names an image by digest and by config digest.
        let listed = self.ctr(&["images", "ls", "-q"])?;
        let is_name = |name: &&str| self.image_digest(name).is_ok_and(|other| other == digest);
        let names: Vec<&str> = listed.lines().filter(is_name).collect();
        for name in &names {
            self.ctr(&["images", "rm", "--sync", name])?;
        }
        wait::until(format!("containerd to remove {image}"), CLEAN_WITHIN, || async {
            self.remove_ended_containers(&names)?;
            let content = self.ctr(&["content", "ls", "-q"])?.contains(&digest);
            Ok((!content && !self.has_snapshot(&diff_ids)?).then_some(()))
        })
        .await
    }

    /// Removes the ended containers of these images. The kubelet misses the end of some containers of deleted pods, and
    /// leaves them to a collection of garbage that runs each minute.
    fn remove_ended_containers(&self, images: &[&str]) -> Result<()> {
        let listed = self.ctr(&["containers", "ls"])?;
        let containers = listed.lines().skip(1).filter_map(|line| {
            let mut fields = line.split_whitespace();
            Some((fields.next()?, fields.next()?))
        });
        for (container, _) in containers.filter(|(_, image)| images.contains(image)) {
            // Fails while the container runs, or if the kubelet is faster.
            let _ = self.ctr(&["containers", "rm", container]);
        }
        Ok(())
    }

    fn image_digest(&self, image: &str) -> Result<String> {
        let listed = self.ctr(&["images", "ls", &format!("name=={image}")])?;
        let fields = listed.lines().nth(1).and_then(|line| line.split_whitespace().nth(2));
        let digest = fields.with_context(|| format!("containerd has no image {image}"))?;
        ensure!(digest.starts_with("sha256:"), "failed to parse the image list of ctr: {listed}");
        Ok(digest.to_owned())
    }
}

/// Snapshot name of a chain of layers (OCI image specification, `config.md`, "Layer `ChainID`").
fn chain_id(diff_ids: &[Digest]) -> String {
    let mut layers = diff_ids.iter();
    let first = layers.next().map(ToString::to_string).unwrap_or_default();
    layers.fold(first, |chain, layer| Digest::sha256_of(format!("{chain} {layer}").as_bytes()).to_string())
}
