//! The scanners, and the command line with which each lists an image's packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::packages::PackageList;
use crate::process;
use crate::proxy::Proxy;
use crate::tools::{self, Tool};

/// A scanner.
pub(super) struct Scanner {
    tool: Tool,
    program: PathBuf,
}

/// Place of an image.
#[derive(Debug)]
pub(super) enum Location {
    /// `HOST/NAME:TAG`, on a loopback port.
    Registry(String),
    /// OCI layout folder with one image.
    Layout(PathBuf),
}

impl Scanner {
    /// All scanners. The first call builds them.
    pub(super) async fn all() -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for tool in [Tool::Syft, Tool::Trivy] {
            all.push(Self { tool, program: tools::find(tool).await? });
        }
        Ok(all)
    }

    /// Name and version.
    pub(super) fn version(&self) -> String {
        format!("{} {}", self.tool.file_name(), self.tool.version())
    }

    /// Lists an image's packages, without a vulnerability database and without the network.
    ///
    /// Each call has a new home folder: trivy caches its findings by `diff_id`, which source and variant share,
    /// so with a cache it would never read the variant.
    pub(super) async fn packages(&self, location: Location) -> Result<PackageList> {
        let home = TempDir::with_prefix("zstart-scanner-")?;
        let outside = Proxy::start_refusing("403 Forbidden").await?;
        let mut command = Command::new(&self.program);
        command.env_clear().env("HOME", home.path()).env("TMPDIR", home.path());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir(home.path());
        // Go programs connect to loopback addresses directly.
        command.env("HTTP_PROXY", outside.address()).env("HTTPS_PROXY", outside.address());
        if self.tool == Tool::Syft {
            syft(&mut command, &location);
        } else {
            trivy(&mut command, &location, home.path());
        }
        let output = tokio::task::spawn_blocking(move || process::run(&mut command)).await?;
        let output = output.with_context(|| format!("{} failed to read {location:?}", self.version()))?;
        let requests = outside.requests();
        ensure!(requests.is_empty(), "{} sent requests to other hosts: {requests:?}", self.version());
        PackageList::from_cyclone_dx(&output)
    }
}

fn syft(command: &mut Command, location: &Location) {
    command.args(["scan", "--quiet", "--output", "cyclonedx-json"]);
    command.env("SYFT_CHECK_FOR_APP_UPDATE", "false").env("SYFT_REGISTRY_INSECURE_USE_HTTP", "true");
    match location {
        Location::Registry(image) => command.arg(format!("registry:{image}")),
        Location::Layout(folder) => command.arg(format!("oci-dir:{}", folder.display())),
    };
}

fn trivy(command: &mut Command, location: &Location, home: &Path) {
    command.args(["image", "--quiet", "--format", "cyclonedx", "--timeout", "20m", "--offline-scan"]);
    command.args([
        "--skip-db-update",
        "--skip-java-db-update",
        "--skip-check-update",
        "--skip-vex-repo-update",
    ]);
    command.args(["--skip-version-check", "--disable-telemetry", "--cache-dir"]).arg(home.join("cache"));
    match location {
        Location::Registry(image) => command.args(["--image-src", "remote", "--insecure", image]),
        Location::Layout(folder) => command.arg("--input").arg(folder),
    };
}
