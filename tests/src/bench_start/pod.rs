//! A pod of the benchmark, from its creation until its program is ready.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{LogParams, PostParams};
use serde_json::json;

use crate::cluster::pull_times::{NAMESPACE, remove_pod};
use crate::cluster::{BUSYBOX, Cluster, LOCAL_REGISTRY};
use crate::wait;

const POD: &str = "app";
/// Time limit for a program to be ready. zstd:chunked takes minutes for all files.
const WITHIN: Duration = Duration::from_mins(10);
/// Word that each program prints when it is ready.
const READY: &str = "ready";
/// Reads every file of the image, and fails if one can't be read.
const READ_ALL: &str = "\
import os, stat
def fail(error):
    raise error
for folder, folders, files in os.walk('/', onerror=fail):
    if folder == '/':
        folders[:] = [name for name in folders if name not in ('proc', 'sys', 'dev')]
    for name in files:
        path = os.path.join(folder, name)
        if stat.S_ISREG(os.lstat(path).st_mode):
            with open(path, 'rb') as file:
                while file.read(1 << 20):
                    pass
print('ready', flush=True)
";

/// Program of a pod. The programs differ in how much of the image they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// Starts the interpreter.
    Interpreter,
    /// Imports seven packages of the image: its own program.
    Imports,
    /// Reads all files of the image.
    AllFiles,
}

impl Program {
    pub(super) const ALL: [Self; 3] = [Self::Interpreter, Self::Imports, Self::AllFiles];

    /// Command of the container; empty for the image's own.
    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Interpreter => &["python3", "-c", "print('ready', flush=True)"],
            Self::Imports => &[],
            Self::AllFiles => &["python3", "-c", READ_ALL],
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Interpreter => "starts Python",
            Self::Imports => "imports seven packages",
            Self::AllFiles => "reads all files",
        })
    }
}

/// Runs a pod of another image.
pub(super) async fn warm_up(cluster: &Cluster, node: &str) -> Result<()> {
    run(cluster, node, &format!("{LOCAL_REGISTRY}/{BUSYBOX}"), &["busybox", "echo", READY]).await.map(drop)
}

/// Runs a pod. Returns the time from its creation until its program was ready.
pub(super) async fn start(cluster: &Cluster, node: &str, image: &str, program: Program) -> Result<Duration> {
    run(cluster, node, image, program.command()).await
}

async fn run(cluster: &Cluster, node: &str, image: &str, command: &[&str]) -> Result<Duration> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    let container = json!({"name": "app", "image": image, "command": command});
    let pod = serde_json::from_value(json!({
        "metadata": {"name": POD},
        "spec": {"nodeName": node, "restartPolicy": "Never", "containers": [container]},
    }))?;
    let created = Timestamp::now();
    pods.create(&PostParams::default(), &pod).await?;
    let ready =
        wait::until(format!("the program of {image} to be ready"), WITHIN, || ready_time(&pods)).await?;
    remove_pod(&pods, POD).await?;
    Ok(Duration::try_from(ready.duration_since(created))?)
}

/// Time at which the program printed that it is ready: containerd writes it before each line of the log.
async fn ready_time(pods: &Api<Pod>) -> Result<Option<Timestamp>> {
    let log = pods.logs(POD, &LogParams { timestamps: true, ..LogParams::default() }).await?;
    let mut lines = log.lines().filter_map(|line| line.split_once(' '));
    let ready = lines.find(|(_, text)| text.split(' ').next() == Some(READY));
    Ok(ready.map(|(time, _)| time.parse()).transpose()?)
}
