//! Processor time and memory, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Length of a clock tick in `/proc`, the same on every architecture of Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Most that was ever resident.
    pub peak: u64,
}

/// User and system time of a process so far.
pub(crate) fn cpu_time(id: u32) -> Result<Duration> {
    let file = format!("/proc/{id}/stat");
    parse_process(&fs::read_to_string(&file).with_context(|| format!("failed to read {file}"))?)
}

/// Time of all processors so far that was neither idle nor spent by other virtual machines.
pub(super) fn busy_time() -> Result<Duration> {
    parse_machine(&fs::read_to_string("/proc/stat").context("failed to read /proc/stat")?)
}

/// Memory of a process.
pub(crate) fn memory(id: u32) -> Result<Memory> {
    let file = format!("/proc/{id}/status");
    parse_memory(&fs::read_to_string(&file).with_context(|| format!("failed to read {file}"))?)
}

fn ticks(count: u64) -> Result<Duration> {
    Ok(TICK * u32::try_from(count)?)
}

fn parse_process(stat: &str) -> Result<Duration> {
    // The second field is the program's name in parentheses and may hold any character.
    let (_, fields) = stat.rsplit_once(')').context("the process has no name")?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let mut next = || -> Result<u64> { Ok(times.next().context("the process has no times")??) };
    ticks(next()? + next()?)
}

fn parse_machine(stat: &str) -> Result<Duration> {
    let line =
        stat.lines().find_map(|line| line.strip_prefix("cpu ")).context("no line of all processors")?;
    // user, nice, system, idle, iowait, irq, softirq, steal
    let fields = line.split_whitespace().map(str::parse::<u64>).collect::<Result<Vec<_>, _>>()?;
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|index| fields.get(*index)).sum();
    ticks(busy)
}

fn parse_memory(status: &str) -> Result<Memory> {
    let bytes = |name: &str| -> Result<u64> {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        let kibibytes = line.trim().strip_suffix(" kB").with_context(|| format!("{name} has no unit"))?;
        Ok(kibibytes.trim().parse::<u64>()? * 1024)
    };
    Ok(Memory { resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_times_follow_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 9 9 20 0 4 0 100 1000 10";
        assert_eq!(parse_process(stat).unwrap(), Duration::from_secs(3));
    }

    #[test]
    fn idle_and_stolen_time_is_not_busy() {
        let stat = "cpu  100 10 50 9000 800 5 35 700 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_machine(stat).unwrap(), Duration::from_secs(2));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(parse_memory(status).unwrap(), Memory { resident: 1 << 20, peak: 2 << 20 });
        assert!(parse_memory("Name:\ta\n").is_err());
    }
}
