//! Runs the `zstart` program.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// The program with a home folder that is empty at first.
pub(crate) struct Zstart {
    pub(crate) program: PathBuf,
    home: TempDir,
}

/// Exit code and output of the program.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Zstart {
    /// Finds the program in the build folder of this test.
    pub(crate) fn find() -> Result<Self> {
        let test = std::env::current_exe()?;
        // Test binaries are in `deps`, one folder below.
        let folder = test.ancestors().nth(2).context("the test binary has no parent folder")?;
        let program = folder.join("zstart");
        ensure!(program.is_file(), "{} is missing: run `cargo build -p zstart-cli`", program.display());
        Ok(Self { program, home: TempDir::with_prefix("zstart-cli-")? })
    }

    /// Folder for a test's files.
    pub(crate) fn folder(&self) -> &Path {
        self.home.path()
    }

    /// `oci:FOLDER` for a folder in the home folder.
    pub(crate) fn oci(&self, name: &str) -> String {
        format!("oci:{}", self.folder().join(name).display())
    }

    /// Writes the file that `docker login` would write.
    pub(crate) fn docker_config(&self, config: &Value) -> Result<()> {
        let folder = self.folder().join("docker");
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join("config.json"), serde_json::to_vec(config)?)?)
    }

    /// Command with these arguments.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.env("HOME", self.folder()).env("DOCKER_CONFIG", self.folder().join("docker"));
        command
    }

    pub(crate) async fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Finished> {
        finish(&mut self.command(arguments)).await
    }

    /// Runs the program, requires success, and returns its output.
    pub(crate) async fn print<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        let ended = self.run(arguments).await?;
        ensure!(ended.code == Some(0), "{ended:#?}");
        Ok(ended.stdout)
    }

    /// Runs the program with `--json`, requires success, and returns the parsed output.
    pub(crate) async fn json<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Value> {
        let mut arguments: Vec<&OsStr> = arguments.iter().map(AsRef::as_ref).collect();
        arguments.push("--json".as_ref());
        Ok(serde_json::from_str(&self.print(&arguments).await?)?)
    }
}

/// Runs a command to its end.
pub(crate) async fn finish(command: &mut Command) -> Result<Finished> {
    let output = command.output().await?;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}
