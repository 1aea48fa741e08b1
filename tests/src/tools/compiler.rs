//! Environment of the Go compiler.

use crate::memory;

/// Memory that a compiler or linker of Go needs without garbage collection, and as much for other programs, in bytes. The
/// largest of Kubernetes takes 2.3 GB.
const ROOMY: u64 = 5 << 30;

/// Environment in which the Go compiler spends memory instead of time: a build takes an eighth less without garbage
/// collection. Empty if the machine has less free memory than each core needs, or if the user chose.
pub(super) fn environment() -> &'static [(&'static str, &'static str)] {
    let roomy = memory::free().is_ok_and(|free| free / cores() >= ROOMY);
    if roomy && std::env::var_os("GOGC").is_none() { &[("GOGC", "off"), ("GOMEMLIMIT", "4GiB")] } else { &[] }
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}
