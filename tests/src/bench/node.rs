//! Speed at which nodes unpack layers: containerd's own code with each of its decoders, and this machine's zlib-rs and
//! libzstd. `zstart tune` multiplies its measurements by the ratios (`zstart_tune::Node`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;
use zstart_codec::{LayerConverter as _, LayerLimits, ZstdConverter, compression};
use zstart_convert::Level;

use super::{floor, median};
use crate::packages;
use crate::process::run;
use crate::tools::{self, Tool};

/// A way to decode the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Decoder {
    /// zlib-rs, on one thread of this process.
    ZlibRs,
    /// Go's gzip decoder in containerd.
    GoGzip,
    /// `unpigz`, which containerd runs if it is installed.
    Pigz,
    /// `igzip`, which containerd runs if it is installed.
    Igzip,
    /// libzstd, on one thread of this process.
    Libzstd,
    /// Go's zstd decoder in containerd.
    GoZstd,
}

/// Times of all decoders for the same layers.
pub(super) struct NodeSpeeds {
    /// Size of all layers uncompressed, in bytes.
    pub(super) uncompressed: u64,
    /// Medians.
    pub(super) times: BTreeMap<Decoder, Duration>,
}

impl Decoder {
    const ALL: [Self; 6] = [Self::ZlibRs, Self::GoGzip, Self::Pigz, Self::Igzip, Self::Libzstd, Self::GoZstd];

    /// Name in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ZlibRs => "zlib-rs",
            Self::GoGzip => "containerd, gzip",
            Self::Pigz => "containerd, unpigz",
            Self::Igzip => "containerd, igzip",
            Self::Libzstd => "libzstd",
            Self::GoZstd => "containerd, zstd",
        }
    }

    /// Decoder of this process that `zstart tune` measures for the same compression.
    pub(super) fn own(self) -> Self {
        match self {
            Self::Libzstd | Self::GoZstd => Self::Libzstd,
            Self::ZlibRs | Self::GoGzip | Self::Pigz | Self::Igzip => Self::ZlibRs,
        }
    }

    fn is_own(self) -> bool {
        self == self.own()
    }
}

/// The program with containerd's code, and what it needs for each decoder.
pub(super) struct NodeDecode {
    program: PathBuf,
    unpigz: PathBuf,
    igzip: PathBuf,
    libisal: PathBuf,
}

impl NodeDecode {
    pub(super) async fn find() -> Result<Self> {
        let program = tools::find(Tool::Decode).await?;
        // An installed package would change the decoder of the lab's containerd.
        let library = format!("usr/lib/{}-linux-gnu/libisal.so.2", std::env::consts::ARCH);
        tokio::task::spawn_blocking(move || {
            Ok(Self {
                program,
                unpigz: packages::unpacked("pigz", "usr/bin/unpigz")?,
                igzip: packages::unpacked("isal", "usr/bin/igzip")?,
                libisal: packages::unpacked("libisal2", &library)?,
            })
        })
        .await?
    }

    /// Uncompressed bytes of all layers, and the time that containerd's code takes for them.
    pub(super) fn decode(&self, decoder: Decoder, layers: &[PathBuf]) -> Result<(u64, Duration)> {
        let mut command = Command::new(&self.program);
        command.env_clear().args(layers);
        let folder = |file: &Path| file.parent().map(Path::to_owned).unwrap_or_default();
        match decoder {
            Decoder::Pigz => command.env("PATH", folder(&self.unpigz)).env("CONTAINERD_DISABLE_IGZIP", "1"),
            Decoder::Igzip => {
                command.env("PATH", folder(&self.igzip)).env("LD_LIBRARY_PATH", folder(&self.libisal))
            }
            _ => command.env("CONTAINERD_DISABLE_IGZIP", "1").env("CONTAINERD_DISABLE_PIGZ", "1"),
        };
        let printed = run(&mut command)?;
        let (mut bytes, mut seconds) = (0, 0.0);
        for line in printed.lines() {
            let (count, took) = line.split_once(' ').with_context(|| format!("no result: {line:?}"))?;
            bytes += count.parse::<u64>()?;
            seconds += took.parse::<f64>()?;
        }
        Ok((bytes, Duration::from_secs_f64(seconds)))
    }
}

/// Measures all decoders in turns, with the layers of an OCI layout folder as gzip and at a level of zstd.
pub(super) async fn measure(layout: &Path, level: i32, rounds: usize) -> Result<NodeSpeeds> {
    let (node, layout) = (NodeDecode::find().await?, layout.to_owned());
    tokio::task::spawn_blocking(move || {
        let work = TempDir::with_prefix("zstart-bench-")?;
        let gzip = floor::layer_files(&layout)?;
        let zstd = convert_all(&gzip, work.path(), level)?;
        let mut times: BTreeMap<Decoder, Vec<Duration>> = BTreeMap::new();
        let mut sizes = Vec::new();
        for _ in 0..rounds {
            for decoder in Decoder::ALL {
                let layers = if decoder.own() == Decoder::Libzstd { &zstd } else { &gzip };
                let (bytes, took) =
                    if decoder.is_own() { decode_here(layers)? } else { node.decode(decoder, layers)? };
                sizes.push(bytes);
                times.entry(decoder).or_default().push(took);
            }
        }
        let uncompressed = sizes[0];
        ensure!(sizes.iter().all(|size| *size == uncompressed), "the decoders disagree: {sizes:?}");
        let times = times.into_iter().map(|(decoder, times)| (decoder, median(times))).collect();
        Ok(NodeSpeeds { uncompressed, times })
    })
    .await?
}

/// Converts layers to zstd files.
fn convert_all(layers: &[PathBuf], folder: &Path, level: i32) -> Result<Vec<PathBuf>> {
    let converter = ZstdConverter::new(Level::try_from(level)?);
    let convert = |(index, layer): (usize, &PathBuf)| {
        let compressed_size = fs::metadata(layer)?.len();
        let limits = LayerLimits { compressed_size, max_uncompressed: u64::MAX };
        let path = folder.join(index.to_string());
        let mut target = BufWriter::new(File::create(&path)?);
        converter.convert(&mut BufReader::new(File::open(layer)?), &mut target, limits)?;
        target.into_inner()?;
        Ok(path)
    };
    layers.iter().enumerate().map(convert).collect()
}

/// Decodes layers as `zstart tune` does. Returns the uncompressed bytes and the processor time.
pub(super) fn decode_here(layers: &[PathBuf]) -> Result<(u64, Duration)> {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime));
    let started = now()?;
    let mut bytes = 0;
    for layer in layers {
        let mut source = BufReader::with_capacity(64 * 1024, File::open(layer)?);
        let (compression, mut source) = compression::detect(&mut source)?;
        compression.decode(&mut source, |part| {
            bytes += part.len() as u64;
            Ok(())
        })?;
    }
    Ok((bytes, now()?.saturating_sub(started)))
}
