//! Benchmarks of a layer's conversion: inflate, hash, encode, and the whole conversion (`make microbench`).
//!
//! The input is a part of the compiler's own library, which every machine that builds zstart has. The library
//! holds code and tables, as layers do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::BytesCount;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use zstart_codec::{LayerConverter as _, LayerLimits, Level, ZstdConverter};

/// Uncompressed bytes per iteration.
const PLAIN_BYTES: usize = 16 << 20;
/// Size of reads and writes in bytes, of the same order as the converter's.
const BUFFER_BYTES: usize = 128 << 10;

/// The layer's bytes: plain, and compressed by gzip.
static LAYER: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let plain =
        compiler_library().and_then(|path| read_middle(&path)).expect("the compiler's library is readable");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&plain).expect("writing into memory succeeds");
    let gzip = encoder.finish().expect("writing into memory succeeds");
    (plain, gzip)
});

fn main() {
    divan::main();
}

/// Path of the library that contains the compiler.
fn compiler_library() -> io::Result<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output()?;
    let sysroot = String::from_utf8(output.stdout).map_err(io::Error::other)?;
    let is_compiler = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.contains("rustc_driver") && path.metadata().is_ok_and(|file| file.len() > 2 * PLAIN_BYTES as u64)
    };
    let files = Path::new(sysroot.trim()).join("lib").read_dir()?;
    let library = files.filter_map(|file| Some(file.ok()?.path())).find(is_compiler);
    library.ok_or_else(|| io::Error::other("the sysroot has no library named librustc_driver"))
}

/// Reads the middle of a file. The library's beginning holds only names.
fn read_middle(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start((size - PLAIN_BYTES as u64) / 2))?;
    let mut content = vec![0; PLAIN_BYTES];
    file.read_exact(&mut content)?;
    Ok(content)
}

fn with_size<'a, 'b>(bencher: Bencher<'a, 'b>) -> Bencher<'a, 'b> {
    LazyLock::force(&LAYER);
    bencher.counter(BytesCount::new(PLAIN_BYTES))
}

#[divan::bench]
fn inflate(bencher: Bencher<'_, '_>) {
    with_size(bencher).bench(|| {
        let (_, gzip) = &*LAYER;
        let mut decoder = MultiGzDecoder::new(&gzip[..]);
        let mut buffer = vec![0; BUFFER_BYTES];
        while decoder.read(&mut buffer).expect("LAYER holds valid gzip") > 0 {}
    });
}

#[divan::bench]
fn hash(bencher: Bencher<'_, '_>) {
    with_size(bencher).bench(|| Sha256::digest(&LAYER.0));
}

#[divan::bench(args = [1, 3, 9])]
fn encode(bencher: Bencher<'_, '_>, level: i32) {
    with_size(bencher).bench(|| {
        let (plain, _) = &*LAYER;
        let converter = ZstdConverter::new(Level::try_from(level).expect("the level is in range"));
        let mut encoder = converter.encoder(0, io::sink()).expect("zstd gets its memory");
        for chunk in plain.chunks(BUFFER_BYTES) {
            encoder.write_all(chunk).expect("writing into a sink succeeds");
        }
        encoder.finish().expect("writing into a sink succeeds")
    });
}

/// A conversion: decoder and encoder run in parallel.
#[divan::bench(args = [1, 3, 9])]
fn layer(bencher: Bencher<'_, '_>, level: i32) {
    convert(bencher, level, LAYER.1.len() as u64);
}

/// A conversion as of a large layer, which is encoded in jobs up to level 3.
#[divan::bench(args = [1, 3])]
fn layer_in_jobs(bencher: Bencher<'_, '_>, level: i32) {
    convert(bencher, level, 1 << 30);
}

/// Converts with one converter, which keeps its memory between iterations as it does between layers.
fn convert(bencher: Bencher<'_, '_>, level: i32, compressed_size: u64) {
    let converter = ZstdConverter::new(Level::try_from(level).expect("the level is in range"));
    let limits = LayerLimits { compressed_size, max_uncompressed: u64::MAX };
    with_size(bencher).bench(|| {
        let mut source = BufReader::with_capacity(BUFFER_BYTES, &LAYER.1[..]);
        converter.convert(&mut source, &mut io::sink(), limits).expect("LAYER holds valid gzip")
    });
}
