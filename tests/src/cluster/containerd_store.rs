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
            let stopped = self.remove_stopped_containers(&names);
            let content = self.ctr(&["content", "ls", "-q"])?.contains(&digest);
            if content || self.has_snapshot(&diff_ids)? { stopped.map(|()| None) } else { Ok(Some(())) }
        })
        .await
    }

    /// Removes the containers of these images that don't run. The kubelet misses the end of some containers of deleted
    /// pods, and leaves them to a garbage collection that runs each minute. Fails for a container that runs, and for
    /// one that the kubelet removes at the same time.
    fn remove_stopped_containers(&self, images: &[&str]) -> Result<()> {
        let listed = self.ctr(&["containers", "ls"])?;
        let remove = |container: &str| self.ctr(&["containers", "rm", container]).map(drop);
        let removed: Vec<Result<()>> = containers_of(&listed, images).map(remove).collect();
        removed.into_iter().collect()
    }

    fn image_digest(&self, image: &str) -> Result<String> {
        let listed = self.ctr(&["images", "ls", &format!("name=={image}")])?;
        let fields = listed.lines().nth(1).and_then(|line| line.split_whitespace().nth(2));
        let digest = fields.with_context(|| format!("containerd has no image {image}"))?;
        ensure!(digest.starts_with("sha256:"), "failed to parse the image list of ctr: {listed}");
        Ok(digest.to_owned())
    }
}

/// Ids of the containers of these images in the output of `ctr containers ls`.
fn containers_of<'a>(listed: &'a str, images: &[&str]) -> impl Iterator<Item = &'a str> {
    listed.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (container, image) = (fields.next()?, fields.next()?);
        images.contains(&image).then_some(container)
    })
}

/// Snapshot name of a chain of layers (OCI image specification, `config.md`, "Layer `ChainID`").
fn chain_id(diff_ids: &[Digest]) -> String {
    let mut layers = diff_ids.iter();
    let first = layers.next().map(ToString::to_string).unwrap_or_default();
    layers.fold(first, |chain, layer| Digest::sha256_of(format!("{chain} {layer}").as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_other_images_and_of_none_are_left_alone() {
        let listed = "CONTAINER    IMAGE                  RUNTIME\n\
                      4ef80c28     registry.lab/app:v1    io.containerd.runc.v2\n\
                      5b230c2f     sha256:0123            io.containerd.runc.v2\n\
                      637c949b     registry.lab/app:v12   io.containerd.runc.v2\n\
                      c799653a     -                      io.containerd.runc.v2\n";
        let of_image: Vec<_> = containers_of(listed, &["registry.lab/app:v1", "sha256:0123"]).collect();
        assert_eq!(of_image, ["4ef80c28", "5b230c2f"]);
        assert_eq!(containers_of("CONTAINER    IMAGE    RUNTIME\n", &["IMAGE"]).count(), 0);
    }
}
