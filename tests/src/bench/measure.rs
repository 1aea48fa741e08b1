//! Resource usage of a program: time, CPU, memory, disk writes.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use wait4::Wait4 as _;

/// Interval between looks at a program's memory. The kernel keeps the peak, so a look misses only memory
/// allocated in the program's last 5 ms.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(5);

/// Resource usage of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Wall time.
    pub(super) wall: Duration,
    /// User and system time.
    pub(super) cpu: Duration,
    /// Peak resident set, in bytes.
    pub(super) memory: u64,
    /// Bytes written to disks.
    pub(super) written: u64,
}

impl Usage {
    /// Usage of two runs, one after the other.
    fn followed_by(self, next: Self) -> Self {
        Self {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            memory: self.memory.max(next.memory),
            written: self.written + next.written,
        }
    }
}

/// Runs programs one after the other.
pub(super) async fn measure_all(commands: Vec<Command>) -> Result<Usage> {
    let mut all = Usage::default();
    for command in commands {
        all = all.followed_by(measure(command).await?);
    }
    Ok(all)
}

/// Runs a program to its end and requires success.
pub(super) async fn measure(mut command: Command) -> Result<Usage> {
    tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("failed to start {command:?}"))?;
        let (ended, id) = (Arc::new(AtomicBool::new(false)), child.id());
        let sampler = {
            let ended = Arc::clone(&ended);
            thread::spawn(move || sample(id, &ended))
        };
        let waited = child.wait4();
        let wall = started.elapsed();
        ended.store(true, Ordering::Release);
        sampler.thread().unpark();
        let (memory, written) = sampler.join().unwrap_or_default();
        let waited = waited?;
        ensure!(waited.status.success(), "{command:?} ended with {}", waited.status);
        let usage = waited.rusage;
        Ok(Usage { wall, cpu: usage.utime + usage.stime, memory, written })
    })
    .await?
}

/// Peak resident set of a process and its disk writes, in bytes. (`ru_maxrss` would include this process's
/// own size at the moment of the fork.)
fn sample(id: u32, ended: &AtomicBool) -> (u64, u64) {
    let (mut peak, mut written) = (0, 0);
    while !ended.load(Ordering::Acquire) {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kibibytes.unwrap_or_default() * 1024);
        let io = fs::read_to_string(format!("/proc/{id}/io")).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        written = written.max(line.and_then(|line| line.parse().ok()).unwrap_or_default());
        thread::park_timeout(SAMPLE_INTERVAL);
    }
    (peak, written)
}
