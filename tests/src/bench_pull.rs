//! `make bench-pull`: the kubelet's pull of one image as gzip, as zstd of several levels, and transcoded, in turns.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;
use zstart_core::units;

use crate::cluster::pull_times::{median, pull_times, range};
use crate::cluster::{Cluster, LOCAL_REGISTRY, REGISTRY};
use crate::images::{push_layout, real};
use crate::process::run as run_command;
use crate::registry::repository_reader::layers_size;
use crate::steps::{print_block, step};
use crate::table::table;

/// Types of manifests that the registry may return.
const MANIFESTS: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
/// Name of the image in the registry.
const NAME: &str = "bench/image";
/// Conversions, in the order of the table: tag, and arguments. The ratios are to gzip and to the first one.
const CONVERSIONS: [(&str, &[&str]); 3] = [
    ("level-3", &["--method", "encode", "--level", "3"]),
    ("level-9", &["--method", "encode", "--level", "9"]),
    ("transcoded", &["--method", "transcode"]),
];

/// Options of the benchmark.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The program zstart, which converts the image.
    #[arg(long, value_name = "FILE")]
    zstart: PathBuf,
    /// Pulls of each image.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=99))]
    pulls: u8,
}

/// One compression of the image.
struct Row {
    name: String,
    reference: String,
    bytes: u64,
}

/// Converts the image, pulls all compressions in turns, and prints the table.
pub async fn run(cluster: &Cluster, options: &Options) -> Result<()> {
    let layout = real::layout(real::RealImage::Python).await?;
    let here = |tag: &str| format!("{LOCAL_REGISTRY}/{NAME}:{tag}");
    let mut rows = Vec::new();
    let (tag, source) = (real::TAG.parse()?, here("gzip").parse()?);
    step("pushing the gzip image", push_layout(&layout, &tag, &source)).await?;
    rows.push(row("gzip", "gzip").await?);
    for (tag, arguments) in CONVERSIONS {
        let converting = async {
            let mut command = Command::new(std::path::absolute(&options.zstart)?);
            // Without reuse: for zstart, the methods' layers are equal.
            command.args(["convert", &here("gzip"), &here(tag), "--force", "--no-layer-cache"]);
            run_command(command.args(arguments))
        };
        step(&format!("converting the image with {}", arguments.join(" ")), converting).await?;
        rows.push(row(&tag.replace('-', " "), tag).await?);
    }
    let images: Vec<&str> = rows.iter().map(|row| &*row.reference).collect();
    let what = format!("pulling each image {} times with the kubelet, in turns", options.pulls);
    let times = step(&what, pull_times(cluster, &images, options.pulls.into())).await?;
    print_block(&format!("{}\n{}", cluster.storage(), results(&rows, &times)));
    Ok(())
}

/// Looks the size of an image up in the registry.
async fn row(name: &str, tag: &str) -> Result<Row> {
    let url = format!("http://{LOCAL_REGISTRY}/v2/{NAME}/manifests/{tag}");
    let request = reqwest::Client::new().get(&url).header("accept", MANIFESTS);
    let manifest: Value = request.send().await?.error_for_status()?.json().await?;
    let bytes = layers_size(&manifest).with_context(|| format!("{url} is no manifest: {manifest}"))?;
    Ok(Row {
        name: name.to_owned(),
        reference: format!("{REGISTRY}/{NAME}:{tag}"),
        bytes: bytes.unsigned_abs(),
    })
}

/// Table of medians, spread, and ratios of the medians.
fn results(rows: &[Row], times: &[Vec<Duration>]) -> String {
    let head = ["", "size", "median", "shortest", "longest", "to gzip", "to level 3"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    let medians: Vec<f64> = times.iter().map(|times| median(times).as_secs_f64()).collect();
    let ratio = |own: f64, other: usize| {
        medians.get(other).map_or(String::new(), |other| format!("{:.3}", own / other))
    };
    for ((row, times), own) in rows.iter().zip(times).zip(&medians) {
        let [shortest, longest] = range(times);
        lines.push(vec![
            row.name.clone(),
            units::size(row.bytes),
            units::duration(median(times)),
            shortest,
            longest,
            ratio(*own, 0),
            ratio(*own, 1),
        ]);
    }
    table(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians_to_gzip_and_level_3() {
        let row = |name: &str| Row { name: name.to_owned(), reference: String::new(), bytes: 1 << 20 };
        let times = |seconds: [u64; 3]| seconds.map(Duration::from_secs).to_vec();
        let shown = results(
            &[row("gzip"), row("level 3"), row("level 9")],
            &[times([10, 90, 8]), times([5, 5, 4]), times([2, 4, 9])],
        );
        let last: Vec<&str> = shown.lines().last().unwrap_or_default().split_whitespace().collect();
        assert_eq!(last, ["level", "9", "1.00", "MiB", "4.0s", "2.0s", "9.0s", "0.400", "0.800"]);
    }
}
