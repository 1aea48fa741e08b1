//! What becomes of a layer's bytes, part by part: inflate, hash, encode, and all of it at once.
//!
//! `cargo bench --package zstart-convert`. The bytes are this program's own: code and tables, as layers are
//! full of.

use std::io::{self, BufReader, Read as _, Write as _};
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::BytesCount;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use zstart_convert::Level;
use zstart_convert::layer::zstd::ZstdConverter;
use zstart_convert::layer::{Announced, LayerConverter as _};

/// How many plain bytes a turn has.
const SIZE: usize = 16 << 20;
/// What the converter reads and writes at a time is of this order, too.
const STEP: usize = 128 << 10;

/// Plain and packed bytes.
static LAYER: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let program = std::env::current_exe().and_then(std::fs::read).expect("this program can be read");
    let plain: Vec<u8> = program.into_iter().cycle().take(SIZE).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&plain).expect("memory takes all");
    let packed = encoder.finish().expect("memory takes all");
    (plain, packed)
});

fn main() {
    divan::main();
}

fn with_size<'a, 'b>(bencher: Bencher<'a, 'b>) -> Bencher<'a, 'b> {
    LazyLock::force(&LAYER);
    bencher.counter(BytesCount::new(SIZE))
}

#[divan::bench]
fn inflate(bencher: Bencher<'_, '_>) {
    with_size(bencher).bench(|| {
        let (_, packed) = &*LAYER;
        let mut decoder = MultiGzDecoder::new(&packed[..]);
        let mut buffer = vec![0; STEP];
        while decoder.read(&mut buffer).expect("it was packed above") > 0 {}
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
        let converter = ZstdConverter::new(Level::try_from(level).expect("a level of zstd's"));
        let mut encoder = converter.encoder(0, io::sink()).expect("memory for it");
        for part in plain.chunks(STEP) {
            encoder.write_all(part).expect("a sink takes all");
        }
        encoder.finish().expect("a sink takes all")
    });
}

/// As a conversion has it: decoder and encoder side by side.
#[divan::bench(args = [1, 3, 9])]
fn layer(bencher: Bencher<'_, '_>, level: i32) {
    let converter = ZstdConverter::new(Level::try_from(level).expect("a level of zstd's"));
    with_size(bencher).bench(|| {
        let (_, packed) = &*LAYER;
        let mut source = BufReader::with_capacity(STEP, &packed[..]);
        let announced = Announced { packed: packed.len() as u64, most: u64::MAX };
        converter.convert(&mut source, &mut io::sink(), announced).expect("it was packed above")
    });
}
