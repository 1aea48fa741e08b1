//! The tools, and how each is told to convert an image from gzip to zstd.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::measure::{Measured, measure};
use crate::registry::stored::layers;
use crate::tools::{self, Tool};

/// A tool that converts images.
pub(super) enum Peer {
    /// zstart itself.
    Zstart(PathBuf),
    /// skopeo's engine, `go.podman.io/image`.
    Skopeo(PathBuf),
    /// regclient's `regctl image mod`.
    Regctl(PathBuf),
}

impl Peer {
    /// All of them. What isn't there yet is built.
    pub(super) async fn all(zstart: PathBuf) -> Result<Vec<Self>> {
        Ok(vec![
            Self::Zstart(zstart),
            Self::Skopeo(tools::find(Tool::Skopeo).await?),
            Self::Regctl(tools::find(Tool::Regctl).await?),
        ])
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Zstart(_) => "zstart",
            Self::Skopeo(_) => "skopeo",
            Self::Regctl(_) => "regctl",
        }
    }

    /// Converts `source` (`NAME:TAG`) to `target:zstd` in the registry at `host`. The tool has a home of
    /// its own, so that it remembers nothing of earlier rounds.
    pub(super) async fn convert(
        &self,
        host: &str,
        source: &str,
        target: &str,
        level: i32,
    ) -> Result<Measured> {
        let home = TempDir::with_prefix("zstart-bench-")?;
        let (source, target) = (format!("{host}/{source}"), format!("{host}/{target}:zstd"));
        let mut command = match self {
            Self::Zstart(program) => {
                let mut command = Command::new(program);
                command.args(["convert", &source, &target, "--level", &level.to_string()]);
                command
            }
            Self::Skopeo(program) => {
                let mut command = Command::new(program);
                command.args([format!("docker://{source}"), format!("docker://{target}"), level.to_string()]);
                command
            }
            // It has no setting for the level: its library's default is called level 3.
            Self::Regctl(program) => {
                let mut command = Command::new(program);
                let plain = format!("reg={host},tls=disabled");
                command.args(["--host", &plain, "image", "mod", &source, "--layer-compress", "zstd"]);
                command.args(["--create", &target]);
                command
            }
        };
        command.env_clear().env("HOME", home.path()).env("TMPDIR", home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        measure(command).await
    }
}

/// That a tool really converted: a copy of gzip layers would be fast.
pub(super) fn require_zstd(name: &str, manifest: &Value) -> Result<()> {
    for layer in layers(manifest)? {
        let media_type = layer["mediaType"].as_str().unwrap_or_default();
        ensure!(media_type.ends_with("zstd"), "{name} left a layer {media_type}");
    }
    Ok(())
}
