//! API servers with zstart's definitions that the tests of one run share, one test at a time.
//!
//! Each test is a process. A test that finds no free server starts a keeper, a process that runs a server for as long
//! as tests use it. A test locks a server for itself, and brings etcd back to what it was at first. The lock ends with
//! the test's process, so a test that was killed leaves a server like any other.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kube::Client;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use zstart_core::sync::lock;

use super::baseline::{Entries, Restoration};
use super::etcd::Etcd;
use super::{GARBAGE_PERCENT, READY_WITHIN, Servers, read_config};
use crate::cluster::built_binaries;
use crate::definitions::define;
use crate::tools::{self, Tool};
use crate::wait;

/// Variable of cargo-nextest with the run's id. Tests of other runners share a process, and start their own servers.
const RUN: &str = "NEXTEST_RUN_ID";
/// File of a usable server. A test locks it. A server that has lost its file isn't used again, and ends.
const SERVER: &str = "server.json";
/// The keeper's output.
const LOG: &str = "keeper.log";
/// Interval at which a keeper looks whether it is needed, and reads etcd until the API server's first writes are over.
const LOOK: Duration = Duration::from_millis(500);
/// Time without a test after which a keeper ends.
const IDLE: Duration = Duration::from_secs(30);
/// Attempts to bring etcd back: clients of the test before, killed a moment ago, might still write.
const ATTEMPTS: usize = 10;

/// Locks of this process. The kernel releases them when the process, and so each of its clients, has ended.
static LOCKS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Addresses of a server, and etcd's entries before the first test.
#[derive(Debug, Serialize, Deserialize)]
struct SharedServer {
    kubeconfig: PathBuf,
    etcd: u16,
    baseline: Entries,
}

/// A server that its owner alone uses.
struct Permit {
    lock: File,
    kubeconfig: PathBuf,
}

/// Takes a server of this run of tests for the rest of this process, and returns its kubeconfig with all rights.
/// Returns `None` outside of a run.
pub(super) async fn take() -> Result<Option<PathBuf>> {
    let Some(run) = env::var_os(RUN) else { return Ok(None) };
    let permit = take_in(&run.display().to_string()).await?;
    lock(&LOCKS).push(permit.lock);
    Ok(Some(permit.kubeconfig))
}

async fn take_in(run: &str) -> Result<Permit> {
    if let Some(permit) = take_free(run).await? {
        return Ok(permit);
    }
    // A build of the programs isn't in the keeper's time.
    for tool in [Tool::KubeApiserver, Tool::Etcd] {
        tools::find(tool).await?;
    }
    let folder = TempDir::with_prefix(prefix(run))?.keep();
    let mut keeper = start_keeper(&folder)?;
    let alive = || match keeper.try_wait()? {
        Some(status) => bail!("its keeper ended with {status}"),
        None => Ok(()),
    };
    // Uses a server that another test gives back meanwhile.
    let free = wait::while_met("a shared API server", READY_WITHIN, alive, || take_free(run)).await;
    free.with_context(|| {
        format!("the keeper wrote: {}", fs::read_to_string(folder.join(LOG)).unwrap_or_default())
    })
}

#[expect(clippy::print_stderr, reason = "a failed test shows it")]
async fn take_free(run: &str) -> Result<Option<Permit>> {
    let prefix = prefix(run);
    for folder in fs::read_dir(env::temp_dir())? {
        let folder = folder?;
        if !folder.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
            continue;
        }
        let file = folder.path().join(SERVER);
        let Ok(lock) = File::open(&file) else { continue };
        // A file that was removed before the lock doesn't count.
        if lock.try_lock().is_err() || !file.exists() {
            continue;
        }
        let server: SharedServer = serde_json::from_reader(io::BufReader::new(&lock))?;
        match restore(&server).await {
            Ok(()) => return Ok(Some(Permit { lock, kubeconfig: server.kubeconfig })),
            Err(reason) => eprintln!("the API server of {} isn't used again: {reason:#}", file.display()),
        }
        // The keeper removes its folder if the server has ended.
        let _ = fs::remove_file(&file);
    }
    Ok(None)
}

/// Start of the names of a run's folders.
fn prefix(run: &str) -> String {
    format!("zstart-shared-{run}-")
}

/// Brings etcd back to what it was. An error says why the server can't be used again.
async fn restore(server: &SharedServer) -> Result<()> {
    let etcd = Etcd::new(server.etcd);
    for _ in 0..ATTEMPTS {
        let restoration = Restoration::of(&server.baseline, &etcd.read().await?);
        if restoration.is_empty() {
            return Ok(());
        }
        if let Some(key) = restoration.changed_rule() {
            bail!("a test changed {key}");
        }
        etcd.write(&restoration).await?;
    }
    bail!("another client writes to etcd")
}

fn start_keeper(folder: &Path) -> Result<Child> {
    let log = File::create(folder.join(LOG))?;
    // A session of its own: the runner ends the processes of a test that takes too long.
    let mut command = Command::new("setsid");
    command.arg(built_binaries()?.join("lab")).arg("keep-control-plane").arg(folder);
    command.arg(parent_id().to_string());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("failed to start a keeper with setsid")
}

/// Runs a server in a folder until the runner of the tests or the server has ended, or no test uses the server.
pub(crate) async fn keep(folder: &Path, runner: u32) -> Result<()> {
    let runner = PathBuf::from(format!("/proc/{runner}"));
    // After an error, the test that waits reads the log.
    keep_server(folder, &runner).await?;
    Ok(fs::remove_dir_all(folder)?)
}

async fn keep_server(folder: &Path, runner: &Path) -> Result<()> {
    let mut servers = Servers::start(folder, &[], Some(GARBAGE_PERCENT)).await?;
    define(&Client::try_from(read_config(&servers.kubeconfig).await?)?).await?;
    let baseline = settled(&Etcd::new(servers.etcd)).await?;
    let server = SharedServer { kubeconfig: servers.kubeconfig.clone(), etcd: servers.etcd, baseline };
    let (file, unfinished) = (folder.join(SERVER), folder.join("unfinished"));
    fs::write(&unfinished, serde_json::to_vec(&server)?)?;
    fs::rename(&unfinished, &file)?;
    let permit = File::open(&file)?;
    let mut used = Instant::now();
    while runner.exists() && file.exists() && servers.require_alive().is_ok() {
        match permit.try_lock() {
            // A test that comes now finds no file.
            Ok(()) if used.elapsed() > IDLE => fs::remove_file(&file)?,
            Ok(()) => permit.unlock()?,
            Err(_) => used = Instant::now(),
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Entries of etcd after the API server's first writes.
async fn settled(etcd: &Etcd) -> Result<Entries> {
    let mut entries = etcd.read().await?;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = etcd.read().await?;
        if Restoration::of(&entries, &now).is_empty() {
            return Ok(now);
        }
        entries = now;
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
    use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
    use kube::api::{ListParams, Patch, PatchParams, PostParams};
    use kube::{Api, Resource};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};
    use zstart_core::ImageConversion;

    use super::*;

    async fn client(permit: &Permit) -> Result<Client> {
        Ok(Client::try_from(read_config(&permit.kubeconfig).await?)?)
    }

    async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Serialize,
    {
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    #[tokio::test]
    async fn shared_server_keeps_nothing_of_a_test() -> Result<()> {
        let run = format!("test-{}", std::process::id());
        let first = take_in(&run).await?;
        assert!(take_free(&run).await?.is_none(), "one server for two tests");
        let namespaces = Api::<Namespace>::all(client(&first).await?);
        create(&namespaces, json!({"metadata": {"name": "left"}})).await?;
        let labelled = Patch::Merge(json!({"metadata": {"labels": {"left": "behind"}}}));
        namespaces.patch("default", &PatchParams::default(), &labelled).await?;
        let maps = Api::<ConfigMap>::namespaced(client(&first).await?, "left");
        // More than the writes of one transaction.
        for number in 0..150 {
            create(&maps, json!({"metadata": {"name": format!("map-{number}")}})).await?;
        }
        let kubeconfig = first.kubeconfig.clone();
        drop(first);

        let second = take_free(&run).await?.context("no server is free")?;
        assert_eq!(second.kubeconfig, kubeconfig);
        let client = client(&second).await?;
        let namespaces = Api::<Namespace>::all(client.clone());
        assert!(namespaces.get_opt("left").await?.is_none());
        assert!(!namespaces.get("default").await?.metadata.labels.unwrap_or_default().contains_key("left"));
        let maps = Api::<ConfigMap>::namespaced(client.clone(), "left");
        assert!(maps.list(&ListParams::default()).await?.items.is_empty());
        let records = Api::<ImageConversion>::all(client.clone());
        assert!(records.list(&ListParams::default()).await?.items.is_empty());

        // The API server might still call a webhook that is gone.
        let webhooks = Api::<ValidatingWebhookConfiguration>::all(client);
        create(&webhooks, json!({"metadata": {"name": "left"}})).await?;
        drop(second);
        assert!(take_free(&run).await?.is_none(), "a server whose webhooks changed was used again");
        let folder = kubeconfig.ancestors().nth(2).context("no folder")?.to_owned();
        wait::until("the keeper to end", READY_WITHIN, || async { Ok((!folder.exists()).then_some(())) })
            .await
    }
}
