//! One run of a credential helper, bounded in time and output.

use std::io;
use std::path::Path;
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
    let wait = async { child.wait().await.map_err(HelperError::Run) };
    let ((), stdout, stderr, status) =
        tokio::try_join!(write, read_answer(stdout), read_front(stderr), wait)?;
    Ok(Output { status, stdout, stderr })
}

async fn read_answer(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, HelperError> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(STDOUT_MAX as u64 + 1).read_to_end(&mut bytes).await.map_err(HelperError::Run)?;
    }
    if bytes.len() > STDOUT_MAX { Err(HelperError::TooLarge { max: STDOUT_MAX }) } else { Ok(bytes) }
}

async fn read_front(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, HelperError> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(STDERR_MAX).read_to_end(&mut bytes).await.map_err(HelperError::Run)?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await.map_err(HelperError::Run)?;
    }
    Ok(bytes)
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
