//! `make bench`: converts real images with zstart and with other tools. Each tool converts the same image in
//! the same registry; the tools take turns.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::stream;
use zstart_core::{Digest, Tag};
use zstart_registry::Store;

use crate::images::{push_layout, real};
use crate::oracle;
use crate::registry::Registry;
use crate::registry::repository_reader::{RepositoryReader, layers_size};

mod floor;
mod incremental;
mod large;
mod layers;
mod measure;
mod node;
mod peer;
mod table;

use floor::Floor;
use measure::Usage;
use peer::Peer;

/// Conversions by each tool. The tables show medians.
const ROUNDS: usize = 3;
/// zstd level given to every tool.
const LEVEL: i32 = 3;

/// One tool's conversions.
struct Row {
    name: &'static str,
    runs: Vec<Usage>,
    /// Compressed size of the result's layers, in bytes.
    bytes: i64,
}

/// Results of all tools for one image.
struct Comparison {
    name: &'static str,
    /// Compressed size of the source's layers, in bytes.
    source_bytes: i64,
    floor: Floor,
    rows: Vec<Row>,
}

/// Converts the images with every tool and prints the tables. `zstart` is the program to measure.
#[expect(clippy::print_stdout, reason = "this is a command line")]
pub async fn run(zstart: PathBuf) -> Result<()> {
    ensure!(zstart.is_file(), "the program {} is missing: run `make bench`", zstart.display());
    let peers = Peer::all(zstart.clone()).await?;
    let mut compared = Vec::new();
    for content in real::RealImage::all() {
        compared.push(compare(content, &peers).await?);
    }
    let (folder, tag) = (real::layout(real::RealImage::Python).await?, real::TAG.parse()?);
    println!("==> python: converting the image, then one with a changed top layer, {ROUNDS} times");
    let mut incremental_times = Vec::new();
    for _ in 0..ROUNDS {
        incremental_times.push(incremental::run(&zstart, &folder, &tag, LEVEL).await?);
    }
    println!(
        "==> memory: converting an image with one layer of more than 4 GiB, then one with 60 layers (2 minutes)"
    );
    let large = large::run(&zstart, &folder).await?;
    for compared in &compared {
        println!("{}", table::comparison_table(compared));
    }
    println!("{}", table::incremental_table(&incremental_times));
    println!("{}", table::memory_table(&large));
    decoders().await
}

/// Decodes the image of `make run` with the decoders of nodes, and prints the table.
#[expect(clippy::print_stdout, reason = "this is a command line")]
pub async fn decoders() -> Result<()> {
    println!("==> python: decoding the image with each decoder of nodes, {ROUNDS} times in turns");
    let folder = real::layout(real::RealImage::Python).await?;
    println!("{}", table::node_table(&node::measure(&folder, LEVEL, ROUNDS).await?));
    Ok(())
}

/// Converts and decodes layers of several kinds, and prints the tables.
pub async fn layers() -> Result<()> {
    layers::run().await
}

/// Converts a layer by a method of [`layers`] in this process, to a file if `output` names one.
pub fn convert_layer(method: &str, layer: &Path, output: Option<&Path>) -> Result<()> {
    layers::convert(method, layer, output)
}

#[expect(clippy::print_stdout, reason = "this is a command line")]
async fn compare(content: real::RealImage, peers: &[Peer]) -> Result<Comparison> {
    let name = content.name();
    let folder = real::layout(content).await?;
    let (registry, other) = (Registry::start().await?, Registry::start().await?);
    println!("==> {name}: pushing the image to a registry");
    let tag: Tag = real::TAG.parse()?;
    push_layout(&folder, &tag, &format!("{}/source:{tag}", registry.host()).parse()?).await?;
    let source = RepositoryReader::new(&registry, "source").manifest(tag.as_str()).await?.json;
    let source_bytes = layers_size(&source)?;

    println!("==> {name}: measuring the floor: inflate, zstd and both hashes in memory, all cores");
    let floor = floor::measure(&folder, LEVEL).await?;

    let mut rows: Vec<Row> =
        peers.iter().map(|peer| Row { name: peer.name(), runs: Vec::new(), bytes: 0 }).collect();
    for round in 1..=ROUNDS {
        for (peer, row) in peers.iter().zip(&mut rows) {
            println!("==> {name}: round {round} of {ROUNDS}: {}", peer.name());
            let target = format!("target/{}-{round}", peer.name());
            let into = if peer.needs_empty_registry() { &other } else { &registry };
            let source = format!("{}/source:{tag}", registry.host());
            let usage = peer.convert(&source, &into.host(), &target, LEVEL).await?;
            let made = RepositoryReader::new(into, &target).manifest("zstd").await;
            let made = made.with_context(|| format!("{} pushed no tag", peer.name()))?.json;
            peer::require_zstd(peer.name(), &made)?;
            if let (Peer::Zstart(_), 1) = (peer, round) {
                println!("==> {name}: comparing source and variant with code that the converter doesn't use");
                let variant = format!("{}/{target}:zstd", into.host());
                oracle::require_equal(&registry.host(), &source.parse()?, &variant.parse()?).await?;
            }
            row.bytes = layers_size(&made)?;
            row.runs.push(usage);
        }
    }
    Ok(Comparison { name, source_bytes, floor, rows })
}

/// Uploads a blob held in memory.
async fn put_blob(repository: &dyn Store, content: Bytes, digest: &Digest) -> Result<()> {
    let mut upload = repository.start_upload().await?;
    upload.send(Box::pin(stream::iter([Ok(content)]))).await?;
    Ok(upload.commit(digest).await?)
}

/// Median of an odd number of durations.
fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort();
    durations.get(durations.len() / 2).copied().unwrap_or_default()
}
