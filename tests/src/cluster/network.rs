//! Network of a cluster's namespace.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::ADDRESS;
use super::node::FIRST_BRIDGE;
use crate::process::run;

/// Interface with the nodes' addresses.
const INTERFACE: &str = "node0";

/// Gives the namespace an address that isn't loopback (the kubelet refuses loopback) and a default route
/// (pods' traffic to Services needs one).
pub(super) fn set_up() -> Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", INTERFACE, "type", "veth", "peer", "name", "node1"])?;
    ip(&["link", "set", "node1", "up"])?;
    add_address(ADDRESS)?;
    ip(&["link", "set", INTERFACE, "up"])?;
    ip(&["route", "add", "default", "dev", INTERFACE])?;
    let forwarding = "/proc/sys/net/ipv4/ip_forward";
    fs::write(forwarding, "1").with_context(|| format!("failed to write {forwarding}"))
}

/// Adds the address of a node.
pub(super) fn add_address(address: Ipv4Addr) -> Result<()> {
    ip(&["addr", "add", &format!("{address}/24"), "dev", INTERFACE])
}

/// Removes the pod network's interfaces and the firewall rules, which a machine loses when it is switched off.
pub(super) fn clear() -> Result<()> {
    remove(FIRST_BRIDGE)?;
    run(Command::new("nft").args(["flush", "ruleset"])).map(drop)
}

/// Removes the interface of a pod network.
pub(super) fn remove(bridge: &str) -> Result<()> {
    ip(&["link", "delete", bridge])
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments)).map(drop)
}
