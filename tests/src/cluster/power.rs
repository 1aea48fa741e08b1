//! A power cut: all processes of the cluster end at once, and its disk remains.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, getpid, kill_process};

use super::mounts::unmount_below;
use super::namespaces::remove_cgroups;
use super::{Cluster, network};
use crate::wait;

const ENDED_WITHIN: Duration = Duration::from_secs(30);

impl Cluster {
    /// Ends the whole machine of a cluster with one node, containers included, as a power cut does: by SIGKILL,
    /// without an order. The disk remains: etcd's data, the registry's blobs, containerd's images and containers,
    /// the kubelet's folder. Everything that a machine keeps in memory is gone: containerd's state, mounts,
    /// cgroups, interfaces and firewall rules. etcd's writes are in the kernel's cache, which the end of a process
    /// doesn't lose.
    ///
    /// [`start_control_plane`](Self::start_control_plane) and [`start_node`](Self::start_node) switch the machine
    /// on again.
    pub async fn power_off(&mut self) -> Result<()> {
        for pid in other_processes()? {
            // A process that ended meanwhile is no error.
            let _ = kill_process(pid, Signal::KILL);
        }
        self.components.clear();
        wait::until("all processes of the cluster to end", ENDED_WITHIN, || async {
            Ok(other_processes()?.is_empty().then_some(()))
        })
        .await?;
        unmount_below(self.folder())?;
        remove_cgroups(self.folder());
        let state = self.folder().join("containerd-run");
        fs::remove_dir_all(&state).with_context(|| format!("failed to remove {}", state.display()))?;
        network::clear()
    }
}

/// Living processes of this process namespace, except this one.
fn other_processes() -> Result<Vec<Pid>> {
    // A cluster's program is the first process of its namespace. Elsewhere, the processes would be the machine's.
    if getpid() != Pid::INIT {
        bail!("a power cut works only in the namespaces of a cluster");
    }
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        found.extend(pid.filter(|pid| *pid != Pid::INIT && is_alive(*pid)));
    }
    Ok(found)
}

/// Returns whether a process exists and is no zombie (proc(5): the state follows the name in parentheses).
fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}
