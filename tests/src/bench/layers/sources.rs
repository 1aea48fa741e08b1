//! One tree of each kind, compressed by the gzip encoders with which images are built.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::images::real::RealImage;
use crate::tools::{self, Tool};
use crate::{packages, settings};

/// Version of the content. Increase it with each change, so that a cached older file isn't used.
const VERSION: &str = "1";
/// Plain bytes of a tree.
const TREE_BYTES: u64 = 24 << 20;

/// A gzip encoder.
#[derive(Clone, Copy, Debug)]
enum Encoder {
    /// GNU gzip at a level.
    Gzip(&'static str),
    /// pigz at a level.
    Pigz(&'static str),
    /// A library in Go at a level.
    Go(&'static str, &'static str),
    /// zopfli with one iteration.
    Zopfli,
}

/// All encoders, with their names in the table.
const ENCODERS: [(&str, Encoder); 12] = [
    ("gzip -1", Encoder::Gzip("-1")),
    ("gzip -6", Encoder::Gzip("-6")),
    ("gzip -9", Encoder::Gzip("-9")),
    ("pigz -1", Encoder::Pigz("-1")),
    ("pigz -6", Encoder::Pigz("-6")),
    ("Go, stored", Encoder::Go("std", "0")),
    ("Go, fastest", Encoder::Go("std", "1")),
    ("Go, default", Encoder::Go("std", "-1")),
    ("Go, Huffman only", Encoder::Go("std", "-2")),
    ("klauspost, fastest", Encoder::Go("klauspost", "1")),
    ("klauspost, default", Encoder::Go("klauspost", "-1")),
    ("zopfli", Encoder::Zopfli),
];

/// A tree, compressed by one encoder.
pub(super) struct Source {
    pub(super) encoder: &'static str,
    pub(super) gzip: PathBuf,
}

/// The encoders' programs.
pub(super) struct Encoders {
    go: PathBuf,
    pigz: PathBuf,
    zopfli: PathBuf,
}

impl Encoders {
    pub(super) async fn find() -> Result<Self> {
        let go = tools::find(Tool::GoGzip).await?;
        tokio::task::spawn_blocking(move || {
            Ok(Self {
                go,
                pigz: packages::unpacked("pigz", "usr/bin/pigz")?,
                zopfli: packages::unpacked("zopfli", "usr/bin/zopfli")?,
            })
        })
        .await?
    }

    /// A part of a kind's layer as written by every encoder. The first call takes minutes, because zopfli is slow.
    pub(super) fn sources(&self, kind: RealImage, layer: &Path) -> Result<Vec<Source>> {
        let folder =
            settings::cache_folder()?.join("bench-layers").join(format!("{}-{VERSION}", kind.name()));
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let tree = folder.join("tree");
        cached(&tree, |partial| write_tree(layer, partial))?;
        let compress = |(name, encoder): (&'static str, Encoder)| {
            let gzip = folder.join(name.replace(", ", "-").replace(' ', "-")).with_extension("gz");
            cached(&gzip, |partial| self.compress(encoder, &tree, partial))
                .with_context(|| format!("failed to compress with {name}"))?;
            Ok(Source { encoder: name, gzip })
        };
        ENCODERS.into_iter().map(compress).collect()
    }

    fn compress(&self, encoder: Encoder, tree: &Path, target: &Path) -> Result<()> {
        let mut command = match encoder {
            Encoder::Gzip(level) => command(Path::new("gzip"), &["-n", level]),
            Encoder::Pigz(level) => command(&self.pigz, &["-n", level]),
            Encoder::Go(library, level) => command(&self.go, &[library, level]),
            Encoder::Zopfli => {
                let mut command = command(&self.zopfli, &["-c", "--i1"]);
                command.arg(tree);
                command
            }
        };
        let status = command.stdin(File::open(tree)?).stdout(File::create(target)?).status();
        let status = status.with_context(|| format!("failed to start {command:?}"))?;
        ensure!(status.success(), "{command:?} ended with {status}");
        Ok(())
    }
}

fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stderr(Stdio::inherit());
    command
}

/// Writes a part of a layer's plain bytes: its second third, or the first bytes of it.
fn write_tree(layer: &Path, target: &Path) -> Result<()> {
    let open =
        || -> Result<_> { Ok(flate2::bufread::MultiGzDecoder::new(io::BufReader::new(File::open(layer)?))) };
    let plain = io::copy(&mut open()?, &mut io::sink())?;
    let mut part = open()?;
    io::copy(&mut part.by_ref().take(plain / 3), &mut io::sink())?;
    io::copy(&mut part.take(TREE_BYTES.min(plain / 3)), &mut File::create(target)?)?;
    Ok(())
}

/// Creates a file, unless it exists. The file appears when it is complete.
fn cached(path: &Path, create: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if !path.is_file() {
        let partial = path.with_extension("partial");
        create(&partial)?;
        fs::rename(&partial, path)?;
    }
    Ok(())
}
