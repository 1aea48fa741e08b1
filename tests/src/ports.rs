//! Loopback ports that stay free until their component listens.
//!
//! Binding port 0, closing it and passing the number on returns a port of the kernel's ephemeral range, which
//! any outgoing connection may take a moment later. Ports of this module are below that range, and a lock
//! prevents that two processes of one user get the same port.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};
use zstart_core::sync::lock;

use crate::settings;

/// File with the range of ports that Linux uses for outgoing connections.
const EPHEMERAL_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Number of ports to choose from.
const PORT_COUNT: u16 = 10_000;

/// Locks on this process's ports. The kernel releases them when the process ends.
static LOCKS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Returns `N` free ports.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let range = fs::read_to_string(EPHEMERAL_RANGE).unwrap_or_default();
    let end = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768_u16);
    let start = end.checked_sub(PORT_COUNT).filter(|start| *start >= 1024);
    let start = start.with_context(|| {
        format!("failed to choose ports: {EPHEMERAL_RANGE} ({range}) leaves fewer than {PORT_COUNT} below it")
    })?;
    let locks = settings::cache_folder()?.join("ports");
    fs::create_dir_all(&locks)?;
    let mut ports = [0; N];
    let mut found = 0;
    // Processes start at different offsets, so they seldom try the same port.
    let first = std::process::id().wrapping_mul(37) % u32::from(PORT_COUNT);
    for step in 0..u32::from(PORT_COUNT) {
        if found == N {
            return Ok(ports);
        }
        let port = start + u16::try_from((first + step) % u32::from(PORT_COUNT))?;
        let lock_file = File::create(locks.join(port.to_string()))?;
        if lock_file.try_lock().is_err() || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            continue;
        }
        lock(&LOCKS).push(lock_file);
        ports[found] = port;
        found += 1;
    }
    bail!("failed to find {N} free ports from {start} to {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_never_given_twice() {
        let mut ports = [free_ports::<3>().unwrap(), free_ports::<3>().unwrap()].concat();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 6);
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
