//! The ways to convert a layer to zstd, each on one thread, with the hash of the plain and of the compressed bytes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use zstart_codec::{Level, ZstdConverter};
use zstart_transcode::{Settings, Sink, transcode};

use super::super::floor::{HashSink, encode};

/// Size of reads in bytes, as the converter's.
const BUFFER_BYTES: usize = 128 << 10;

/// A way to convert a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// zlib-rs, and the converter's encoder at a level.
    Level(i32),
    /// The transcoder with its default settings.
    Transcode,
}

impl Method {
    pub(super) const ALL: [Self; 4] = [Self::Level(1), Self::Level(3), Self::Level(9), Self::Transcode];

    /// Name in tables and on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Level(1) => "level 1",
            Self::Level(3) => "level 3",
            Self::Level(_) => "level 9",
            Self::Transcode => "transcode",
        }
    }
}

/// Hashes the compressed bytes, and writes them to a file if there is one.
struct Output {
    hash: HashSink,
    file: Option<BufWriter<File>>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
        }
        self.hash.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

struct LayerSink {
    plain: Sha256,
    output: Output,
}

impl Sink for LayerSink {
    fn plain(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.plain.update(bytes);
        Ok(())
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)
    }
}

/// Converts a layer in this process, which the benchmark starts and measures for this alone. Discards the result
/// unless `output` is a file's path.
pub(in crate::bench) fn convert(method: &str, layer: &Path, output: Option<&Path>) -> Result<()> {
    let method = Method::ALL.into_iter().find(|known| known.name() == method);
    let method = method.context("unknown method")?;
    let file = output.map(File::create).transpose()?.map(BufWriter::new);
    let output = Output { hash: HashSink(Sha256::new()), file };
    let mut sink = LayerSink { plain: Sha256::new(), output };
    let layer = File::open(layer).with_context(|| format!("failed to open {}", layer.display()))?;
    let mut layer = BufReader::with_capacity(BUFFER_BYTES, layer);
    match method {
        Method::Transcode => {
            transcode(&mut layer, Settings::default(), &mut sink)?;
        }
        Method::Level(level) => {
            // A layer of no size isn't encoded in jobs.
            let encoder = ZstdConverter::new(Level::try_from(level)?).encoder(0, sink.output)?;
            (sink.plain, sink.output) = encode(layer, encoder)?;
        }
    }
    sink.output.flush()?;
    std::hint::black_box((sink.plain.finalize(), sink.output.hash.0.finalize()));
    Ok(())
}
