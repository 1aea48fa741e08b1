//! Reading an image once: every layer is unpacked, timed and encoded at the fastest levels; pieces of it
//! are kept for the others.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::sync::Mutex;
use std::time::Duration;

use zstd::stream::write::Encoder;

use super::sample::{PIECE_BYTES, PieceKey, Sample};
use super::stopwatch::Stopwatch;
use zstart_codec::DiffIdHasher;
use zstart_codec::Level;
use zstart_codec::ZstdConverter;
use zstart_codec::compression::{self, Compression};
use zstart_codec::{LayerError, LayerLimits};
use zstart_core::Digest;
use zstart_core::sync::lock;

/// What was learnt of one layer.
#[derive(Clone, Debug, Default)]
pub(super) struct LayerMeasurement {
    /// Its bytes as they are now.
    pub(super) compressed_size: u64,
    /// The same unpacked.
    pub(super) plain: u64,
    /// What unpacking took.
    pub(super) unpack: Duration,
    /// Its size at each of the fastest levels; empty where it is zstd, and so stays as it is.
    pub(super) sizes: Vec<u64>,
}

/// What was learnt of an image.
#[derive(Debug)]
pub(super) struct SourceScan {
    /// The levels that everything was encoded at.
    pub(super) levels: Vec<Level>,
    pub(super) layers: Vec<LayerMeasurement>,
    pub(super) sample: Sample,
    /// What each piece came to, at each of the levels.
    pub(super) piece_sizes: BTreeMap<PieceKey, Vec<u64>>,
}

impl LayerMeasurement {
    /// Whether it is zstd already.
    pub(super) fn is_kept(&self) -> bool {
        self.sizes.is_empty()
    }
}

impl SourceScan {
    pub(super) fn new(levels: Vec<Level>, layers: usize, budget: u64) -> Self {
        let layers = vec![LayerMeasurement::default(); layers];
        Self { levels, layers, sample: Sample::new(budget), piece_sizes: BTreeMap::new() }
    }
}

/// Reads one layer of an image and returns its `diff_id`. One layer is read at a time, so nothing waits for
/// the lock.
pub(super) fn scan_layer(
    scan: &Mutex<SourceScan>,
    layer: usize,
    source: &mut dyn BufRead,
    limits: LayerLimits,
) -> Result<Digest, LayerError> {
    let mut scan = lock(scan);
    scan.sample.begin_layer(layer);
    let watch = Stopwatch::started();
    let compressed_size = Cell::new(0);
    let mut source = UntimedReader { inner: source, watch: &watch, count: &compressed_size };
    let (compression, mut source) = compression::detect(&mut source)?;
    let mut plain = DiffIdHasher::with_limit(limits.max_uncompressed);
    let mut pieces = match compression {
        Compression::Zstd => None,
        Compression::Gzip | Compression::Plain => {
            Some(PieceEncoder::new(layer, limits.compressed_size, &mut scan)?)
        }
    };
    compression.decode(&mut source, |bytes| {
        watch.pause(|| {
            plain.update(bytes)?;
            pieces.as_mut().map_or(Ok(()), |pieces| pieces.push(bytes)).map_err(failed)
        })
    })?;
    let unpack = watch.total();
    let sizes = pieces.map_or(Ok(Vec::new()), PieceEncoder::finish).map_err(failed)?;
    scan.layers[layer] =
        LayerMeasurement { compressed_size: compressed_size.get(), plain: plain.count(), unpack, sizes };
    Ok(plain.diff_id())
}

fn failed(source: io::Error) -> LayerError {
    LayerError::Write { source }
}

/// A layer cut into pieces, each encoded at the fastest levels as soon as it is whole.
struct PieceEncoder<'a> {
    layer: usize,
    scan: &'a mut SourceScan,
    encoders: Vec<Encoder<'static, CountingWriter>>,
    piece: Vec<u8>,
    /// What the encoders have written so far.
    sizes: Vec<u64>,
}

impl<'a> PieceEncoder<'a> {
    fn new(layer: usize, compressed_size: u64, scan: &'a mut SourceScan) -> Result<Self, LayerError> {
        let encoder = |level: &Level| ZstdConverter::new(*level).encoder(compressed_size, CountingWriter(0));
        let encoders: Vec<_> = scan.levels.iter().map(encoder).collect::<io::Result<_>>().map_err(failed)?;
        let sizes = vec![0; encoders.len()];
        Ok(Self { layer, scan, encoders, piece: Vec::with_capacity(PIECE_BYTES), sizes })
    }

    fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // Only now it is certain that the piece isn't the last one.
            if self.piece.len() == PIECE_BYTES {
                let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
                for encoder in &mut self.encoders {
                    encoder.write_all(&piece)?;
                    encoder.flush()?;
                }
                let sizes = self.encoders.iter().map(|encoder| encoder.get_ref().0).collect();
                self.keep(piece, sizes);
            }
            let (front, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(front);
            bytes = rest;
        }
        Ok(())
    }

    /// The last piece. Answers the layer's size at each level.
    fn finish(mut self) -> io::Result<Vec<u64>> {
        let piece = std::mem::take(&mut self.piece);
        let encoders = std::mem::take(&mut self.encoders).into_iter();
        let sizes = encoders.map(|mut encoder| {
            encoder.write_all(&piece)?;
            Ok(encoder.finish()?.0)
        });
        let sizes: Vec<u64> = sizes.collect::<io::Result<_>>()?;
        self.keep(piece, sizes.clone());
        Ok(sizes)
    }

    fn keep(&mut self, piece: Vec<u8>, sizes: Vec<u64>) {
        let key = self.scan.sample.add(self.layer, piece);
        let own = sizes.iter().zip(&self.sizes).map(|(after, before)| after - before).collect();
        self.scan.piece_sizes.insert(key, own);
        self.sizes = sizes;
    }
}

/// Counts what is written to it.
pub(super) struct CountingWriter(pub(super) u64);

impl Write for CountingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The compressed_size bytes: counted, and what it takes to get them isn't timed.
struct UntimedReader<'a> {
    inner: &'a mut dyn BufRead,
    watch: &'a Stopwatch,
    count: &'a Cell<u64>,
}

impl Read for UntimedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for UntimedReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Self { inner, watch, count: _ } = self;
        watch.pause(|| inner.fill_buf())
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        self.count.set(self.count.get() + amount as u64);
    }
}

#[cfg(test)]
mod tests {
    use zstart_codec::LayerConverter as _;

    use super::*;

    #[test]
    fn exact_sizes_equal_those_of_a_conversion() {
        let numbers = (0..600_000_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let plain: Vec<u8> = numbers.flat_map(|number| format!("{number:x}\n").into_bytes()).collect();
        let levels: Vec<Level> = (1..=3).map(|level| Level::try_from(level).unwrap()).collect();
        for compressed_size in [1, 32 << 20] {
            let limits = LayerLimits { compressed_size, max_uncompressed: u64::MAX };
            let scan = Mutex::new(SourceScan::new(levels.clone(), 1, 1 << 30));
            scan_layer(&scan, 0, &mut &plain[..], limits).unwrap();
            let converted = levels.iter().map(|level| {
                let mut target = CountingWriter(0);
                ZstdConverter::new(*level).convert(&mut &plain[..], &mut target, limits).unwrap();
                target.0
            });
            assert_eq!(lock(&scan).layers[0].sizes, converted.collect::<Vec<_>>(), "{compressed_size}");
        }
    }
}
