//! Loopback ports that stay free until their component has taken them.
//!
//! The usual way (bind port 0, close, hand the number on) gives ports of the kernel's own range, and
//! any outgoing connection may take one of those a moment later. These lie below that range, and no
//! two processes of one user are given the same.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};
use zstart_core::sync::lock;

use crate::settings;

/// The range that Linux takes ports of outgoing connections from.
const EPHEMERAL_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// How many ports there are to choose from.
const PORT_COUNT: u16 = 10_000;

/// Locks on the ports that this process was given; they end with it.
static LOCKS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// So many ports.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let range = fs::read_to_string(EPHEMERAL_RANGE).unwrap_or_default();
    let end = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768_u16);
    let start = end.checked_sub(PORT_COUNT).filter(|start| *start >= 1024);
    let start = start.with_context(|| format!("{EPHEMERAL_RANGE} leaves too few ports: {range}"))?;
    let locks = settings::cache_folder()?.join("ports");
    fs::create_dir_all(&locks)?;
    let mut ports = [0; N];
    let mut found = 0;
    // Processes begin at different places, so that they seldom ask for the same.
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
    bail!("all ports from {start} to {end} are taken")
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
