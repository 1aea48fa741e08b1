//! The webhook's binary, connected to the lab's API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use zstart_tests::cluster::built_binaries;
use zstart_tests::ports::free_ports;
use zstart_tests::wait;

use crate::installation::{Installation, SYSTEM, WITHIN};

/// Files and ports of a webhook. They are the same after each restart.
pub(crate) struct Program {
    config: PathBuf,
    kubeconfig: PathBuf,
    pub(crate) https: SocketAddr,
    pub(crate) health: SocketAddr,
}

/// A running webhook, killed when dropped.
pub(crate) struct Process {
    child: Child,
    health: SocketAddr,
}

impl Program {
    /// Chooses ports and writes the configuration: ports and `settings`.
    pub(crate) fn new(zstart: &Installation, settings: &str) -> Result<Self> {
        let [https, health] = free_ports()?;
        let config = zstart.folder().join(format!("webhook-{https}.yaml"));
        let text = format!("listen: 127.0.0.1:{https}\nhealthListen: 127.0.0.1:{health}\n{settings}\n");
        std::fs::write(&config, text)?;
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (https, health) = (address(https), address(health));
        Ok(Self { config, kubeconfig: zstart.webhook_kubeconfig()?, https, health })
    }

    /// Starts the binary and waits until it is ready. Its output goes to `output`.
    pub(crate) async fn start(&self, output: impl Fn() -> Stdio) -> Result<Process> {
        // Ends with the tests, even if they are killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(built_binaries()?.join("zstart-webhook"))
            .arg(format!("--config={}", self.config.display()))
            .env("POD_NAMESPACE", SYSTEM)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .spawn()
            .context("failed to start the webhook with setpriv")?;
        let process = Process { child, health: self.health };
        wait::until("the webhook to be ready", WITHIN, || async {
            Ok((process.get("/readyz").await?.0 == 200).then_some(()))
        })
        .await?;
        Ok(process)
    }
}

impl Process {
    /// Status and text of the health port's response.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        get(self.health, path).await
    }

    /// Requests shutdown, as the kubelet does, and waits for the end.
    pub(crate) async fn stop(mut self) -> Result<ExitStatus> {
        let told = Command::new("kill").arg(self.child.id().to_string()).status()?;
        anyhow::ensure!(told.success(), "kill failed: {told}");
        let end = tokio::time::Instant::now() + WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            anyhow::ensure!(tokio::time::Instant::now() < end, "the webhook doesn't end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and text of a health port's response.
pub(crate) async fn get(health: SocketAddr, path: &str) -> Result<(u16, String)> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
    let answer = client.get(format!("http://{health}{path}")).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}
