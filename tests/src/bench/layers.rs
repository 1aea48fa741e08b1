//! `make bench-layers`: converts layers of several kinds, one at a time and on one thread, with zstd's levels and with
//! the transcoder, and decodes the results. Then it compares the transcoder with level 3 for one tree of each kind
//! that several gzip encoders compressed.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use zstart_transcode::Hints;

use self::method::Method;
use self::sources::{Encoders, Source};
use super::measure::{Usage, measure};
use super::node::{Decoder, NodeDecode, decode_here};
use crate::images::real::RealImage;

mod kinds;
mod method;
mod sources;
mod table;

pub(in crate::bench) use method::convert;

/// Conversions by each method, and decodings of each result. The fastest one counts: other work on the machine only
/// adds time.
const ROUNDS: usize = 3;
/// Number of bytes in which `auto` looks for its hints.
const START_BYTES: u64 = 1 << 20;

/// Times in which a file is decoded.
#[derive(Clone, Copy)]
struct DecodeTimes {
    /// Processor time of zlib-rs or libzstd.
    own: Duration,
    /// Wall time of Go's decoder in containerd.
    go: Duration,
}

impl DecodeTimes {
    fn keep_fastest(&mut self, times: Self) {
        *self = Self { own: self.own.min(times.own), go: self.go.min(times.go) };
    }
}

/// One method's results for a layer.
struct Row {
    method: Method,
    usage: Usage,
    /// The zstd frame, until all rounds are over.
    file: PathBuf,
    /// Size of the zstd frame in bytes.
    frame: u64,
    decode: DecodeTimes,
}

/// Results for a layer.
struct Layer {
    kind: RealImage,
    /// Size of the gzip file in bytes.
    gzip: u64,
    /// Number of uncompressed bytes.
    plain: u64,
    gzip_decode: DecodeTimes,
    rows: Vec<Row>,
}

/// Results for a tree that one encoder compressed.
struct SourceRow {
    encoder: &'static str,
    /// Size of the gzip file in bytes.
    gzip: u64,
    hints: Hints,
    level_3: (Usage, u64),
    transcode: (Usage, u64),
}

/// Measures all kinds of layers, and prints each table when it is complete.
#[expect(clippy::print_stdout, reason = "this is a command line")]
pub(super) async fn run() -> Result<()> {
    let (node, encoders) = (NodeDecode::find().await?, Encoders::find().await?);
    for kind in kinds::all() {
        let layer = kinds::layer(kind).await?;
        println!("==> {}: converting and decoding the layer, {ROUNDS} times in turns", kind.name());
        println!("{}", table::layer_table(&measure_layer(kind, &layer, &node).await?));
        if kinds::is_compressible(kind) {
            println!("==> {}: converting a part of it from every gzip encoder, {ROUNDS} times", kind.name());
            let rows = measure_sources(encoders.sources(kind, &layer)?).await?;
            println!("{}", table::source_table(kind, &rows));
        }
    }
    Ok(())
}

async fn measure_layer(kind: RealImage, gzip: &Path, node: &NodeDecode) -> Result<Layer> {
    let work = TempDir::with_prefix("zstart-bench-")?;
    let plain = decode_here(&[gzip.to_owned()])?.0;
    let mut gzip_decode = decode(node, Decoder::GoGzip, gzip, plain)?;
    let mut rows = Vec::new();
    for method in Method::ALL {
        let file = work.path().join(method.name());
        let usage = conversion(method, gzip, Some(&file)).await?;
        let (frame, decode) = (fs::metadata(&file)?.len(), decode(node, Decoder::GoZstd, &file, plain)?);
        rows.push(Row { method, usage, file, frame, decode });
    }
    for _ in 1..ROUNDS {
        gzip_decode.keep_fastest(decode(node, Decoder::GoGzip, gzip, plain)?);
        for row in &mut rows {
            keep_least(&mut row.usage, &conversion(row.method, gzip, None).await?);
            row.decode.keep_fastest(decode(node, Decoder::GoZstd, &row.file, plain)?);
        }
    }
    Ok(Layer { kind, gzip: fs::metadata(gzip)?.len(), plain, gzip_decode, rows })
}

async fn measure_sources(sources: Vec<Source>) -> Result<Vec<SourceRow>> {
    let work = TempDir::with_prefix("zstart-bench-")?;
    let mut rows = Vec::new();
    for Source { encoder, gzip } in sources {
        let mut results = Vec::new();
        for method in [Method::Level(3), Method::Transcode] {
            let frame = work.path().join(method.name());
            let mut least = conversion(method, &gzip, Some(&frame)).await?;
            let bytes = fs::metadata(&frame)?.len();
            for _ in 1..ROUNDS {
                keep_least(&mut least, &conversion(method, &gzip, None).await?);
            }
            results.push((least, bytes));
        }
        let mut start = Vec::new();
        File::open(&gzip)?.take(START_BYTES).read_to_end(&mut start)?;
        let (level_3, transcode) = (results[0], results[1]);
        let hints = Hints::read(&start);
        rows.push(SourceRow { encoder, gzip: fs::metadata(&gzip)?.len(), hints, level_3, transcode });
    }
    Ok(rows)
}

/// Converts a layer in a process of its own, so that its peak of memory is the method's.
async fn conversion(method: Method, layer: &Path, output: Option<&PathBuf>) -> Result<Usage> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--convert", method.name()]).arg(layer).args(output);
    command.stdin(Stdio::null());
    measure(command).await
}

/// Decodes a file with this process's decoder, and with `decoder` of containerd.
fn decode(node: &NodeDecode, decoder: Decoder, file: &Path, plain: u64) -> Result<DecodeTimes> {
    let file = [file.to_owned()];
    let ((own_bytes, own), (go_bytes, go)) = (decode_here(&file)?, node.decode(decoder, &file)?);
    ensure!([own_bytes, go_bytes] == [plain; 2], "{} decodes to other bytes", file[0].display());
    Ok(DecodeTimes { own, go })
}

/// Keeps the least time and the highest memory.
fn keep_least(kept: &mut Usage, usage: &Usage) {
    *kept = Usage {
        wall: kept.wall.min(usage.wall),
        cpu: kept.cpu.min(usage.cpu),
        memory: kept.memory.max(usage.memory),
        written: kept.written.max(usage.written),
    };
}
