//! An API server with etcd, for any user, on free loopback ports.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use anyhow::Result;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;

use crate::definitions::define;
use crate::pki::{Pki, Subject};
use crate::ports::free_ports;
use crate::process::Component;
use crate::tools::{self, Tool};
use crate::wait;

mod baseline;
mod etcd;
mod shared;

pub(crate) use shared::keep;

/// Time limit for an API server to become ready. Start-up takes 3 to 6 s on two busy cores.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// Heap growth in percent at which Go collects garbage in programs that a test needs for a moment (Go's default: 100).
/// The start of the API server and etcd takes 1.5 s of processor time instead of 1.9, and 110 MiB more memory; a
/// template of helm takes 0.08 s instead of 0.12, and 6 MiB more.
pub(crate) const GARBAGE_PERCENT: &str = "400";

/// File of the audit log in the lab's folder, which is the API server's working directory.
const AUDIT_LOG: &str = "audit.log";

/// A running API server without controllers and nodes: objects stay as they are written.
pub struct ControlPlane {
    // Drop order: the servers before their folder. A shared control plane has none.
    _servers: Option<Servers>,
    kubeconfig: PathBuf,
    folder: TempDir,
}

/// An API server and its database, as processes.
struct Servers {
    // Drop order: the API server before its database.
    apiserver: Component,
    database: Component,
    kubeconfig: PathBuf,
    /// Port of the database.
    etcd: u16,
}

impl ControlPlane {
    /// Starts an API server and waits until it is ready.
    ///
    /// The `ServiceAccount` admission plugin is disabled: the controller that creates each namespace's service
    /// account doesn't run.
    pub async fn start() -> Result<Self> {
        Self::launch(&[], Some(GARBAGE_PERCENT)).await
    }

    /// Returns an API server that serves zstart's kinds. Earlier tests of the run may have used it, and nothing of them
    /// is left, except for higher versions of objects.
    pub async fn with_definitions() -> Result<Self> {
        let Some(kubeconfig) = Box::pin(shared::take()).await? else {
            return Box::pin(Self::launch_with_definitions(&[])).await;
        };
        Ok(Self { _servers: None, kubeconfig, folder: new_folder()? })
    }

    /// Starts an API server like [`start`](Self::start) for many objects, with additional arguments. Go collects
    /// garbage as usual.
    pub(crate) async fn start_with(arguments: &[&str]) -> Result<Self> {
        Self::launch(arguments, None).await
    }

    /// Starts an API server that serves zstart's kinds and writes an audit log.
    pub async fn start_audited() -> Result<Self> {
        let folder = TempDir::with_prefix("zstart-audit-")?;
        let policy = folder.path().join("policy.yaml");
        let rules = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n\
                     rules: [{level: Metadata}]\n";
        std::fs::write(&policy, rules)?;
        let arguments = [
            format!("--audit-policy-file={}", policy.display()),
            format!("--audit-log-path={AUDIT_LOG}"),
            "--audit-log-mode=blocking".to_owned(),
        ];
        Box::pin(Self::launch_with_definitions(&arguments.each_ref().map(String::as_str))).await
    }

    /// The requests in the audit log, oldest first.
    pub fn audit(&self) -> Result<Vec<serde_json::Value>> {
        let text = std::fs::read_to_string(self.folder().join(AUDIT_LOG))?;
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    async fn launch_with_definitions(arguments: &[&str]) -> Result<Self> {
        let plane = Self::launch(arguments, Some(GARBAGE_PERCENT)).await?;
        define(&plane.client().await?).await?;
        Ok(plane)
    }

    async fn launch(arguments: &[&str], garbage_percent: Option<&str>) -> Result<Self> {
        let folder = new_folder()?;
        let servers = Servers::start(folder.path(), arguments, garbage_percent).await?;
        let kubeconfig = servers.kubeconfig.clone();
        Ok(Self { _servers: Some(servers), kubeconfig, folder })
    }

    /// Client with all rights.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    /// Configuration of a client with all rights.
    pub async fn config(&self) -> Result<Config> {
        read_config(&self.kubeconfig).await
    }

    /// Kubeconfig file with all rights.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Folder for files of this lab, deleted with the lab.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Servers {
    /// Starts both in a folder, and waits until the API server is ready.
    async fn start(folder: &Path, arguments: &[&str], garbage_percent: Option<&str>) -> Result<Self> {
        install_crypto();
        let (apiserver, etcd) = (tools::find(Tool::KubeApiserver).await?, tools::find(Tool::Etcd).await?);
        let [port, clients, peers] = free_ports()?;
        let pki = Pki::create(&folder.join("pki"))?;
        issue(&pki, &[])?;
        let collector = garbage_percent.map(|percent| ("GOGC", percent));
        let database = start_etcd(folder, &etcd, clients, peers, collector)?;
        let mut server = Component::start("kube-apiserver", folder, &apiserver, |command| {
            command
                .args(common_arguments(&pki, clients))
                .args([format!("--secure-port={port}"), "--bind-address=127.0.0.1".into()])
                .args(["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"])
                .args(arguments)
                .envs(collector)
        })?;
        let kubeconfig = pki.kubeconfig("admin", &format!("https://127.0.0.1:{port}"))?;
        wait_until_ready(&kubeconfig, &mut server).await?;
        Ok(Self { apiserver: server, database, kubeconfig, etcd: clients })
    }

    fn require_alive(&mut self) -> Result<()> {
        self.apiserver.require_alive()?;
        self.database.require_alive()
    }
}

fn new_folder() -> Result<TempDir> {
    Ok(TempDir::with_prefix("zstart-lab-")?)
}

/// Makes ring the process's crypto provider, as the binaries do.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Issues the certificates of an API server, its administrator and a proxy.
pub(crate) fn issue(pki: &Pki, addresses: &[&str]) -> Result<()> {
    let mut server = vec!["127.0.0.1", "localhost", "10.0.0.1", "kubernetes.default.svc"];
    server.extend(addresses);
    for (file, name, organisation, addresses) in [
        ("apiserver", "kube-apiserver", "kubernetes", &server),
        ("admin", "admin", "system:masters", &vec!["admin"]),
        ("proxy", "system:kube-proxy", "system:node-proxier", &vec!["proxy"]),
    ] {
        pki.issue(&Subject { file, name, organisation, addresses })?;
    }
    Ok(())
}

pub(crate) fn start_etcd(
    folder: &Path,
    program: &Path,
    clients: u16,
    peers: u16,
    environment: Option<(&str, &str)>,
) -> Result<Component> {
    let (clients, peers) = (format!("http://127.0.0.1:{clients}"), format!("http://127.0.0.1:{peers}"));
    Component::start("etcd", folder, program, |command| {
        // Data need not survive a crash of the machine.
        command
            .args(["--data-dir", "etcd", "--unsafe-no-fsync", "--log-level", "warn"])
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}")])
            .envs(environment)
    })
}

/// Arguments of every API server of the lab.
pub(crate) fn common_arguments(pki: &Pki, etcd: u16) -> Vec<String> {
    let file = |name: &str| pki.path(name).display().to_string();
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
    ]
}

pub(crate) async fn wait_until_ready(kubeconfig: &Path, server: &mut Component) -> Result<()> {
    let client = Client::try_from(read_config(kubeconfig).await?)?;
    wait::until_component(server, "the API server to be ready", READY_WITHIN, || async {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        Ok((client.request_text(request).await? == "ok").then_some(()))
    })
    .await
}

pub(crate) async fn read_config(kubeconfig: &Path) -> Result<Config> {
    install_crypto();
    let file = Kubeconfig::read_from(kubeconfig)?;
    Ok(Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?)
}
