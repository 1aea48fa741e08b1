//! One run of a credential helper, bounded in time and output.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::credentials_error::HelperError;

/// Longest run of a helper. A helper may wait for a person or a cloud. The kubelet gives its credential plugins
/// one minute (`pkg/credentialprovider/plugin/plugin.go`), as does BuildKit (`session/auth/auth.go`); docker
/// and podman wait without a limit (docker-credential-helpers#355).
pub(super) const LIMIT: Duration = Duration::from_mins(1);
/// Longest wait for the output after a helper's end. A child may keep the pipes open: an agent that the helper
/// started, for example.
const OUTPUT_LIMIT: Duration = Duration::from_secs(1);
/// Longest answer, in bytes. Real ones have some KiB.
pub(super) const STDOUT_MAX: usize = 256 * 1024;
/// Longest part of the error output that is kept, in bytes. The rest is read and dropped.
const STDERR_MAX: u64 = 4096;

/// Result of a run.
pub(super) struct Output {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Runs `PROGRAM get` with the server as input.
pub(super) async fn run(program: &Path, server: &str) -> Result<Output, HelperError> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => HelperError::NotFound,
            _ => HelperError::Run(error),
        })?;
    let mut group = ProcessGroup::of(&child);
    let output = tokio::time::timeout(LIMIT, converse(&mut child, server)).await;
    let output = output.unwrap_or(Err(HelperError::Timeout { limit: LIMIT }))?;
    group.leader = None;
    Ok(output)
}

async fn converse(child: &mut Child, server: &str) -> Result<Output, HelperError> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async move {
        match stdin {
            // A helper may end, or close its input, without reading the server.
            Some(mut stdin) => match stdin.write_all(server.as_bytes()).await {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(HelperError::Run(error)),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    };
    let (mut answer, mut message) = (Vec::new(), Vec::new());
    let status = {
        let read = (read_answer(stdout, &mut answer), read_front(stderr, &mut message));
        let mut talk = pin!(async { tokio::try_join!(write, read.0, read.1) });
        tokio::select! {
            ended = &mut talk => {
                ended?;
                child.wait().await
            }
            status = child.wait() => {
                // At the limit, the output so far counts.
                tokio::time::timeout(OUTPUT_LIMIT, talk).await.unwrap_or(Ok(((), (), ())))?;
                status
            }
        }
    };
    Ok(Output { status: status.map_err(HelperError::Run)?, stdout: answer, stderr: message })
}

async fn read_answer(pipe: Option<impl AsyncRead + Unpin>, answer: &mut Vec<u8>) -> Result<(), HelperError> {
    if let Some(pipe) = pipe {
        read(pipe.take(STDOUT_MAX as u64 + 1), answer).await?;
    }
    if answer.len() > STDOUT_MAX { Err(HelperError::TooLarge { max: STDOUT_MAX }) } else { Ok(()) }
}

async fn read_front(pipe: Option<impl AsyncRead + Unpin>, message: &mut Vec<u8>) -> Result<(), HelperError> {
    if let Some(mut pipe) = pipe {
        read((&mut pipe).take(STDERR_MAX), message).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await.map_err(HelperError::Run)?;
    }
    Ok(())
}

/// Reads to the end. A caller that stops earlier has all bytes so far, unlike with `read_to_end`.
async fn read(mut pipe: impl AsyncRead + Unpin, bytes: &mut Vec<u8>) -> Result<(), HelperError> {
    while pipe.read_buf(bytes).await.map_err(HelperError::Run)? > 0 {}
    Ok(())
}

/// The helper and the programs that it started. They are killed if the run doesn't end well: at the limit, and
/// when a stop signal drops the run.
struct ProcessGroup {
    leader: Option<Pid>,
}

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { leader: id.and_then(Pid::from_raw) }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // An error means that the group has ended already.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
