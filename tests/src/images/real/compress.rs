//! Compresses folders into gzip layers and writes an image of them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use zstart_core::Digest;
use zstart_oci::{RawManifest, media_type};
use zstart_registry::{LayoutFolder, Store as _};

use super::TAG;

/// A compressed layer.
pub(super) struct CompressedLayer {
    digest: Digest,
    diff_id: Digest,
    size: u64,
}

/// Compresses a folder into a gzip layer of a layout.
pub(super) fn compress(folder: &Path, layout: &Path) -> Result<CompressedLayer> {
    let mut tar = Command::new("tar")
        .args(["--create", "--sort=name", "--numeric-owner", "--owner=0", "--group=0", "--mtime=@0"])
        // The runtime creates device nodes, and downloaded packages are no longer needed.
        .args(["--exclude=./dev/*", "--exclude=./var/cache/apt/archives/*.deb"])
        .arg("--directory")
        .arg(folder)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start tar")?;
    let mut plain = tar.stdout.take().context("tar has an output")?;
    let partial = layout.join("partial");
    let file = HashingWriter::new(BufWriter::new(File::create(&partial)?));
    let mut encoder = GzEncoder::new(file, flate2::Compression::default());
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = plain.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        encoder.write_all(&buffer[..count])?;
    }
    ensure!(tar.wait()?.success(), "tar failed on {}", folder.display());
    let mut file = encoder.finish()?;
    file.flush()?;
    let digest = Digest::from_sha256(file.hash.finalize().into());
    fs::rename(&partial, layout.join("blobs/sha256").join(digest.hex()))?;
    Ok(CompressedLayer { digest, diff_id: Digest::from_sha256(hash.finalize().into()), size: file.count })
}

pub(super) async fn write_manifest(
    layout: &Path,
    command: &[&str],
    layers: &[CompressedLayer],
) -> Result<()> {
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    let config = serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": command, "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))?;
    let config_digest = Digest::sha256_of(&config);
    fs::write(layout.join("blobs/sha256").join(config_digest.hex()), &config)?;
    let layers = layers.iter().map(
        |layer| json!({"mediaType": media_type::DOCKER_TAR_GZIP, "digest": layer.digest, "size": layer.size}),
    );
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::DOCKER_MANIFEST,
        "config": {"mediaType": media_type::DOCKER_CONFIG, "digest": config_digest, "size": config.len()},
        "layers": layers.collect::<Vec<_>>(),
    });
    let manifest = RawManifest::new(serde_json::to_vec(&manifest)?.into());
    LayoutFolder::new(layout)
        .put_manifest(&manifest, media_type::DOCKER_MANIFEST, Some(&TAG.parse()?))
        .await?;
    Ok(())
}

/// Hashes and counts the bytes written through it.
struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
    count: u64,
}

impl<W: Write> HashingWriter<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), count: 0 }
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
