//! Compresses folders into gzip layers and writes an image of them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::TAG;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// A compressed layer. Digests are in hexadecimal.
pub(super) struct CompressedLayer {
    digest: String,
    diff_id: String,
    size: u64,
}

/// Compresses a folder into a gzip layer of a layout.
pub(super) fn compress(folder: &Path, layout: &Path) -> Result<CompressedLayer> {
    let mut tar = Command::new("tar")
        .args(["--create", "--sort=name", "--numeric-owner", "--owner=0", "--group=0", "--mtime=@0"])
        // The runtime creates device nodes.
        .arg("--exclude=./dev/*")
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
    let digest = hex(file.hash);
    fs::rename(&partial, layout.join("blobs/sha256").join(&digest))?;
    Ok(CompressedLayer { digest, diff_id: hex(hash), size: file.count })
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Writes config, manifest and index of a layout whose layers are there (OCI image layout).
pub(super) fn write_image(layout: &Path, command: &[&str], layers: &[CompressedLayer]) -> Result<()> {
    let diff_ids = layers.iter().map(|layer| format!("sha256:{}", layer.diff_id));
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": command, "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids.collect::<Vec<_>>()},
    });
    let config = write_blob(layout, CONFIG, &config)?;
    let layers = layers.iter().map(|layer| {
        let digest = format!("sha256:{}", layer.digest);
        json!({"mediaType": LAYER, "digest": digest, "size": layer.size})
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers.collect::<Vec<_>>(),
    });
    let mut manifest = write_blob(layout, MANIFEST, &manifest)?;
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": TAG});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    Ok(())
}

/// Writes a document as a blob. Returns its descriptor.
fn write_blob(layout: &Path, media_type: &str, document: &Value) -> Result<Value> {
    let bytes = serde_json::to_vec(document)?;
    let digest = hex(Sha256::new_with_prefix(&bytes));
    fs::write(layout.join("blobs/sha256").join(&digest), &bytes)?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
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
