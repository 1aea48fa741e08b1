//! The compared tools, and the command line with which each converts from gzip to zstd.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::measure::{Usage, measure_all};
use crate::registry::repository_reader::layers;
use crate::tools::{self, Tool};
use crate::{packages, settings};

/// A tool that converts images.
pub(super) enum Peer {
    /// zstart itself.
    Zstart(PathBuf),
    /// skopeo's engine, `go.podman.io/image`.
    Skopeo(PathBuf),
    /// regclient's `regctl image mod`.
    Regctl(PathBuf),
    /// Debian's `buildah`, which pulls into its own store and pushes from there.
    Buildah,
}

impl Peer {
    /// All tools that this user can run. Builds or installs missing tools.
    pub(super) async fn all(zstart: PathBuf) -> Result<Vec<Self>> {
        let mut all = vec![
            Self::Zstart(zstart),
            Self::Skopeo(tools::find(Tool::Skopeo).await?),
            Self::Regctl(tools::find(Tool::Regctl).await?),
        ];
        if settings::is_root() {
            tokio::task::spawn_blocking(|| packages::require(&["buildah"])).await??;
            all.push(Self::Buildah);
        }
        Ok(all)
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Zstart(_) => "zstart",
            Self::Skopeo(_) => "skopeo",
            Self::Regctl(_) => "regctl",
            Self::Buildah => "buildah",
        }
    }

    /// Whether the target registry must not contain the source: buildah links existing gzip layers instead of
    /// compressing.
    pub(super) fn needs_empty_registry(&self) -> bool {
        matches!(self, Self::Buildah)
    }

    /// Converts `source` (`HOST/NAME:TAG`) to `target:zstd` in the registry at `host`. Each run has a new
    /// home folder, so the tool can't reuse anything from earlier rounds.
    pub(super) async fn convert(&self, source: &str, host: &str, target: &str, level: i32) -> Result<Usage> {
        let home = TempDir::with_prefix("zstart-bench-")?;
        let target = format!("{host}/{target}:zstd");
        let level = level.to_string();
        let command = |program: &Path, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).env_clear().env("HOME", home.path()).env("TMPDIR", home.path());
            command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null()).stdout(Stdio::null());
            command
        };
        let commands = match self {
            Self::Zstart(program) => {
                vec![command(program, &["convert", source, &target, "--level", &level])]
            }
            Self::Skopeo(program) => {
                let (source, target) = (format!("docker://{source}"), format!("docker://{target}"));
                vec![command(program, &[&source, &target, &level])]
            }
            // regctl has no option for the level; its library's default is called level 3.
            Self::Regctl(program) => {
                let plain = format!("reg={host},tls=disabled");
                let modify = ["--host", &plain, "image", "mod", source, "--layer-compress", "zstd"];
                vec![command(program, &[&modify[..], &["--create", &target]].concat())]
            }
            Self::Buildah => {
                let (store, run) = (home.path().join("store"), home.path().join("run"));
                let (store, run) = (store.display().to_string(), run.display().to_string());
                let own = ["--storage-driver", "vfs", "--root", &store, "--runroot", &run];
                let program = Path::new("/usr/bin/buildah");
                let pull = ["pull", "--quiet", "--tls-verify=false", source];
                let push = ["push", "--quiet", "--tls-verify=false", "--format", "oci"];
                let target = format!("docker://{target}");
                let zstd = ["--compression-format", "zstd", "--compression-level", &level, source, &target];
                vec![
                    command(program, &[&own[..], &pull].concat()),
                    command(program, &[&own[..], &push, &zstd].concat()),
                ]
            }
        };
        measure_all(commands).await
    }
}

/// Requires that a tool converted all layers: copying gzip layers would be faster.
pub(super) fn require_zstd(name: &str, manifest: &Value) -> Result<()> {
    for layer in layers(manifest)? {
        let media_type = layer["mediaType"].as_str().unwrap_or_default();
        ensure!(media_type.ends_with("zstd"), "{name} left a layer of the type {media_type}");
    }
    Ok(())
}
