//! The load generator, as a process of its own.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::review_load::{LoadOptions, LoadReport};

/// A generator that has warmed its server up and waits. Dropping it ends the process.
pub(super) struct Generator {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Generator {
    /// Starts the program `review-load` and waits until the warm-up is over.
    pub(super) async fn start(program: &Path, options: &LoadOptions) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(options.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("failed to start {}", program.display()))?;
        let input = child.stdin.take().context("the generator has no input")?;
        let output = child.stdout.take().context("the generator has no output")?;
        let mut generator = Self { child, input, output: BufReader::new(output).lines() };
        let line = generator.output.next_line().await?;
        ensure!(line.as_deref() == Some("ready"), "the load generator printed {line:?} instead of \"ready\"");
        Ok(generator)
    }

    /// Measures.
    pub(super) async fn measure(mut self) -> Result<LoadReport> {
        self.input.write_all(b"start\n").await?;
        self.input.flush().await?;
        let line = self.output.next_line().await?.context("the load generator printed no report")?;
        let status = self.child.wait().await?;
        ensure!(status.success(), "the load generator ended with {status}");
        serde_json::from_str(&line).context("failed to parse the load generator's report")
    }
}
