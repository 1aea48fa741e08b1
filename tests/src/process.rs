//! Components as processes that end with their parent.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
pub(crate) use zstart_test_images::command::run;

/// Log lines in an error message.
const LOG_LINES: usize = 15;

/// A running component. Dropping it kills the process; if this process dies, the kernel kills the component
/// (`setpriv --pdeathsig`, a tool of util-linux: setting it from here needs unsafe code).
#[derive(Debug)]
pub(crate) struct Component {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Component {
    /// Starts a program and appends its output to `folder/NAME.log`.
    pub(crate) fn start(
        name: &'static str,
        folder: &Path,
        program: &Path,
        prepare: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log);
        let out = out.with_context(|| format!("failed to open {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        prepare(&mut command).current_dir(folder).stdin(Stdio::null());
        command.stderr(out.try_clone()?).stdout(out);
        let child = command.spawn().with_context(|| format!("failed to start {name} with setpriv"))?;
        Ok(Self { name, child, log })
    }

    /// Name of the component.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Process id of the program: setpriv executes it in its own place.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails if the process has ended.
    pub(crate) fn require_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended unexpectedly ({status})", self.name),
        }
    }

    /// Last lines of the log.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        format!("end of the log {}:\n  {tail}", self.log.display())
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        // The process may have ended already; after the wait it has ended in any case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program that reads all of its input before it writes, and returns its output.
pub(crate) fn answer(program: &Path, input: &[u8]) -> Result<Vec<u8>> {
    let shown = program.display();
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {shown}"))?;
    // The pipe closes at the end of the statement.
    child.stdin.take().context("the program has no standard input")?.write_all(input)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{shown} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
