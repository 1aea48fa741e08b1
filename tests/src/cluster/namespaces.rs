//! Enters new namespaces.
//!
//! A program that needs a cluster starts itself again under `unshare`. The new process is the first in new
//! namespaces, starts the cluster there and does the work. The new process's exit code is passed on.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, bail};

use super::{Cluster, Storage};
use crate::packages;
use crate::settings;

/// Passes the run folder to the process inside the namespaces; its presence marks that process as inside.
const RUN_FOLDER: &str = "ZSTART_LAB_RUN";
/// Mount point of cgroups, versions 1 and 2.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Runs the body of a test in a cluster of its own. `test` is the full name of the test, by which the test
/// binary finds the test again inside the namespaces.
///
/// Without root, the test fails with a message that says how to run it. With `ROOTLESS=1`, the test prints
/// that it is left out, and succeeds.
pub fn run<F, R>(test: &str, body: F)
where
    F: FnOnce(Cluster) -> R,
    R: Future<Output = Result<()>>,
{
    let arguments = [test, "--exact", "--include-ignored", "--nocapture"].map(str::to_owned);
    run_program(Storage::Disk, &arguments, body).expect("the test in the cluster succeeds");
}

/// Whether this process runs inside a cluster's namespaces.
pub fn is_inside() -> bool {
    std::env::var_os(RUN_FOLDER).is_some()
}

/// Runs `body` in a cluster, by starting this program again with `arguments`. Inside the namespaces, the storage is the
/// one that was chosen outside.
#[expect(clippy::print_stderr, reason = "the user must see which tests are left out")]
pub fn run_program<F, R>(storage: Storage, arguments: &[String], body: F) -> Result<()>
where
    F: FnOnce(Cluster) -> R,
    R: Future<Output = Result<()>>,
{
    if let Some(folder) = std::env::var_os(RUN_FOLDER) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(async {
            let cluster = Cluster::start(Path::new(&folder)).await.context("failed to start the cluster")?;
            body(cluster).await
        });
    }
    if !settings::is_root() {
        let message = "a whole cluster needs root to create namespaces; run this with sudo";
        if settings::rootless_is_accepted() {
            eprintln!("LEFT OUT: {message}");
            return Ok(());
        }
        bail!("{message}, or leave cluster tests out with ROOTLESS=1");
    }
    packages::require(&packages::CLUSTER)?;
    let folder = tempfile::Builder::new().prefix("zstart-cluster-").tempdir()?;
    let status = enter(folder.path(), storage, arguments);
    remove_cgroups(folder.path());
    let status = status?;
    let ended = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or_default()),
    };
    // The logs are worth more than a clean /tmp after a failure.
    bail!("the program in the cluster {ended}; the logs are in {}", folder.keep().display())
}

fn enter(folder: &Path, storage: Storage, arguments: &[String]) -> Result<ExitStatus> {
    let program = std::env::current_exe().context("failed to find the path of this program")?;
    // If this process dies, the kernel kills unshare, and unshare's end kills everything inside.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(program)
        .args(arguments)
        .env(RUN_FOLDER, folder)
        .env(Storage::VARIABLE, storage.value())
        .status()
        .context("failed to start unshare (package util-linux)")
}

/// Removes the cgroups of the lab's containers, which the kernel leaves behind. containerd's own folder tells
/// which ones these are: other labs have their cgroups in the same tree.
pub(super) fn remove_cgroups(folder: &Path) {
    // The first node's files are in the run folder itself, and each other node has a folder in it.
    let mut nodes = vec![folder.to_owned()];
    nodes.extend(folders_in(folder));
    let tasks = nodes.iter().map(|node| node.join("containerd-run/io.containerd.runtime.v2.task/k8s.io"));
    let tasks = tasks.flat_map(|tasks| folders_in(&tasks));
    let containers: Vec<PathBuf> = tasks.filter_map(|task| task.file_name().map(Into::into)).collect();
    // Version 1 has one tree per controller, version 2 has one tree.
    let mut trees = vec![PathBuf::from(CGROUPS)];
    trees.extend(folders_in(Path::new(CGROUPS)));
    for tree in trees {
        let kubernetes = tree.join("k8s.io");
        for container in &containers {
            remove_tree(&kubernetes.join(container));
        }
        // The folder becomes empty with the last container. A missing or non-empty folder is no error.
        let _ = fs::remove_dir(kubernetes);
    }
}

/// Removes a cgroup and its children, leaves first: only an empty cgroup can be removed. A cgroup has no
/// files that could be deleted.
fn remove_tree(folder: &Path) {
    for inner in folders_in(folder) {
        remove_tree(&inner);
    }
    let _ = fs::remove_dir(folder);
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).collect()
}
