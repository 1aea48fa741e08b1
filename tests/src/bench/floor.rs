//! Lower bound for a converter that decodes and encodes: each layer is in memory, is inflated, hashed, encoded by
//! zstart's encoder and hashed again, with one thread per core. Dividing the CPU time by the number of cores gives the
//! wall time without any waiting. A converter that transcodes can be faster.

use std::io::{BufRead, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zstart_codec::ZstdConverter;
use zstart_convert::Level;
use zstart_core::sync::lock;
use zstd::stream::write::Encoder;

/// The lower bound of one image.
pub(super) struct Floor {
    /// CPU time divided by the number of cores. No schedule of this work is faster.
    pub(super) wall: Duration,
    /// CPU time of all threads, encoder threads included.
    pub(super) cpu: Duration,
}

/// Measures the lower bound with the layers of an OCI layout folder.
pub(super) async fn measure(folder: &Path, level: i32) -> Result<Floor> {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || {
        let layers = Arc::new(Mutex::new(read_layers(&folder)?));
        let converter = Arc::new(ZstdConverter::new(Level::try_from(level)?));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let before = cpu_time()?;
        let threads: Vec<_> = (0..cores)
            .map(|_| {
                let (layers, converter) = (Arc::clone(&layers), Arc::clone(&converter));
                std::thread::spawn(move || convert_layers(&layers, &converter))
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        let cpu = cpu_time()?.saturating_sub(before);
        Ok(Floor { wall: cpu / u32::try_from(cores)?, cpu })
    })
    .await?
}

/// CPU time of this process so far. The process does nothing but the measured work.
fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::ProcessCPUTime).try_into()?)
}

/// Converts layers until the list is empty.
fn convert_layers(layers: &Mutex<Vec<Vec<u8>>>, converter: &ZstdConverter) -> Result<()> {
    loop {
        let Some(layer) = lock(layers).pop() else {
            return Ok(());
        };
        let encoder = converter.encoder(layer.len() as u64, HashSink(Sha256::new()))?;
        let (plain, frame) = encode(&layer[..], encoder)?;
        std::hint::black_box((plain.finalize(), frame.0.finalize(), Sha256::digest(&layer)));
    }
}

/// Inflates a layer, hashes the plain bytes and encodes them. Returns the hash, and the encoder's target.
pub(super) fn encode<W: Write>(gzip: impl BufRead, mut encoder: Encoder<'_, W>) -> Result<(Sha256, W)> {
    let mut inflate = flate2::bufread::MultiGzDecoder::new(gzip);
    let (mut plain, mut buffer) = (Sha256::new(), vec![0; 128 * 1024]);
    loop {
        let count = inflate.read(&mut buffer)?;
        if count == 0 {
            return Ok((plain, encoder.finish()?));
        }
        plain.update(&buffer[..count]);
        encoder.write_all(&buffer[..count])?;
    }
}

/// Hashes bytes and discards them.
pub(super) struct HashSink(pub(super) Sha256);

impl Write for HashSink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn read_layers(folder: &Path) -> Result<Vec<Vec<u8>>> {
    layer_files(folder)?.into_iter().map(|layer| Ok(std::fs::read(layer)?)).collect()
}

/// Layer files of the only image in an OCI layout folder, lowest layer first.
pub(super) fn layer_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let blob = |digest: &Value| -> Result<PathBuf> {
        let digest = digest.as_str().context("the descriptor has no digest")?;
        Ok(folder.join("blobs").join(digest.replace(':', "/")))
    };
    let read = |path: PathBuf| -> Result<Value> { Ok(serde_json::from_slice(&std::fs::read(path)?)?) };
    let index = read(folder.join("index.json"))?;
    let manifest = read(blob(&index["manifests"][0]["digest"])?)?;
    let layers = manifest["layers"].as_array().context("the manifest has no layers")?.iter();
    layers.map(|layer| blob(&layer["digest"])).collect()
}
