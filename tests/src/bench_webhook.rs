//! `make bench-webhook`: latency, processor time and memory of the webhook at a fixed rate of reviews, in
//! clusters of several sizes, and of a peer at the same load.
//!
//! The API server is real and holds all records and nodes. Each measurement starts the server again, so that
//! its memory is that of a start with so many objects. The load generator is a process of its own.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::review_load::{LoadOptions, LoadReport};

mod cluster;
mod generator;
mod histogram;
pub(crate) mod nodes;
pub(crate) mod pods;
pub(crate) mod processor;
mod records;
pub(crate) mod reviews;
mod server;
mod table;

use cluster::LoadedCluster;
use generator::Generator;
pub use processor::Memory;
use server::{Counters, MeasuredServer};
pub use table::tables;

/// Goal for the 99th percentile of the server's own durations.
const GOAL_LATENCY: Duration = Duration::from_millis(1);
/// Goal for resident memory, in bytes.
const GOAL_MEMORY: u64 = 64 << 20;
/// Time limit for a server to be ready: the webhook lists 50,000 records first.
const READY_WITHIN: Duration = Duration::from_mins(3);

/// Programs to run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `zstart-webhook`.
    pub webhook: PathBuf,
    /// `review-load`.
    pub generator: PathBuf,
}

/// Number of objects in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Conversion records.
    pub records: usize,
    /// Nodes, of 30 shapes.
    pub nodes: usize,
}

impl FromStr for Size {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (records, nodes) = text.split_once(':').context("expected RECORDS:NODES, e.g. 50000:5000")?;
        let number = |text: &str| {
            text.parse().ok().filter(|number| *number > 0).context("expected numbers above zero")
        };
        Ok(Self { records: number(records)?, nodes: number(nodes)? })
    }
}

/// Measurements to take, and their load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Sizes in the order in which the cluster grows.
    pub sizes: Vec<Size>,
    /// `ReplicaSets` that own the pods.
    pub replica_sets: usize,
    /// Different reviews, which are sent in turn.
    pub reviews: usize,
    /// Reviews a second.
    pub rate: u32,
    /// Connections of the load generator.
    pub connections: usize,
    /// Seconds of load before each measurement.
    pub warm_up: u32,
    /// Seconds of each measurement.
    pub seconds: u32,
}

/// A measured program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `zstart-webhook`.
    Zstart,
    /// Webhook of 80 lines on controller-runtime that replaces images by a map. It knows no nodes.
    MapWebhook,
}

/// Result of one program in a cluster of one size.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The measured program.
    pub program: Program,
    /// Size of the cluster.
    pub size: Size,
    /// Report of the load generator.
    pub load: LoadReport,
    /// Reviews that the server counted.
    pub counted: u64,
    /// Upper bound of the histogram's bucket that holds the 99th percentile; `None` beyond the last bucket.
    pub p99_bound: Option<Duration>,
    /// Share of reviews that the server took at most 1 ms for, in hundredths of a percent.
    pub within_goal: u64,
    /// Processor time of the server.
    pub cpu: Duration,
    /// Processor time of everything except the server and the load generator.
    pub other_cpu: Duration,
    /// Memory of the server after the measurement.
    pub memory: Memory,
    /// Time from the start of the server until it was ready.
    pub start: Duration,
}

impl Plan {
    /// The measurements of `make bench-webhook`: first more records, then more nodes.
    pub fn full() -> Self {
        let size = |records, nodes| Size { records, nodes };
        let sizes = vec![
            size(100, 100),
            size(1_000, 100),
            size(10_000, 100),
            size(50_000, 100),
            size(50_000, 1_000),
            size(50_000, 5_000),
        ];
        Self {
            sizes,
            replica_sets: 5_000,
            reviews: 6_000,
            rate: 2_000,
            connections: 48,
            warm_up: 3,
            seconds: 15,
        }
    }

    /// A few small measurements at a rate that debug builds on busy cores keep up with.
    pub fn short() -> Self {
        let sizes = vec![Size { records: 100, nodes: 30 }, Size { records: 100, nodes: 60 }];
        Self { sizes, replica_sets: 20, reviews: 60, rate: 50, connections: 8, warm_up: 1, seconds: 1 }
    }
}

/// Takes the measurements of `plan`. The peer is measured once for each number of records.
#[expect(clippy::print_stdout, reason = "this is a command line")]
pub async fn run(programs: &Programs, plan: &Plan) -> Result<Vec<Measurement>> {
    for program in [&programs.webhook, &programs.generator] {
        ensure!(program.is_file(), "the program {} is missing: run `make bench-webhook`", program.display());
    }
    println!("==> starting an API server with {} ReplicaSets", plan.replica_sets);
    let mut cluster = LoadedCluster::start(plan.replica_sets).await?;
    let mut measured: Vec<Measurement> = Vec::new();
    for size in &plan.sizes {
        cluster.grow(*size).await?;
        let reviews = cluster.folder().join("reviews");
        std::fs::write(&reviews, reviews::lines(plan.reviews, size.records, cluster.owners()))?;
        let is_new = measured.iter().all(|earlier| earlier.size.records != size.records);
        for program in [Program::Zstart, Program::MapWebhook] {
            if program == Program::MapWebhook && !is_new {
                continue;
            }
            println!("==> measuring {} for {} s", program.name(), plan.seconds);
            let server = match program {
                Program::Zstart => MeasuredServer::webhook(&programs.webhook, &cluster).await?,
                Program::MapWebhook => MeasuredServer::map_webhook(&cluster, size.records).await?,
            };
            let options = LoadOptions {
                address: server.address(),
                authority: cluster.authority(),
                reviews: reviews.clone(),
                rate: plan.rate,
                connections: plan.connections,
                warm_up: plan.warm_up,
                seconds: plan.seconds,
            };
            let generator = Generator::start(&programs.generator, &options).await?;
            let measurement = measure(program, *size, &server, generator).await;
            measured.push(measurement.with_context(|| format!("failed to measure {}", program.name()))?);
        }
    }
    Ok(measured)
}

async fn measure(
    program: Program,
    size: Size,
    server: &MeasuredServer,
    generator: Generator,
) -> Result<Measurement> {
    let before = server.counters().await?;
    let load = generator.measure().await?;
    let Counters { histogram, cpu, busy } = server.counters().await?;
    ensure!(
        load.failed == 0,
        "{} of {} reviews failed: {}",
        load.failed,
        load.sent,
        load.failure.as_deref().unwrap_or_default()
    );
    let histogram = histogram.since(&before.histogram);
    let cpu = cpu.saturating_sub(before.cpu);
    Ok(Measurement {
        program,
        size,
        counted: histogram.count(),
        p99_bound: histogram.p99_bound(),
        within_goal: histogram.share_within(GOAL_LATENCY)?,
        cpu,
        other_cpu: busy.saturating_sub(before.busy).saturating_sub(cpu).saturating_sub(load.cpu),
        memory: server.memory()?,
        start: server.start,
        load,
    })
}
