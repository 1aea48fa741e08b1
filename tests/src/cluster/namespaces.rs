//! Into the namespaces and out again.
//!
//! The program that wants a cluster starts itself anew under `unshare`; the new process finds itself
//! alone in fresh namespaces, starts the cluster there and does the work. Its exit code comes back.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, bail};

use super::Cluster;
use crate::packages;
use crate::settings;

/// Names the run folder to the process inside; there it says that this is the inside.
const RUN_FOLDER: &str = "ZSTART_LAB_RUN";
/// Where cgroups are, of either version.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Runs the body of a test in a cluster of its own. `test` is the test's full name, by which the
/// test binary finds it again on the inside.
///
/// Without root, the test fails with a message that says how to run it, or is left out with a loud
/// one where `ROOTLESS=1` was said.
pub fn run<F, R>(test: &str, body: F)
where
    F: FnOnce(Cluster) -> R,
    R: Future<Output = Result<()>>,
{
    let arguments = [test, "--exact", "--nocapture"].map(str::to_owned);
    run_program(&arguments, body).expect("the test in the cluster succeeds");
}

/// Whether this process is the one in a cluster's namespaces.
pub fn is_inside() -> bool {
    std::env::var_os(RUN_FOLDER).is_some()
}

/// The same for any program: it is started anew with `arguments`.
#[expect(clippy::print_stderr, reason = "what is left out must be seen")]
pub fn run_program<F, R>(arguments: &[String], body: F) -> Result<()>
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
        let message = "a whole cluster needs root, because it makes namespaces: run it with sudo";
        if settings::rootless_is_accepted() {
            eprintln!("LEFT OUT: {message}");
            return Ok(());
        }
        bail!("{message}, or leave out what needs it with ROOTLESS=1");
    }
    packages::require(&packages::CLUSTER)?;
    let folder = tempfile::Builder::new().prefix("zstart-cluster-").tempdir()?;
    let status = enter(folder.path(), arguments);
    remove_cgroups(folder.path());
    let status = status?;
    let ended = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or_default()),
    };
    // The logs are worth more than a clean /tmp now.
    bail!("what ran in the cluster {ended}; its logs are in {}", folder.keep().display())
}

fn enter(folder: &Path, arguments: &[String]) -> Result<ExitStatus> {
    let program = std::env::current_exe().context("failed to find this program")?;
    // Should this process die, unshare is killed, and with it everything inside.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(program)
        .args(arguments)
        .env(RUN_FOLDER, folder)
        .status()
        .context("failed to start unshare (package util-linux)")
}

/// Removes the cgroups of the lab's containers, which the kernel leaves behind. Which ones are the
/// lab's is known from containerd's own folder: another lab's lie beside them.
fn remove_cgroups(folder: &Path) {
    let tasks = folder.join("containerd-run/io.containerd.runtime.v2.task/k8s.io");
    let containers: Vec<_> =
        folders_in(&tasks).iter().filter_map(|task| task.file_name().map(Into::into)).collect();
    // In version 1 there is one tree a controller, in version 2 one for all.
    let mut trees = vec![PathBuf::from(CGROUPS)];
    trees.extend(folders_in(Path::new(CGROUPS)));
    for tree in trees {
        let kubernetes = tree.join("k8s.io");
        for container in &containers {
            let container: &PathBuf = container;
            remove_tree(&kubernetes.join(container));
        }
        // It goes with the last container; one that isn't there, or isn't empty, is no trouble.
        let _ = fs::remove_dir(kubernetes);
    }
}

/// A cgroup goes when it is empty, so from the leaves up. It has no files that could be deleted.
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
