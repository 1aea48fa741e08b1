//! Load generator of `make bench-webhook`: sends admission reviews at a fixed rate, as one API server's
//! connections would.
//!
//! The clock decides when a review is sent (open loop): review number n is due n/rate seconds after the start,
//! however long earlier responses take, and its latency counts from that moment. A slow response hides no
//! other review, and a review that finds every connection busy counts its wait.
//!
//! Each connection has a thread: the kernel's timer wakes a thread within microseconds, and the timers of an
//! asynchronous runtime have a resolution of 1 ms.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::time::{ClockId, clock_gettime};

mod connection;
mod report;

use connection::{Connection, Endpoint};
use report::Sample;
pub use report::{GroupLatency, LoadReport, Percentiles};

/// Delay that the kernel may add to a timer, in nanoseconds. Its default is 50 µs, which would be part of each
/// latency. Threads inherit it.
const TIMER_SLACK: (&str, &str) = ("/proc/self/timerslack_ns", "1");

/// Options of one run.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadOptions {
    /// Address of the server.
    #[arg(long)]
    pub address: SocketAddr,
    /// Certificate authority that the server's certificate must be issued by, as PEM.
    #[arg(long, value_name = "FILE")]
    pub authority: PathBuf,
    /// File with one review in a line: its group, a tab, and its JSON. The reviews are sent in turn.
    #[arg(long, value_name = "FILE")]
    pub reviews: PathBuf,
    /// Reviews a second.
    #[arg(long)]
    pub rate: u32,
    /// Connections, each with at most one review at a time.
    #[arg(long)]
    pub connections: usize,
    /// Seconds of load before the measurement.
    #[arg(long)]
    pub warm_up: u32,
    /// Seconds of the measurement.
    #[arg(long)]
    pub seconds: u32,
}

impl LoadOptions {
    /// The options as arguments of a command line.
    pub fn arguments(&self) -> Vec<OsString> {
        let Self { address, authority, reviews, rate, connections, warm_up, seconds } = self;
        let file = |path: &Path| path.as_os_str().to_owned();
        let options: [(&str, OsString); 7] = [
            ("--address", address.to_string().into()),
            ("--authority", file(authority)),
            ("--reviews", file(reviews)),
            ("--rate", rate.to_string().into()),
            ("--connections", connections.to_string().into()),
            ("--warm-up", warm_up.to_string().into()),
            ("--seconds", seconds.to_string().into()),
        ];
        options.into_iter().flat_map(|(name, value)| [OsString::from(name), value]).collect()
    }
}

/// Reviews in the order in which they are sent.
struct Reviews {
    /// Names of the groups.
    groups: Vec<String>,
    /// HTTP requests, each with the index of its group.
    requests: Vec<(usize, Vec<u8>)>,
}

/// Connects, warms the server up, calls `wait_for_start`, and measures.
pub fn run(options: &LoadOptions, wait_for_start: impl FnOnce() -> Result<()>) -> Result<LoadReport> {
    let address = options.address;
    ensure!(address.ip().is_loopback(), "{address} isn't a loopback address: load is for this machine only");
    let (file, slack) = TIMER_SLACK;
    // Kernels without this file are accepted: latencies are up to 50 µs longer.
    let _ = fs::write(file, slack);
    let reviews = Reviews::read(&options.reviews, address)?;
    let endpoint = Endpoint::new(address, &options.authority)?;
    let connect = |_| Connection::open(&endpoint);
    let mut connections = (0..options.connections).map(connect).collect::<Result<Vec<_>>>()?;
    send(&mut connections, &reviews, options.rate, options.warm_up)?;
    wait_for_start()?;
    let (cpu, start) = (cpu_time()?, Instant::now());
    let samples = send(&mut connections, &reviews, options.rate, options.seconds)?;
    let elapsed = start.elapsed();
    Ok(LoadReport::new(&reviews.groups, &samples, elapsed, cpu_time()?.saturating_sub(cpu)))
}

/// CPU time of this process so far.
fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::ProcessCPUTime).try_into()?)
}

impl Reviews {
    fn read(file: &Path, host: SocketAddr) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        let (mut groups, mut requests) = (Vec::<String>::new(), Vec::new());
        for line in text.lines() {
            let (group, review) =
                line.split_once('\t').with_context(|| format!("{}: a line without a tab", file.display()))?;
            let index = groups.iter().position(|known| known == group).unwrap_or_else(|| {
                groups.push(group.to_owned());
                groups.len() - 1
            });
            requests.push((index, connection::request(host, review)));
        }
        ensure!(!requests.is_empty(), "{} has no review", file.display());
        Ok(Self { groups, requests })
    }
}

/// Sends reviews for `seconds` and returns one sample per review.
fn send(connections: &mut [Connection], reviews: &Reviews, rate: u32, seconds: u32) -> Result<Vec<Sample>> {
    let schedule = &Schedule {
        reviews,
        start: Instant::now(),
        rate,
        total: u64::from(rate) * u64::from(seconds),
        next: AtomicU64::new(0),
    };
    let sent: Result<Vec<Vec<Sample>>> = thread::scope(|scope| {
        let threads: Vec<_> = connections
            .iter_mut()
            .map(|connection| scope.spawn(move || schedule.send_due_reviews(connection)))
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?).collect()
    });
    Ok(sent?.into_iter().flatten().collect())
}

/// Reviews and the moments at which they are due.
struct Schedule<'a> {
    reviews: &'a Reviews,
    start: Instant,
    rate: u32,
    total: u64,
    /// Number of the next review that no connection has taken.
    next: AtomicU64,
}

impl Schedule<'_> {
    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_nanos(number * 1_000_000_000 / u64::from(self.rate))
    }

    /// Sends a connection's share of the reviews: whenever the connection is free, it takes the next review and
    /// waits until the review is due.
    fn send_due_reviews(&self, connection: &mut Connection) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.total {
                return Ok(samples);
            }
            let due = self.due(number);
            while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
                thread::park_timeout(wait);
            }
            let index = usize::try_from(number)? % self.reviews.requests.len();
            let (group, request) = &self.reviews.requests[index];
            let late = due.elapsed();
            let answer = connection.exchange(request);
            let took = due.elapsed();
            if answer.is_err() {
                connection.reopen()?;
            }
            let answer = answer.map_err(|error| format!("{error:#}"));
            samples.push(Sample { group: *group, late, took, answer });
        }
    }
}
