//! Components as processes that never outlive whoever started them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// How much of a log an error shows.
const LOG_LINES: usize = 15;

/// A running component. It is killed when this is dropped; should this process die, the kernel
/// kills it (`setpriv --pdeathsig`, a tool of util-linux: setting that ourselves needs unsafe code).
#[derive(Debug)]
pub(crate) struct Component {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Component {
    /// Starts a program, with its output in `folder/NAME.log`.
    pub(crate) fn start(
        name: &'static str,
        folder: &Path,
        program: &Path,
        prepare: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        prepare(&mut command).current_dir(folder).stdin(Stdio::null());
        command.stderr(out.try_clone()?).stdout(out);
        let child = command.spawn().with_context(|| format!("failed to start {name} with setpriv"))?;
        Ok(Self { name, child, log })
    }

    /// An error where the process has ended by itself.
    pub(crate) fn require_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status})", self.name),
        }
    }

    /// The end of the log.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        format!("the end of {}:\n  {tail}", self.log.display())
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone after the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end; its output goes into the error where it fails.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {shown}"))?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{shown} failed ({}):\n{out}{err}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
