//! Memory of the Go compiler.

use std::fs;

/// Memory that a compiler or linker of Go needs without garbage collection, and as much for other programs, in bytes. The
/// largest of Kubernetes takes 2.3 GB.
const ROOMY: u64 = 5 << 30;

/// Environment in which the Go compiler spends memory instead of time: a build takes an eighth less without garbage
/// collection. Empty if the machine has less free memory than each core needs, or if the user chose.
pub(super) fn environment() -> &'static [(&'static str, &'static str)] {
    if std::env::var_os("GOGC").is_some() || available().is_none_or(|bytes| bytes / cores() < ROOMY) {
        return &[];
    }
    &[("GOGC", "off"), ("GOMEMLIMIT", "4GiB")]
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

/// Free memory of the machine in bytes, if the kernel tells.
fn available() -> Option<u64> {
    parse(&fs::read_to_string("/proc/meminfo").ok()?)
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
