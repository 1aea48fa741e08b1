//! A large real image: a Debian tree with Python, scientific packages, and a program that uses them.
//!
//! Built once into the cache, by the tools that people build such layers with (debootstrap, pip,
//! tar), packed with gzip at its default level.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use flate2::write::GzEncoder;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use zstart_convert::image::{RawManifest, media_type};
use zstart_convert::{LayoutFolder, Repository as _};
use zstart_core::{Digest, units};

use crate::packages;
use crate::process::run;
use crate::settings;

/// Changes when the content does, so that an older image isn't taken for it.
const VERSION: &str = "2";
/// The tag under which the image stands in its layout folder.
pub const TAG: &str = "v1";
/// Debian 12: its Python is 3.11, for which the wheels are chosen.
const SUITE: &str = "bookworm";
/// What most such images have, as one layer.
const NUMERICS: [&str; 4] = ["numpy==2.0.2", "scipy==1.15.3", "pandas==2.2.3", "scikit-learn==1.6.1"];
/// What this one adds, as another; what these need is in the layer below.
const ANALYTICS: [&str; 5] = [
    "pyarrow==17.0.0",
    "polars==1.9.0",
    "opencv-python-headless==4.10.0.84",
    "numba==0.60.0",
    "llvmlite==0.43.0",
];
/// What a pod of this image runs: it is started when it has imported everything.
const PROGRAM: &str = "\
import signal, sys, time
import numba, numpy, pandas, polars, pyarrow, scipy, sklearn
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
frame = pandas.DataFrame(numpy.eye(3) @ numpy.arange(9).reshape(3, 3))
print('ready', frame.sum().sum(), 'with scipy', scipy.__version__, 'and scikit-learn', sklearn.__version__, flush=True)
while True:
    time.sleep(3600)
";

/// A layer of the image, packed.
struct Packed {
    digest: Digest,
    diff_id: Digest,
    size: u64,
}

/// The layout folder that holds the image, built if it isn't there yet.
///
/// The Debian tree needs root; without, the image has the other layers: enough to convert, not
/// to run.
#[expect(clippy::print_stderr, reason = "the first build takes minutes and must say so")]
pub async fn layout() -> Result<PathBuf> {
    let with_tree = settings::is_root();
    let kind = if with_tree { "python" } else { "python-packages-only" };
    let folder = settings::cache_folder()?.join("images").join(format!("{kind}-{VERSION}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let parent = folder.parent().context("the cache has a parent folder")?.to_owned();
    fs::create_dir_all(&parent)?;
    eprintln!("==> building the image from Debian and Python packages (once; 2 to 3 minutes on 2 cores)");
    let started = Instant::now();
    let work = tempfile::Builder::new().prefix(".image-").tempdir_in(&parent)?;
    let building = work.path().to_owned();
    let (layers, layout) = tokio::task::spawn_blocking(move || build_layers(&building, with_tree)).await??;
    write_manifest(&layout, &layers).await?;
    fs::rename(&layout, &folder)?;
    eprintln!("    image built in {}", units::duration(started.elapsed()));
    Ok(folder)
}

fn build_layers(work: &Path, with_tree: bool) -> Result<(Vec<Packed>, PathBuf)> {
    let layout = work.join("layout");
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let mut layers = Vec::new();
    if with_tree {
        packages::require(&packages::IMAGE)?;
        let tree = work.join("tree");
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.args(["--variant=minbase", "--include=python3", SUITE]).arg(&tree);
        run(&mut debootstrap).context("failed to make a Debian tree")?;
        layers.push(pack(&tree, &layout)?);
    }
    if run(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
        packages::require(&["python3-pip"])?;
    }
    let numerics = work.join("numerics");
    install_wheels(&numerics, &NUMERICS, &[])?;
    layers.push(pack(&numerics, &layout)?);
    let analytics = work.join("analytics");
    install_wheels(&analytics, &ANALYTICS, &["--no-deps"])?;
    layers.push(pack(&analytics, &layout)?);
    let app = work.join("app/app");
    fs::create_dir_all(&app)?;
    fs::write(app.join("main.py"), PROGRAM)?;
    layers.push(pack(&work.join("app"), &layout)?);
    Ok((layers, layout))
}

/// Installs Python packages where Debian's Python looks for local ones.
fn install_wheels(root: &Path, wheels: &[&str], more: &[&str]) -> Result<()> {
    let site = root.join("usr/local/lib/python3.11/dist-packages");
    fs::create_dir_all(&site)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]);
    pip.args(["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--only-binary=:all:"]);
    pip.args(["--platform=manylinux2014_x86_64", "--platform=manylinux_2_28_x86_64"]);
    pip.args(["--platform=manylinux_2_17_x86_64", "--platform=manylinux_2_24_x86_64"]);
    run(pip.args(more).arg("--target").arg(&site).args(wheels))
        .context("failed to install Python packages")?;
    Ok(())
}

/// Packs a folder as a gzip layer into a layout.
fn pack(folder: &Path, layout: &Path) -> Result<Packed> {
    let mut tar = Command::new("tar")
        .args(["--create", "--sort=name", "--numeric-owner", "--owner=0", "--group=0", "--mtime=@0"])
        // Device nodes are the runtime's to make, and downloaded packages have done their service.
        .args(["--exclude=./dev/*", "--exclude=./var/cache/apt/archives/*.deb"])
        .arg("--directory")
        .arg(folder)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start tar")?;
    let mut plain = tar.stdout.take().context("tar has an output")?;
    let partial = layout.join("partial");
    let file = Hashing::new(BufWriter::new(File::create(&partial)?));
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
    Ok(Packed { digest, diff_id: Digest::from_sha256(hash.finalize().into()), size: file.count })
}

async fn write_manifest(layout: &Path, layers: &[Packed]) -> Result<()> {
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    let config = serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["python3", "/app/main.py"], "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
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

/// Hashes and counts what goes through.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    count: u64,
}

impl<W: Write> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), count: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
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
