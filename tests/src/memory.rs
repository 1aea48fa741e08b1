//! Memory of this machine.

use std::fs;

use anyhow::{Context as _, Result};

/// Memory that programs can still use, in bytes.
pub(crate) fn free() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("failed to read /proc/meminfo")?;
    parse(&text).context("/proc/meminfo has no MemAvailable")
}

fn parse(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:       24620908 kB\nMemFree:         1000000 kB\nMemAvailable:   20971520 kB\n";
        assert_eq!(parse(text), Some(20 << 30));
        assert_eq!(parse("MemTotal: 1 kB\n"), None);
    }
}
