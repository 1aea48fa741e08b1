//! `zstart-controller` as a process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use zstart_tests::cluster::built_binaries;
use zstart_tests::wait;

use crate::lab::{Lab, SYSTEM, USER, WITHIN, configuration};

/// Starts `zstart-controller`. The process is killed when the handle is dropped or this process dies.
pub(crate) fn start(lab: &Lab, config: &Path) -> Result<Child> {
    start_as(lab.plane.kubeconfig(), config)
}

pub(crate) fn start_as(kubeconfig: &Path, config: &Path) -> Result<Child> {
    command(kubeconfig, config)?.spawn().context("failed to start zstart-controller with setpriv")
}

pub(crate) fn command(kubeconfig: &Path, config: &Path) -> Result<Command> {
    let program = built_binaries()?.join("zstart-controller");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.arg("--config").arg(config).args(["--namespace", SYSTEM]);
    command.env("KUBECONFIG", kubeconfig).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

pub(crate) fn write_config(lab: &Lab) -> Result<PathBuf> {
    let file = lab.plane.folder().join("controller.yaml");
    std::fs::write(&file, configuration(&[&lab.gateway.host()], ""))?;
    Ok(file)
}

/// Sends SIGTERM and returns the exit code.
pub(crate) async fn terminate(child: &mut Child) -> Result<Option<i32>> {
    signal(child, "TERM").await?;
    Ok(tokio::time::timeout(WITHIN, child.wait()).await??.code())
}

/// Sends a signal to a process.
pub(crate) async fn signal(child: &Child, signal: &str) -> Result<()> {
    let id = child.id().context("the controller has ended already")?;
    let told = Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status().await?;
    ensure!(told.success(), "kill: {told}");
    Ok(())
}

/// One of several replicas, with the chart's rights. Its log is a file.
pub(crate) struct Replica {
    pub(crate) name: &'static str,
    pub(crate) child: Child,
    health: String,
    log: PathBuf,
}

impl Replica {
    /// Starts a replica that reaches the API server at `server` (`host:port`), and waits until it is ready: it leads
    /// or stands by.
    pub(crate) async fn start(lab: &Lab, name: &'static str, server: &str) -> Result<Self> {
        Self::start_as(lab, name, server, Some(USER), "").await
    }

    /// Starts a replica with the rights of a user, and with more settings; without a user, with all rights.
    pub(crate) async fn start_as(
        lab: &Lab,
        name: &'static str,
        server: &str,
        user: Option<&str>,
        more: &str,
    ) -> Result<Self> {
        let folder = lab.plane.folder();
        let mut kubeconfig: Value = serde_json::from_slice(&std::fs::read(lab.plane.kubeconfig())?)?;
        if let Some(user) = user {
            kubeconfig["users"][0]["user"]["as"] = json!(user);
        }
        kubeconfig["clusters"][0]["cluster"]["server"] = json!(format!("https://{server}"));
        let file = folder.join(format!("{name}.kubeconfig"));
        std::fs::write(&file, kubeconfig.to_string())?;
        let [port] = zstart_tests::ports::free_ports()?;
        let health = format!("127.0.0.1:{port}");
        let config = folder.join(format!("{name}.yaml"));
        let text = configuration(&[&lab.gateway.host()], more).replace("127.0.0.1:0", &health);
        std::fs::write(&config, text)?;
        let log = folder.join(format!("{name}.log"));
        let mut command = command(&file, &config)?;
        command.env("POD_NAME", name).stdout(File::create(&log)?);
        let child = command.spawn().context("failed to start zstart-controller with setpriv")?;
        let replica = Self { name, child, health, log };
        wait::until(format!("{name} to be ready"), WITHIN, || async {
            Ok((replica.get("readyz").await?.0 == 200).then_some(()))
        })
        .await
        .with_context(|| replica.log())?;
        Ok(replica)
    }

    /// Status and text of an answer of the health port.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        let answer = reqwest::get(format!("http://{}/{path}", self.health)).await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Text of the log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for the end of the process and returns the exit code.
    pub(crate) async fn exit_code(&mut self) -> Result<Option<i32>> {
        let ended = tokio::time::timeout(WITHIN, self.child.wait()).await;
        Ok(ended.with_context(|| format!("{} runs on: {}", self.name, self.log()))??.code())
    }
}
