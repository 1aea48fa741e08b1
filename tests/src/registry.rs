//! A registry (the CNCF's `distribution`) on a loopback port.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use self::profiles::Release;
use crate::packages;
use crate::pki::{Pki, Subject};
use crate::ports::free_ports;
use crate::process::Component;
use crate::tools::{self, Tool};
use crate::wait;

pub mod ecr;
pub mod gateway;
pub mod profiles;
pub mod raw_fault_server;
pub mod repository_reader;
pub mod request_log;
mod reverse_proxy;
mod route;

/// Access to a registry.
#[derive(Clone, Debug, Default)]
pub enum Login {
    /// Every client has access.
    #[default]
    Anonymous,
    /// Only this user has access, by HTTP Basic.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
}

/// Certificate of a TLS registry.
#[derive(Clone, Copy, Debug)]
pub enum Certificate {
    /// Issued by the authority.
    Issued,
    /// Issued by the authority, and no longer valid.
    Expired,
    /// An authority's own, as `openssl req -x509` makes it.
    SelfSigned,
}

/// A running registry. Dropping the registry deletes its content.
pub struct Registry {
    component: Component,
    port: u16,
    folder: TempDir,
}

impl Registry {
    /// Starts a registry without a login.
    pub async fn start() -> Result<Self> {
        Self::start_with(Login::Anonymous).await
    }

    /// Starts a registry with a login.
    pub async fn start_with(login: Login) -> Result<Self> {
        Self::launch(&login, None).await
    }

    /// Starts a registry that speaks TLS only, with a certificate for `name` from the authority in
    /// [`authority`](Self::authority).
    pub async fn start_tls(name: &str) -> Result<Self> {
        Self::start_tls_with(name, Certificate::Issued, Login::Anonymous).await
    }

    /// Starts a registry that speaks TLS only, with this certificate for `name` and this login.
    pub async fn start_tls_with(name: &str, certificate: Certificate, login: Login) -> Result<Self> {
        Self::launch(&login, Some((name, certificate))).await
    }

    /// Starts a registry of this release with a login, over the content of another registry.
    pub async fn start_over(other: &Self, release: Release, login: Login) -> Result<Self> {
        let program = program_of(release).await?;
        let folder = TempDir::with_prefix("zstart-registry-")?;
        symlink(other.folder().join("blobs"), folder.path().join("blobs"))?;
        Self::run(folder, &program, &login).await
    }

    async fn launch(login: &Login, tls: Option<(&str, Certificate)>) -> Result<Self> {
        let program = tools::find(Tool::Registry).await?;
        let folder = TempDir::with_prefix("zstart-registry-")?;
        if let Some((name, certificate)) = tls {
            let pki = Pki::create(&folder.path().join("pki"))?;
            let subject = Subject { file: "registry", name, organisation: "lab", addresses: &[name] };
            match certificate {
                Certificate::Issued => pki.issue(&subject)?,
                Certificate::Expired => pki.issue_expired(&subject)?,
                Certificate::SelfSigned => pki.issue_self_signed(&subject)?,
            }
        }
        Self::run(folder, &program, login).await
    }

    async fn run(folder: TempDir, program: &Path, login: &Login) -> Result<Self> {
        let [port] = free_ports()?;
        let component = start_registry(folder.path(), program, Ipv4Addr::LOCALHOST, port, login)?;
        let mut registry = Self { component, port, folder };
        registry.wait_until_ready().await?;
        Ok(registry)
    }

    /// Certificate file of a TLS registry's authority.
    pub fn authority(&self) -> PathBuf {
        self.folder().join("pki/ca.crt")
    }

    /// The TLS registry's own certificate file.
    pub fn certificate(&self) -> PathBuf {
        self.folder().join("pki/registry.crt")
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Storage folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs the garbage collection of a release with `--delete-untagged`. The registry must be idle.
    pub async fn collect_garbage(&self, release: Release) -> Result<()> {
        let mut command = Command::new(program_of(release).await?);
        command.args(["garbage-collect", "--delete-untagged"]).arg(self.folder().join("registry.yaml"));
        let ended = command.env("OTEL_TRACES_EXPORTER", "none").output().await?;
        ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let address = (Ipv4Addr::LOCALHOST, self.port);
        let limit = Duration::from_secs(20);
        wait::until_component(&mut self.component, "the registry to listen", limit, || async {
            Ok(Some(tokio::net::TcpStream::connect(address).await.map(drop)?))
        })
        .await
    }
}

async fn program_of(release: Release) -> Result<PathBuf> {
    match release {
        Release::Module => tools::find(Tool::Registry).await,
        Release::Debian => {
            let unpack = || packages::unpacked("docker-registry", "usr/bin/docker-registry");
            tokio::task::spawn_blocking(unpack).await?
        }
    }
}

/// Starts a registry with its files in `folder`.
pub(crate) fn start_registry(
    folder: &Path,
    program: &Path,
    address: Ipv4Addr,
    port: u16,
    login: &Login,
) -> Result<Component> {
    let mut config = json!({
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": folder.join("blobs")}, "delete": {"enabled": true}},
        "http": {"addr": format!("{address}:{port}")},
    });
    if let Login::Basic { username, password } = login {
        let file = folder.join("htpasswd");
        // The lowest cost: the password protects nothing.
        fs::write(&file, format!("{username}:{}\n", bcrypt::hash(password, 4)?))?;
        config["auth"] = json!({"htpasswd": {"realm": "lab", "path": file}});
    }
    let certificate = folder.join("pki/registry.crt");
    if certificate.is_file() {
        config["http"]["tls"] = json!({"certificate": certificate, "key": folder.join("pki/registry.key")});
    }
    let file = folder.join("registry.yaml");
    // JSON is YAML.
    fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
    Component::start("registry", folder, program, |command| {
        command.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none")
    })
}
