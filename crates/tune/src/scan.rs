//! Scan of the source: every layer is read once, unpacked, timed, and encoded at the levels up to 3. Pieces
//! are kept for the other levels.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::sync::Mutex;
use std::time::Duration;

use zstd::stream::write::Encoder;

use super::node::Node;
use super::sample::{PIECE_BYTES, PieceKey, Sample};
use super::stopwatch::Stopwatch;
use zstart_codec::DiffIdHasher;
use zstart_codec::Level;
use zstart_codec::ZstdConverter;
use zstart_codec::compression::{self, Compression};
use zstart_codec::{LayerError, LayerLimits};
use zstart_core::Digest;
use zstart_core::sync::lock;

/// Measurement of one layer.
#[derive(Clone, Debug, Default)]
pub(super) struct LayerMeasurement {
    /// Size of the source's layer, in bytes.
    pub(super) compressed_size: u64,
    pub(super) uncompressed_size: u64,
    /// Time in which the node unpacks the layer.
    pub(super) unpack: Duration,
    /// Size at each of the exact levels; empty for a zstd layer, which every level keeps.
    pub(super) sizes: Vec<u64>,
}

/// Measurements of an image's source.
#[derive(Debug)]
pub(super) struct SourceScan {
    pub(super) node: Node,
    /// Levels that encoded the whole image.
    pub(super) levels: Vec<Level>,
    pub(super) layers: Vec<LayerMeasurement>,
    pub(super) sample: Sample,
    /// Encoded size of each piece, at each of the levels.
    pub(super) piece_sizes: BTreeMap<PieceKey, Vec<u64>>,
}

impl LayerMeasurement {
    /// Whether the layer is already zstd.
    pub(super) fn is_kept(&self) -> bool {
        self.sizes.is_empty()
    }
}

impl SourceScan {
    pub(super) fn new(node: Node, levels: Vec<Level>, layers: usize, budget: u64) -> Self {
        let layers = vec![LayerMeasurement::default(); layers];
        Self { node, levels, layers, sample: Sample::new(budget), piece_sizes: BTreeMap::new() }
    }
}

/// Reads one layer of an image and returns its `diff_id`. Layers are read one at a time, and the lock is
/// therefore free.
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
    let mut hasher = DiffIdHasher::with_limit(limits.max_uncompressed);
    let mut pieces = match compression {
        Compression::Zstd => None,
        Compression::Gzip | Compression::Plain => {
            Some(PieceEncoder::new(layer, limits.compressed_size, &mut scan)?)
        }
    };
    compression.decode(&mut source, |bytes| {
        watch.pause(|| {
            hasher.update(bytes)?;
            pieces.as_mut().map_or(Ok(()), |pieces| pieces.push(bytes)).map_err(failed)
        })
    })?;
    let took = watch.total();
    let sizes = pieces.map_or(Ok(Vec::new()), PieceEncoder::finish).map_err(failed)?;
    scan.layers[layer] = LayerMeasurement {
        compressed_size: compressed_size.get(),
        uncompressed_size: hasher.count(),
        unpack: scan.node.decode_time(compression, took),
        sizes,
    };
    Ok(hasher.diff_id())
}

fn failed(source: io::Error) -> LayerError {
    LayerError::Write { source }
}

/// Cuts a layer into pieces, and encodes each complete piece at the exact levels.
struct PieceEncoder<'a> {
    layer: usize,
    scan: &'a mut SourceScan,
    encoders: Vec<Encoder<'static, CountingWriter>>,
    piece: Vec<u8>,
    /// Bytes that each encoder has written.
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
            // More bytes follow, so this piece isn't the last one.
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

    /// Encodes the last piece. Returns the layer's size at each level.
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

/// Writer that counts the bytes and drops them.
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

/// Reader of the compressed bytes. It counts the bytes, and stops the watch while it waits for them.
struct UntimedReader<'a> {
    inner: &'a mut dyn BufRead,
    watch: &'a Stopwatch,
    count: &'a Cell<u64>,
}

impl Read for UntimedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
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
            let scan = Mutex::new(SourceScan::new(Node::Containerd, levels.clone(), 1, 1 << 30));
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
