//! Places in which the documents' commands run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use zstart_controller::certificates::issue::{issue_authority, issue_serving};
use zstart_controller::certificates::signer::Signer;
use zstart_core::Reference;
use zstart_core::record::record_name;
use zstart_tests::chart::cert_manager;
use zstart_tests::cluster::built_binaries;
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::images::Fixture;
use zstart_tests::objects::node_info;
use zstart_tests::tools::{self, Tool};

use crate::markdown::{Block, root};
use crate::outputs;

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
    /// An API server of its own for each block, with cert-manager's kinds and files with certificates.
    Release,
    /// A folder with a registry, whose outputs are compared with those of the page: see [`crate::outputs`].
    Registry,
}

impl Place {
    pub(crate) const ALL: [Self; 5] =
        [Self::Layouts, Self::Cluster, Self::Installation, Self::Release, Self::Registry];

    pub(crate) fn parse(word: &str) -> Result<Self> {
        match word {
            "layouts" => Ok(Self::Layouts),
            "cluster" => Ok(Self::Cluster),
            "installation" => Ok(Self::Installation),
            "release" => Ok(Self::Release),
            "registry" => Ok(Self::Registry),
            _ => bail!("{word:?} is none of the places layouts, cluster, installation, release, registry"),
        }
    }

    /// Runs the blocks of a page in new places of this kind. Each command must succeed.
    pub(crate) async fn run(self, blocks: &[&Block]) -> Result<()> {
        let script = || blocks.iter().map(|block| block.commands()).collect::<String>();
        match self {
            Self::Layouts => {
                let folder = Folder::new().await?;
                let image = Fixture::new().large_layer("usr/lib/forecast", 1 << 20).prepare()?;
                image.write(&folder.path().join("forecast"), "v1").await?;
                folder.bash(&script(), None).await
            }
            Self::Cluster => {
                let (folder, plane) = (Folder::new().await?, ControlPlane::start().await?);
                folder.bash(&cluster(&folder)?, Some(plane.kubeconfig())).await?;
                folder.bash(&script(), Some(plane.kubeconfig())).await
            }
            Self::Installation => {
                let (folder, plane) = (Folder::new().await?, ControlPlane::start().await?);
                let setup = cluster(&folder)? + &installation(&folder)?;
                folder.bash(&setup, Some(plane.kubeconfig())).await?;
                folder.bash(&script(), Some(plane.kubeconfig())).await
            }
            Self::Release => {
                for block in blocks {
                    let (folder, plane) = (Folder::new().await?, ControlPlane::start().await?);
                    cert_manager::define(&plane.client().await?).await?;
                    write_certificates(folder.path())?;
                    folder.bash(&block.commands(), Some(plane.kubeconfig())).await?;
                }
                Ok(())
            }
            Self::Registry => outputs::compare(blocks).await,
        }
    }
}

/// Writes `ca.crt`, and `tls.crt` with `tls.key` for the webhook.
fn write_certificates(folder: &Path) -> Result<()> {
    let now = Timestamp::now();
    let authority = issue_authority(now)?;
    let signer = Signer::read(authority.certificate.as_bytes(), authority.key.as_bytes())?;
    let names = BTreeSet::from(["zstart-webhook.zstart-system.svc".to_owned()]);
    let serving = issue_serving(now, &signer, &names)?;
    for (name, content) in
        [("ca.crt", authority.certificate), ("tls.crt", serving.certificate), ("tls.key", serving.key)]
    {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
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
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) async fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("zstart-docs-")?;
        let programs = folder.path().join("bin");
        fs::create_dir(&programs)?;
        symlink(tools::helm().await?, programs.join("helm"))?;
        symlink(tools::find(Tool::Kubectl).await?, programs.join("kubectl"))?;
        symlink(built_binaries()?.join("zstart"), programs.join("zstart"))?;
        for name in ["charts", "deploy"] {
            symlink(root().join(name).canonicalize()?, folder.path().join(name))?;
        }
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// `bash` in the folder, with these arguments and a time limit.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args([LIMIT, "bash"]).args(arguments).current_dir(self.path()).env_clear().envs(VARIABLES);
        command
            .env("HOME", self.path())
            .env("PATH", format!("{}:/usr/bin:/bin", self.path().join("bin").display()));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a script that ends at the first command that fails, and prints its commands. An error has what they printed,
    /// also after the time limit.
    async fn bash(&self, script: &str, kubeconfig: Option<&Path>) -> Result<()> {
        let mut command = self.command(&["-euxo", "pipefail", "-c", script]);
        command.envs(kubeconfig.map(|path| ("KUBECONFIG", path)));
        let output = command.output().await.context("failed to start bash")?;
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
