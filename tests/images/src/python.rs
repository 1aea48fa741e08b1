//! Debian's Python with scientific packages, and a program that uses them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::run;
use crate::compress::{CompressedLayer, compress};
use crate::debian;
use crate::packages;

/// Command of a pod of this image.
pub(super) const COMMAND: [&str; 2] = ["python3", "/app/main.py"];
/// Packages of most such images, as one layer.
const NUMERICS: [&str; 4] = ["numpy==2.0.2", "scipy==1.15.3", "pandas==2.2.3", "scikit-learn==1.6.1"];
/// Packages of this image, as another layer; their dependencies are in the layer below.
const ANALYTICS: [&str; 5] = [
    "pyarrow==17.0.0",
    "polars==1.9.0",
    "opencv-python-headless==4.10.0.84",
    "numba==0.60.0",
    "llvmlite==0.43.0",
];
/// Program of a pod of this image: imports everything, then prints "ready".
const PROGRAM: &str = "\
import signal, sys, time
import numba, numpy, pandas, polars, pyarrow, scipy, sklearn
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
frame = pandas.DataFrame(numpy.eye(3) @ numpy.arange(9).reshape(3, 3))
print('ready', frame.sum().sum(), 'with scipy', scipy.__version__, 'and scikit-learn', sklearn.__version__, flush=True)
while True:
    time.sleep(3600)
";

/// Program of a pod of the interpreter's image: imports modules with C parts of their own, then prints "ready".
const SMALL_PROGRAM: &str = "\
import ctypes, decimal, hashlib, json, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print('ready', decimal.Decimal(1) / 7, hashlib.sha256(b'').hexdigest(), flush=True)
while True:
    time.sleep(3600)
";

/// Layers of the interpreter's image: Debian's Python and a program. Needs root.
pub(super) fn interpreter_layers(work: &Path, layout: &Path) -> Result<Vec<CompressedLayer>> {
    Ok(vec![debian::layer(work, layout, &["python3"])?, program_layer(work, layout, SMALL_PROGRAM)?])
}

/// Layers of the image. The Debian tree needs root; without it the image can be converted but not run.
pub(super) fn layers(work: &Path, layout: &Path, with_tree: bool) -> Result<Vec<CompressedLayer>> {
    let mut layers = Vec::new();
    if with_tree {
        layers.push(debian::layer(work, layout, &["python3"])?);
    }
    require_pip()?;
    let numerics = work.join("numerics");
    install_wheels(&numerics, &NUMERICS, &[])?;
    layers.push(compress(&numerics, layout)?);
    let analytics = work.join("analytics");
    install_wheels(&analytics, &ANALYTICS, &["--no-deps"])?;
    layers.push(compress(&analytics, layout)?);
    layers.push(program_layer(work, layout, PROGRAM)?);
    Ok(layers)
}

fn program_layer(work: &Path, layout: &Path, program: &str) -> Result<CompressedLayer> {
    let app = work.join("app/app");
    fs::create_dir_all(&app)?;
    fs::write(app.join("main.py"), program)?;
    compress(&work.join("app"), layout)
}

/// A layer of packages that aren't unpacked: compressed files.
pub(super) fn wheel_layers(work: &Path, layout: &Path) -> Result<Vec<CompressedLayer>> {
    require_pip()?;
    let root = work.join("wheels");
    let wheels = root.join("srv/wheels");
    fs::create_dir_all(&wheels)?;
    let mut pip = pip("download");
    pip.arg("--no-deps").arg("--dest").arg(&wheels).args(NUMERICS).args(ANALYTICS);
    run(&mut pip).context("failed to download Python packages")?;
    Ok(vec![compress(&root, layout)?])
}

/// Installs Python packages into the folder of Debian's local packages.
fn install_wheels(root: &Path, wheels: &[&str], more: &[&str]) -> Result<()> {
    let site = root.join("usr/local/lib/python3.11/dist-packages");
    fs::create_dir_all(&site)?;
    let mut pip = pip("install");
    pip.arg("--root-user-action=ignore");
    run(pip.args(more).arg("--target").arg(&site).args(wheels))
        .context("failed to install Python packages")?;
    Ok(())
}

fn require_pip() -> Result<()> {
    if run(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
        packages::require(&["python3-pip"])?;
    }
    Ok(())
}

/// A pip command for wheels of Debian's Python.
fn pip(command: &str) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", command, "--quiet", "--disable-pip-version-check"]);
    pip.args(["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--only-binary=:all:"]);
    pip.args(["--platform=manylinux2014_x86_64", "--platform=manylinux_2_28_x86_64"]);
    pip.args(["--platform=manylinux_2_17_x86_64", "--platform=manylinux_2_24_x86_64"]);
    pip
}
