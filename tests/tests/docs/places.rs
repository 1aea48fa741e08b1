//! Places in which the documents' commands run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use zstart_core::Reference;
use zstart_core::record::record_name;
use zstart_tests::cluster::built_binaries;
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::images::Fixture;
use zstart_tests::objects::node_info;
use zstart_tests::tools::{self, Tool};

use crate::markdown::root;

/// Image of the Deployment that the clusters have.
const IMAGE: &str = "registry.example/app:v1";

/// Time limit for the commands of a page, in seconds. They take half a minute on two busy cores.
const LIMIT: &str = "180";

/// Variables that the commands use.
const VARIABLES: [(&str, &str); 5] = [
    ("REGISTRY", "registry.example/zstart"),
    ("REGISTRY_IP", "172.18.0.9"),
    ("ACCOUNT", "111122223333"),
    ("REGION", "eu-west-1"),
    ("CLUSTER", "shop"),
];

/// A place for commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder with an image.
    Layouts,
    /// An API server with a node, and a Deployment in the namespace `shop`.
    Cluster,
    /// The same, with the chart installed and a record of the Deployment's image. No program of zstart runs.
    Installation,
}

impl Place {
    pub(crate) fn parse(word: &str) -> Result<Self> {
        match word {
            "layouts" => Ok(Self::Layouts),
            "cluster" => Ok(Self::Cluster),
            "installation" => Ok(Self::Installation),
            _ => bail!("{word:?} is none of the places layouts, cluster, installation"),
        }
    }

    /// Runs commands in a new place of this kind. Each must succeed.
    pub(crate) async fn run(self, commands: &str) -> Result<()> {
        let folder = Folder::new().await?;
        let plane = if self == Self::Layouts { None } else { Some(ControlPlane::start().await?) };
        let kubeconfig = plane.as_ref().map(ControlPlane::kubeconfig);
        match self {
            Self::Layouts => {
                let image = Fixture::new().large_layer("usr/lib/forecast", 1 << 20).prepare()?;
                image.write(&folder.path().join("forecast"), "v1").await?;
            }
            Self::Cluster => folder.bash(&cluster(&folder)?, kubeconfig).await?,
            Self::Installation => {
                let setup = cluster(&folder)? + &installation(&folder)?;
                folder.bash(&setup, kubeconfig).await?;
            }
        }
        folder.bash(commands, kubeconfig).await
    }
}

/// Commands that make the objects of a cluster.
fn cluster(folder: &Folder) -> Result<String> {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node-1", "labels": {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}},
        "status": {"nodeInfo": node_info("linux", "amd64", "containerd://2.1.6")},
    });
    fs::write(folder.path().join("node.json"), node.to_string())?;
    Ok(format!(
        "kubectl create -f node.json\n\
         kubectl create namespace shop\n\
         kubectl create deployment web --namespace shop --image {IMAGE}\n"
    ))
}

/// Commands that install zstart, and make the objects of its controller.
fn installation(folder: &Folder) -> Result<String> {
    let source: Reference = IMAGE.parse()?;
    let name = record_name(&source);
    let record = json!({
        "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion",
        "metadata": {"name": name}, "spec": {"source": IMAGE},
    });
    let condition = json!({
        "type": "Ready", "status": "False", "reason": "PushDenied", "message": "no right to push",
        "lastTransitionTime": "2026-11-28T00:00:00Z",
    });
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "zstart-controller", "namespace": "zstart-system"},
    });
    fs::write(folder.path().join("record.json"), record.to_string())?;
    fs::write(folder.path().join("lease.json"), lease.to_string())?;
    let status = json!({"status": {"conditions": [condition]}});
    Ok(format!(
        "helm install zstart charts/zstart --namespace zstart-system --create-namespace\n\
         kubectl label namespace shop zstart.dev/rewrite=enabled\n\
         kubectl create secret generic zstart-webhook-ca --namespace zstart-system\n\
         kubectl create secret generic zstart-webhook-tls --namespace zstart-system\n\
         kubectl create -f lease.json -f record.json\n\
         kubectl patch imgconv {name} --subresource=status --type=merge --patch '{status}'\n"
    ))
}

/// Home folder of the commands, with their programs and the chart.
struct Folder(TempDir);

impl Folder {
    async fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("zstart-docs-")?;
        let programs = folder.path().join("bin");
        fs::create_dir(&programs)?;
        symlink(tools::helm().await?, programs.join("helm"))?;
        symlink(tools::find(Tool::Kubectl).await?, programs.join("kubectl"))?;
        symlink(built_binaries()?.join("zstart"), programs.join("zstart"))?;
        symlink(root().join("charts").canonicalize()?, folder.path().join("charts"))?;
        Ok(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs a script that ends at the first command that fails, and prints its commands. An error has what they printed,
    /// also after the time limit.
    async fn bash(&self, script: &str, kubeconfig: Option<&Path>) -> Result<()> {
        let mut command = Command::new("timeout");
        command
            .args([LIMIT, "bash", "-euxo", "pipefail", "-c", script])
            .current_dir(self.path())
            .env_clear()
            .envs(VARIABLES);
        command
            .env("HOME", self.path())
            .env("PATH", format!("{}:/usr/bin:/bin", self.path().join("bin").display()));
        command.envs(kubeconfig.map(|path| ("KUBECONFIG", path)));
        let output =
            command.stdin(Stdio::null()).kill_on_drop(true).output().await.context("failed to start bash")?;
        ensure!(
            output.status.success(),
            "bash ended with {} (124: it took more than {LIMIT} s):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}
