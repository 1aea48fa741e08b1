//! Builds zstart's images as users build them and installs zstart with Helm.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{ADDRESS, Cluster, LOCAL_REGISTRY, REGISTRY};
use crate::chart::chart;
use crate::process::run;

/// Namespace of the installation.
pub const NAMESPACE: &str = "zstart-system";
/// Tag of the images.
const TAG: &str = "lab";

/// An installation of zstart.
#[derive(Debug)]
pub struct Installation {
    /// Its namespace.
    pub namespace: &'static str,
}

impl Cluster {
    /// Builds zstart's two images from `deploy/Dockerfile` and pushes them to the cluster's registry.
    /// `binaries` contains the static programs.
    pub fn push_zstart_images(&self, binaries: &Path) -> Result<()> {
        let deploy = repository().join("deploy");
        let context = self.folder().join("image-context");
        run(Command::new(deploy.join("context.sh")).arg(&context).arg(binaries))
            .context("failed to create the build context of zstart's images")?;
        for target in ["controller", "webhook"] {
            let image = format!("zstart-{target}");
            let mut build = self.buildah();
            // buildah sets TARGETARCH only for a given platform.
            let platform = format!("linux/{}", architecture());
            build.args(["build", "--quiet", "--isolation", "chroot", "--platform", &platform]);
            build.args(["--target", target, "--tag", &image]);
            run(build.arg("--file").arg(deploy.join("Dockerfile")).arg(&context))
                .with_context(|| format!("failed to build {image}"))?;
            let target = format!("docker://{LOCAL_REGISTRY}/zstart/{image}:{TAG}");
            let mut push = self.buildah();
            run(push.args(["push", "--quiet", "--tls-verify=false", &image, &target]))
                .with_context(|| format!("failed to push {image}"))?;
        }
        Ok(())
    }

    /// buildah with its storage in the run folder.
    fn buildah(&self) -> Command {
        let storage = self.folder().join("buildah");
        let mut command = self.command("buildah");
        command.args(["--storage-driver", "vfs", "--root"]).arg(storage.join("root"));
        command.arg("--runroot").arg(storage.join("run"));
        command
    }

    /// Installs the chart and waits until its pods are ready. `values` are additional `--set` arguments.
    pub fn install_zstart(&self, values: &[&str]) -> Result<Installation> {
        self.helm(&["install", "zstart", &chart_folder(), "--create-namespace"], Some(values))?;
        Ok(Installation { namespace: NAMESPACE })
    }

    /// Upgrades the installation to other `values`, and waits until its pods are ready.
    pub fn upgrade_zstart(&self, values: &[&str]) -> Result<()> {
        self.helm(&["upgrade", "zstart", &chart_folder()], Some(values))
    }

    /// Rolls the installation back to its previous revision, and waits until its pods are ready.
    pub fn roll_back_zstart(&self) -> Result<()> {
        self.helm(&["rollback", "zstart"], None)
    }

    /// Runs a command of helm. `values` are set in addition to the lab's own.
    fn helm(&self, arguments: &[&str], values: Option<&[&str]>) -> Result<()> {
        let mut helm = self.command("helm");
        helm.args(arguments).args(["--namespace", NAMESPACE, "--wait", "--timeout", "3m"]);
        let own = [
            format!("image.registry={REGISTRY}/zstart"),
            format!("image.tag={TAG}"),
            format!("controller.plainHttpRegistries={{{REGISTRY}}}"),
            format!("hostAliases[0].ip={ADDRESS}"),
            format!("hostAliases[0].hostnames[0]={}", REGISTRY.split(':').next().unwrap_or(REGISTRY)),
        ];
        if let Some(values) = values {
            for value in own.iter().map(String::as_str).chain(values.iter().copied()) {
                helm.args(["--set", value]);
            }
        }
        run(&mut helm).map(drop).with_context(|| self.pod_diagnostics(NAMESPACE))
    }

    /// States, events and logs of a namespace's pods, for an error message.
    pub fn pod_diagnostics(&self, namespace: &str) -> String {
        let ask = |arguments: &[&str]| self.kubectl(arguments).unwrap_or_else(|error| format!("{error:#}"));
        let mut text = ask(&["-n", namespace, "get", "pods", "-o", "wide"]);
        text.push_str(&ask(&["-n", namespace, "get", "events", "--sort-by=.lastTimestamp"]));
        let names = ask(&["-n", namespace, "get", "pods", "-o", "name"]);
        for pod in names.lines() {
            text.push_str(pod);
            text.push('\n');
            text.push_str(&ask(&["-n", namespace, "logs", "--tail=20", pod]));
        }
        text
    }
}

/// Folder of zstart's binaries, built with the profile of this program: the folder of the running program or
/// its parent (test binaries are in `deps`).
pub fn built_binaries() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder =
        program.ancestors().skip(1).take(2).find(|folder| folder.join("zstart-controller").is_file());
    let folder = folder.with_context(|| {
        format!("zstart-controller is missing in the folder of {}: run `make build`", program.display())
    })?;
    ensure!(
        folder.join("zstart-webhook").is_file(),
        "zstart-webhook is missing in {}: run `make build`",
        folder.display()
    );
    Ok(folder.to_owned())
}

/// This machine's architecture, as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn chart_folder() -> String {
    chart().display().to_string()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
