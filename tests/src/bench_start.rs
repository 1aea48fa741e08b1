//! `make bench-start`: the time from a pod's creation until its program is ready, for several ways to shorten it, on
//! nodes that hold nothing of its image.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use zstart_core::units;

use crate::cluster::pull_times::{NAMESPACE, create_namespace, median, range};
use crate::cluster::snapshotter::{LazyForm, Snapshotter};
use crate::cluster::{Cluster, JoinedNode, LOCAL_REGISTRY};
use crate::images::{push_layout, real};
use crate::process::run as run_command;
use crate::steps::{print_block, step};
use crate::table::table;
use crate::tools::Tool;

mod pod;

use pod::Program;

/// Name of the image in the registry.
const NAME: &str = "bench/start";
/// Tags of the image's other forms.
const GZIP: &str = "gzip";
const ZSTART: &str = "zstart";

/// A way to start a pod, as a row of the table.
#[derive(Clone, Copy, Debug)]
struct Way {
    name: &'static str,
    snapshotter: Snapshotter,
    tag: &'static str,
    /// The node has the image before.
    is_pulled: bool,
}

const WAYS: [Way; 10] = [
    Way { name: "gzip", snapshotter: Snapshotter::Overlayfs, tag: GZIP, is_pulled: false },
    Way { name: "zstart", snapshotter: Snapshotter::Overlayfs, tag: ZSTART, is_pulled: false },
    Way {
        name: "gzip, containerd's parallel pull",
        snapshotter: Snapshotter::OverlayfsParallel,
        tag: GZIP,
        is_pulled: false,
    },
    Way {
        name: "zstart, containerd's parallel pull",
        snapshotter: Snapshotter::OverlayfsParallel,
        tag: ZSTART,
        is_pulled: false,
    },
    Way {
        name: "gzip, SOCI's parallel pull",
        snapshotter: Snapshotter::SociParallel,
        tag: GZIP,
        is_pulled: false,
    },
    Way {
        name: "zstart, SOCI's parallel pull",
        snapshotter: Snapshotter::SociParallel,
        tag: ZSTART,
        is_pulled: false,
    },
    Way {
        name: "SOCI, lazy loading",
        snapshotter: Snapshotter::Soci,
        tag: LazyForm::Soci.name(),
        is_pulled: false,
    },
    Way {
        name: "eStargz, lazy loading",
        snapshotter: Snapshotter::Stargz,
        tag: LazyForm::Estargz.name(),
        is_pulled: false,
    },
    Way {
        name: "zstd:chunked, lazy loading",
        snapshotter: Snapshotter::Stargz,
        tag: LazyForm::ZstdChunked.name(),
        is_pulled: false,
    },
    Way { name: "pre-pulled gzip", snapshotter: Snapshotter::Overlayfs, tag: GZIP, is_pulled: true },
];

/// Times of each program in one way.
type Times = [Vec<Duration>; Program::ALL.len()];

/// Options of the benchmark.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The program zstart, which converts the image.
    #[arg(long, value_name = "FILE")]
    zstart: PathBuf,
    /// Ways whose name contains this text, such as "lazy" (default: all).
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = part_of_a_way)]
    only: String,
    /// Starts of each program in each way.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    starts: u8,
}

/// Tools that the benchmark needs besides those of a cluster.
pub const TOOLS: [Tool; 2] = [Tool::Stargz, Tool::Soci];

/// Makes the image's forms, starts all programs in all ways, in turns, and prints the table.
pub async fn run(cluster: &mut Cluster, options: &Options) -> Result<()> {
    let ways: Vec<Way> = WAYS.into_iter().filter(|way| way.name.contains(&options.only)).collect();
    let forms = LazyForm::ALL.into_iter().filter(|form| ways.iter().any(|way| way.tag == form.name()));
    push_forms(cluster, options, forms).await?;
    create_namespace(cluster).await?;
    let mut times: Vec<(Way, Times)> = ways.into_iter().map(|way| (way, Times::default())).collect();
    for round in 1..=options.starts {
        for (way, times) in &mut times {
            for (program, times) in Program::ALL.into_iter().zip(times) {
                let what = format!("round {round}: {}, a program that {program}", way.name);
                times.push(step(&what, start(cluster, way, program)).await?);
            }
        }
    }
    print_block(&format!("Each node: {}\n{}", cluster.storage(), results(&times)));
    Ok(())
}

/// Pushes the image as gzip and in forms for lazy loading, and converts it with zstart.
async fn push_forms(
    cluster: &Cluster,
    options: &Options,
    forms: impl Iterator<Item = LazyForm>,
) -> Result<()> {
    let layout = real::layout(real::RealImage::Python).await?;
    let here = |tag: &str| format!("{LOCAL_REGISTRY}/{NAME}:{tag}");
    let image = real::TAG.parse()?;
    step("pushing the gzip image", push_layout(&layout, &image, &here(GZIP).parse()?)).await?;
    for form in forms {
        let copy = cluster.folder().join(form.name());
        run_command(Command::new("cp").arg("--recursive").args([&layout, &copy]))?;
        step(&format!("converting the image to {}", form.name()), form.convert(&copy)).await?;
        push_layout(&copy, &image, &here(form.name()).parse()?).await?;
        std::fs::remove_dir_all(&copy).with_context(|| format!("failed to remove {}", copy.display()))?;
    }
    let converting = async {
        let mut command = Command::new(std::path::absolute(&options.zstart)?);
        run_command(command.args(["convert", "--no-layer-cache", &here(GZIP), &here(ZSTART)]))
    };
    step("converting the image with zstart", converting).await.map(drop)
}

/// Starts a pod on a node of its own.
async fn start(cluster: &mut Cluster, way: &Way, program: Program) -> Result<Duration> {
    let node = cluster.join_node_with(way.snapshotter).await?;
    let started = start_on(cluster, &node, way, program).await;
    let started = started.with_context(|| cluster.pod_diagnostics(NAMESPACE))?;
    cluster.remove_node(node).await?;
    Ok(started)
}

async fn start_on(cluster: &Cluster, node: &JoinedNode, way: &Way, program: Program) -> Result<Duration> {
    // The node's own image, and the first use of its runtime, belong to no way.
    pod::warm_up(cluster, node.name()).await?;
    // The registry's address: SOCI's parallel pull resolves a name by DNS, which the lab's name isn't in.
    let image = format!("{LOCAL_REGISTRY}/{NAME}:{}", way.tag);
    if way.is_pulled {
        pod::start(cluster, node.name(), &image, Program::Interpreter).await?;
    }
    let took = pod::start(cluster, node.name(), &image, program).await?;
    let lazy_layers = node.lazy_layers()?;
    ensure!(way.snapshotter.is_lazy() == (lazy_layers > 0), "{}: {lazy_layers} lazy layers", way.name);
    Ok(took)
}

fn part_of_a_way(text: &str) -> Result<String> {
    let names = WAYS.map(|way| way.name);
    ensure!(names.iter().any(|name| name.contains(text)), "the ways are: {}", names.join("; "));
    Ok(text.to_owned())
}

/// Medians, with the shortest and the longest time.
fn results(times: &[(Way, Times)]) -> String {
    let mut lines = vec![vec![String::new()]];
    lines[0].extend(Program::ALL.map(|program| program.to_string()));
    for (way, times) in times {
        let cells = times.iter().map(|times| {
            let [shortest, longest] = range(times);
            format!("{} ({shortest} to {longest})", units::duration(median(times)))
        });
        lines.push(std::iter::once(way.name.to_owned()).chain(cells).collect());
    }
    table(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_shows_the_median_and_the_range() {
        let seconds = |all: [u64; 3]| all.map(Duration::from_secs).to_vec();
        let shown = results(&[(WAYS[0], [seconds([9, 1, 5]), seconds([2, 2, 2]), seconds([7, 8, 9])])]);
        let cells = shown.lines().last().unwrap_or_default().split("   ").map(str::trim);
        let last: Vec<&str> = cells.filter(|cell| !cell.is_empty()).collect();
        assert_eq!(last, ["gzip", "5.0s (1.0s to 9.0s)", "2.0s (2.0s to 2.0s)", "8.0s (7.0s to 9.0s)"]);
    }
}
