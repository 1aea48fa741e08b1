//! Network of a cluster's namespace.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::ADDRESS;
use crate::process::run;

/// Gives the namespace an address that isn't loopback (the kubelet refuses loopback) and a default route
/// (pods' traffic to Services needs one).
pub(super) fn set_up() -> Result<()> {
    let address = format!("{ADDRESS}/24");
    for arguments in [
        &["link", "set", "lo", "up"][..],
        &["link", "add", "node0", "type", "veth", "peer", "name", "node1"],
        &["link", "set", "node1", "up"],
        &["addr", "add", &address, "dev", "node0"],
        &["link", "set", "node0", "up"],
        &["route", "add", "default", "dev", "node0"],
    ] {
        run(Command::new("ip").args(arguments))?;
    }
    let forwarding = "/proc/sys/net/ipv4/ip_forward";
    fs::write(forwarding, "1").with_context(|| format!("failed to write {forwarding}"))
}
