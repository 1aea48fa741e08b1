//! A whole cluster in network, mount and process namespaces of its own. It has one node; more nodes can join.
//!
//! etcd, API server, controller manager, scheduler, registry, containerd, kubelet and kube-proxy are real.
//! When the first process of the namespaces ends, the kernel ends everything in them: processes, containers,
//! mounts, interfaces, firewall rules. The process that started the cluster removes the run folder and the
//! cgroups, which exist outside the namespaces.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::api::DeleteParams;
use kube::{Api, Client};

use self::mounts::Mount;
use self::node::Node;
use self::snapshotter::Snapshotter;
use crate::control_plane::{self, read_config};
use crate::pki::Pki;
use crate::process::{Component, run as run_command};
use crate::registry::{Login, start_registry};
use crate::tools::{self, Tool};
use crate::wait;

mod containerd_store;
mod images;
mod install;
mod mounts;
mod namespaces;
mod network;
mod node;
mod outage;
mod power;
pub(crate) mod pull_times;
mod pulls;
pub(crate) mod snapshotter;
mod storage;

pub use images::BUSYBOX;
pub use install::{Installation, NAMESPACE, built_binaries};
pub use namespaces::{is_inside, run, run_program};
pub use pulls::Pull;
pub use storage::Storage;

/// Address of the first node. Each cluster has its own network namespace, so all clusters can use this address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
/// Registry name in pods and image references. The kubelet's containerd and pods with a `hostAliases` entry
/// resolve it.
pub const REGISTRY: &str = "registry.lab:5000";
/// Address of the registry for the lab's own processes.
pub const LOCAL_REGISTRY: &str = "127.0.0.1:5000";

const REGISTRY_PORT: u16 = 5000;
const API_PORT: u16 = 6443;
const ETCD_PORTS: (u16, u16) = (2379, 2380);
const NODE_READY_WITHIN: Duration = Duration::from_mins(2);

/// A running cluster, for use inside its namespaces.
pub struct Cluster {
    folder: PathBuf,
    binaries: PathBuf,
    kubeconfig: PathBuf,
    client: Client,
    pki: Pki,
    storage: Storage,
    /// Number of nodes that joined.
    joined: u8,
    components: Vec<Component>,
}

/// A node that joined, with its processes.
pub(crate) struct JoinedNode {
    node: Node,
    components: Vec<Component>,
}

impl JoinedNode {
    /// Name of the node.
    pub(crate) fn name(&self) -> &str {
        &self.node.name
    }

    /// Number of layers whose files are loaded when they are read: those that are FUSE file systems.
    pub(crate) fn lazy_layers(&self) -> Result<usize> {
        let is_lazy =
            |mount: &&Mount| mount.kind.starts_with("fuse") && mount.point.starts_with(self.node.folder());
        Ok(mounts::all()?.iter().filter(is_lazy).count())
    }
}

impl Cluster {
    /// Starts everything and waits until the node is ready. Works only inside the namespaces that [`run`]
    /// creates.
    async fn start(folder: &Path) -> Result<Self> {
        let binaries = link_binaries(folder).await?;
        network::set_up()?;
        let address = ADDRESS.to_string();
        let pki = Pki::create(&folder.join("pki"))?;
        control_plane::issue(&pki, &[&address])?;
        let kubeconfig = pki.kubeconfig("admin", &server())?;
        pki.kubeconfig("proxy", &server())?;

        let client = Client::try_from(read_config(&kubeconfig).await?)?;
        let (folder, components) = (folder.to_owned(), Vec::new());
        let storage = Storage::inherited();
        let mut cluster = Self { folder, binaries, kubeconfig, client, pki, storage, joined: 0, components };
        cluster.start_control_plane().await?;
        cluster.push_base_images().await?;
        cluster.start_node().await?;
        Ok(cluster)
    }

    /// Starts etcd, registry, API server, controllers and containerd: everything except the node's agents.
    pub async fn start_control_plane(&mut self) -> Result<()> {
        let (folder, binaries) = (&self.folder, &self.binaries);
        let (clients, peers) = ETCD_PORTS;
        self.components.push(control_plane::start_etcd(
            folder,
            &binaries.join("etcd"),
            clients,
            peers,
            None,
        )?);
        let registry = binaries.join("registry");
        self.components.push(start_registry(
            folder,
            &registry,
            Ipv4Addr::UNSPECIFIED,
            REGISTRY_PORT,
            &Login::Anonymous,
        )?);
        let mut apiserver = start_apiserver(folder, binaries, &self.pki)?;
        self.components.push(Node::first(folder).start_containerd(binaries, self.storage)?);
        control_plane::wait_until_ready(&self.kubeconfig, &mut apiserver).await?;
        self.components.push(apiserver);
        self.components.extend(start_controllers(folder, binaries, &self.pki)?);
        Ok(())
    }

    /// Starts kubelet and kube-proxy of the first node, and waits until the node is ready.
    pub async fn start_node(&mut self) -> Result<()> {
        let kubelet = self.start_kubelet(&Node::first(&self.folder)).await?;
        self.components.push(kubelet);
        self.start_proxy().await
    }

    /// Adds a node with a containerd, a kubelet and a pod network of its own, and waits until it is ready. Returns
    /// its name.
    pub async fn join_node(&mut self) -> Result<String> {
        let joined = self.join_node_with(Snapshotter::Overlayfs).await?;
        self.components.extend(joined.components);
        Ok(joined.node.name)
    }

    /// Adds a node with a snapshotter, which the caller keeps.
    pub(crate) async fn join_node_with(&mut self, snapshotter: Snapshotter) -> Result<JoinedNode> {
        self.joined += 1;
        let node = Node::additional(&self.folder, self.joined, snapshotter)?;
        network::add_address(node.address)?;
        let snapshotter = node.start_snapshotter(self.storage).await?;
        let containerd = node.start_containerd(&self.binaries, self.storage)?;
        let kubelet = self.start_kubelet(&node).await?;
        // In the order of their ends: the kubelet asks containerd, which asks the snapshotter.
        let components = [kubelet, containerd].into_iter().chain(snapshotter).collect();
        Ok(JoinedNode { node, components })
    }

    /// Removes a node whose pods have ended: its processes, mounts, pod network and files.
    pub(crate) async fn remove_node(&self, joined: JoinedNode) -> Result<()> {
        let JoinedNode { node, components } = joined;
        drop(components);
        mounts::unmount_below(node.folder())?;
        network::remove(&node.bridge())?;
        let nodes: Api<ApiNode> = Api::all(self.client());
        nodes.delete(&node.name, &DeleteParams::default()).await?;
        let shown = node.folder().display();
        std::fs::remove_dir_all(node.folder()).with_context(|| format!("failed to remove {shown}"))
    }

    async fn start_kubelet(&self, node: &Node) -> Result<Component> {
        let what = format!("containerd of node {} to listen", node.name);
        wait::until(what, NODE_READY_WITHIN, || node.has_runtime()).await?;
        let mut kubelet = node.start_kubelet(&self.binaries, &self.pki, &server())?;
        let what = format!("node {} to be ready", node.name);
        let ready = || node.is_ready(self.client.clone());
        wait::until_component(&mut kubelet, &what, NODE_READY_WITHIN, ready).await?;
        Ok(kubelet)
    }

    async fn start_proxy(&mut self) -> Result<()> {
        let mut proxy = node::start_proxy(&self.folder, &self.binaries, &self.pki)?;
        let rules = "kube-proxy to write the Services' rules";
        wait::until_component(&mut proxy, rules, NODE_READY_WITHIN, node::is_proxy_healthy).await?;
        self.components.push(proxy);
        Ok(())
    }

    /// Client with all rights.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Kubeconfig with all rights.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Run folder: logs, certificates, files of the registry and containerd.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Place of the nodes' images.
    pub(crate) fn storage(&self) -> Storage {
        self.storage
    }

    /// Folder with a link to each tool.
    pub(crate) fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// Command with the cluster's tools on PATH and its kubeconfig.
    pub fn command(&self, program: &str) -> Command {
        let mut paths = vec![self.binaries.clone()];
        paths.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
        let found = self.binaries.join(program);
        let mut command = Command::new(if found.exists() { found } else { program.into() });
        // A path that contains a colon can't have been an entry of PATH.
        command.env("PATH", std::env::join_paths(paths).unwrap_or_default());
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("CONTAINERD_ADDRESS", node::containerd_socket(&self.folder));
        command.env("CONTAINERD_NAMESPACE", "k8s.io").env("HOME", &self.folder);
        command
    }

    /// Runs `kubectl` and returns its output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run_command(self.command("kubectl").args(arguments))
    }

    /// Runs `ctr` in the kubelet's namespace and returns its output.
    pub fn ctr(&self, arguments: &[&str]) -> Result<String> {
        run_command(self.command("ctr").args(arguments))
    }
}

/// URL of the API server.
fn server() -> String {
    format!("https://127.0.0.1:{API_PORT}")
}

fn start_apiserver(folder: &Path, binaries: &Path, pki: &Pki) -> Result<Component> {
    let file = |name: &str| pki.path(name).display().to_string();
    Component::start("kube-apiserver", folder, &binaries.join("kube-apiserver"), |command| {
        command
            .args(control_plane::common_arguments(pki, ETCD_PORTS.0))
            .args([format!("--secure-port={API_PORT}"), format!("--advertise-address={ADDRESS}")])
            .args(["--bind-address=0.0.0.0", "--authorization-mode=Node,RBAC", "--allow-privileged"])
            .args(["--enable-admission-plugins=NodeRestriction"])
            .args(["--kubelet-preferred-address-types=InternalIP"])
            .arg(format!("--kubelet-client-certificate={}", file("admin.crt")))
            .arg(format!("--kubelet-client-key={}", file("admin.key")))
            .arg(format!("--kubelet-certificate-authority={}", file("ca.crt")))
    })
}

fn start_controllers(folder: &Path, binaries: &Path, pki: &Pki) -> Result<[Component; 2]> {
    let file = |name: &str| pki.path(name).display().to_string();
    let kubeconfig = format!("--kubeconfig={}", file("admin.kubeconfig"));
    let manager = binaries.join("kube-controller-manager");
    let manager = Component::start("kube-controller-manager", folder, &manager, |command| {
        command
            .args([&kubeconfig, "--leader-elect=false", "--use-service-account-credentials"])
            .args(["--cluster-cidr=10.244.0.0/16", "--allocate-node-cidrs"])
            .arg(format!("--service-account-private-key-file={}", file("sa.key")))
            .arg(format!("--root-ca-file={}", file("ca.crt")))
    })?;
    let scheduler =
        Component::start("kube-scheduler", folder, &binaries.join("kube-scheduler"), |command| {
            command.args([&kubeconfig, "--leader-elect=false"])
        })?;
    Ok([manager, scheduler])
}

/// Creates a folder with a link to each tool and to `zstart`: containerd finds its shim on PATH, and the shim finds runc
/// there.
async fn link_binaries(folder: &Path) -> Result<PathBuf> {
    let binaries = folder.join("bin");
    std::fs::create_dir_all(&binaries)?;
    for tool in Tool::CLUSTER {
        let program = tools::find(tool).await?;
        let link = binaries.join(tool.file_name());
        std::os::unix::fs::symlink(&program, &link)
            .with_context(|| format!("failed to link {}", link.display()))?;
    }
    // For shells in the cluster. A lab that was built alone has no programs of zstart.
    if let Ok(built) = built_binaries() {
        std::os::unix::fs::symlink(built.join("zstart"), binaries.join("zstart"))?;
    }
    Ok(binaries)
}
