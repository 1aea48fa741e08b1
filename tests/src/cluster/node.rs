//! A node: containerd, kubelet and pod network of its own. All nodes share one network namespace, and so one
//! kube-proxy.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Node as ApiNode, ServiceAccount};
use kube::{Api, Client};
use serde_json::json;
use tokio::net::UnixStream;

use super::images::PAUSE;
use super::snapshotter::Snapshotter;
use super::{ADDRESS, LOCAL_REGISTRY, REGISTRY, Storage};
use crate::objects::is_node_ready;
use crate::pki::{Pki, Subject};
use crate::process::Component;

/// Name of the first node. kube-proxy runs under this name.
const FIRST: &str = "lab";
/// Interface of the first node's pod network.
pub(super) const FIRST_BRIDGE: &str = "lab0";
const PROXY_HEALTH_PORT: u16 = 10256;
/// Health port of the first node's kubelet. The next hundred has ports of other components.
const KUBELET_HEALTH_PORT: u16 = 10248;
const KUBELET_HEALTH_STEP: u16 = 100;

/// Settings of a node: names, addresses, ports and folders that no other node of the cluster has.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    folder: PathBuf,
    number: u8,
    snapshotter: Snapshotter,
}

impl Node {
    /// The first node. Its files are in the run folder itself.
    pub(super) fn first(run_folder: &Path) -> Self {
        Self {
            name: FIRST.to_owned(),
            address: ADDRESS,
            folder: run_folder.to_owned(),
            number: 0,
            snapshotter: Snapshotter::Overlayfs,
        }
    }

    /// Another node, with a folder in the run folder. Creates that folder.
    pub(super) fn additional(run_folder: &Path, number: u8, snapshotter: Snapshotter) -> Result<Self> {
        let name = format!("{FIRST}-{number}");
        let folder = run_folder.join(&name);
        fs::create_dir(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let [a, b, c, d] = ADDRESS.octets();
        Ok(Self { name, address: Ipv4Addr::new(a, b, c, d + number), folder, number, snapshotter })
    }

    /// Folder of the node's files.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Interface of the node's pod network.
    pub(super) fn bridge(&self) -> String {
        format!("lab{}", self.number)
    }

    /// Starts the program of the node's snapshotter, if it has one.
    pub(super) async fn start_snapshotter(&self, storage: Storage) -> Result<Option<Component>> {
        self.snapshotter.start(&self.folder, storage).await
    }

    pub(super) fn start_containerd(&self, binaries: &Path, storage: Storage) -> Result<Component> {
        let folder = &self.folder;
        storage.prepare(&folder.join("containerd"))?;
        write_registry_names(folder)?;
        self.write_pod_network()?;
        // The link in `binaries` points to the first CNI plugin; the other plugins are in the same folder.
        let plugins = fs::canonicalize(binaries.join("bridge"))?;
        let plugins =
            plugins.parent().context("the CNI plugins have no parent folder")?.display().to_string();
        let shown = folder.display();
        let (snapshotter, more) = (self.snapshotter.name(), self.snapshotter.containerd_settings(folder));
        // `restrict_oom_score_adj`: without CAP_SYS_RESOURCE every container would fail in runc.
        // `netns_mounts_under_state_dir`: the default /run/netns is the machine's own folder.
        let config = format!(
            r#"version = 3
root = "{shown}/containerd"
state = "{shown}/containerd-run"
[grpc]
  address = "{shown}/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{LOCAL_REGISTRY}/{PAUSE}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{shown}/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{shown}/cni"
{more}"#
        );
        let file = folder.join("containerd.toml");
        fs::write(&file, config)?;
        let path = std::env::join_paths(
            std::iter::once(binaries.to_owned())
                .chain(std::env::var_os("PATH").iter().flat_map(std::env::split_paths)),
        )?;
        Component::start("containerd", folder, &binaries.join("containerd"), |command| {
            command.env("PATH", path).arg("--config").arg(file)
        })
    }

    /// Returns a value if containerd listens. A kubelet that finds no runtime ends.
    pub(super) async fn has_runtime(&self) -> Result<Option<()>> {
        listens(&containerd_socket(&self.folder)).await
    }

    fn write_pod_network(&self) -> Result<()> {
        let Self { folder, number, .. } = self;
        let bridge = self.bridge();
        let network = json!({
            "cniVersion": "1.0.0", "name": "lab", "plugins": [
                {
                    "type": "bridge", "bridge": bridge,
                    "isGateway": true, "ipMasq": true, "hairpinMode": true,
                    "ipam": {
                        "type": "host-local", "ranges": [[{"subnet": format!("10.244.{number}.0/24")}]],
                        "routes": [{"dst": "0.0.0.0/0"}], "dataDir": folder.join("cni-data"),
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        });
        fs::create_dir_all(folder.join("cni"))?;
        Ok(fs::write(folder.join("cni/10-lab.conflist"), serde_json::to_vec_pretty(&network)?)?)
    }

    /// Starts the kubelet, with a certificate of its own. `server` is the URL of the API server.
    pub(super) fn start_kubelet(&self, binaries: &Path, pki: &Pki, server: &str) -> Result<Component> {
        let Self { name, address, folder, number, .. } = self;
        let identity = format!("kubelet-{name}");
        let address = address.to_string();
        pki.issue(&Subject {
            file: &identity,
            name: &format!("system:node:{name}"),
            organisation: "system:nodes",
            addresses: &["127.0.0.1", name, &address],
        })?;
        let kubeconfig = pki.kubeconfig(&identity, server)?;
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            // Nodes of one namespace listen on the same port of their own addresses.
            "address": address, "healthzPort": KUBELET_HEALTH_PORT + u16::from(*number) * KUBELET_HEALTH_STEP,
            // A kubelet removes the logs of pods that it doesn't know.
            "podLogsDir": folder.join("pod-logs"),
            // The kubelet accepts either cgroup version.
            "failCgroupV1": false, "cgroupDriver": "cgroupfs", "cgroupsPerQOS": false,
            "enforceNodeAllocatable": [],
            "failSwapOn": false, "localStorageCapacityIsolation": false,
            // A developer's disk may be nearly full; the lab ends before that matters.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
            "authentication": {
                "anonymous": {"enabled": false}, "webhook": {"enabled": true},
                "x509": {"clientCAFile": pki.path("ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": pki.path(&format!("{identity}.crt")),
            "tlsPrivateKeyFile": pki.path(&format!("{identity}.key")),
            "resolvConf": "",
            "containerRuntimeEndpoint": format!("unix://{}", containerd_socket(folder).display()),
            // A lab runs for minutes: intervals are shorter than a kubelet's defaults.
            "syncFrequency": "5s", "fileCheckFrequency": "5s", "nodeStatusUpdateFrequency": "3s",
        });
        let file = folder.join("kubelet.json");
        fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
        Component::start("kubelet", folder, &binaries.join("kubelet"), |command| {
            command
                .arg(format!("--config={}", file.display()))
                .arg(format!("--kubeconfig={}", kubeconfig.display()))
                .arg(format!("--root-dir={}", folder.join("kubelet").display()))
                .args([format!("--hostname-override={name}"), format!("--node-ip={address}")])
        })
    }

    /// Returns a value if pods can be created and would be started: the node is Ready, and the service account that
    /// every pod gets exists.
    pub(super) async fn is_ready(&self, client: Client) -> Result<Option<()>> {
        Api::<ServiceAccount>::namespaced(client.clone(), "default").get("default").await?;
        let node = Api::<ApiNode>::all(client).get(&self.name).await?;
        Ok(is_node_ready(&node).then_some(()))
    }
}

/// Socket of the containerd of the node with this folder.
pub(super) fn containerd_socket(folder: &Path) -> PathBuf {
    folder.join("containerd.sock")
}

/// Returns a value if a program listens on a socket.
pub(super) async fn listens(socket: &Path) -> Result<Option<()>> {
    UnixStream::connect(socket).await?;
    Ok(Some(()))
}

/// Lets image references use either name of the registry; both are reached over plain http.
fn write_registry_names(folder: &Path) -> Result<()> {
    for host in [REGISTRY, LOCAL_REGISTRY] {
        let names = folder.join("certs.d").join(host);
        fs::create_dir_all(&names)?;
        let server = format!("http://{LOCAL_REGISTRY}");
        let hosts =
            format!("server = \"{server}\"\n[host.\"{server}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
        fs::write(names.join("hosts.toml"), hosts)?;
    }
    Ok(())
}

/// Whether kube-proxy has written the Services' rules.
pub(super) async fn is_proxy_healthy() -> Result<Option<()>> {
    let answer = reqwest::get(format!("http://127.0.0.1:{PROXY_HEALTH_PORT}/healthz")).await?;
    Ok(answer.status().is_success().then_some(()))
}

pub(super) fn start_proxy(folder: &Path, binaries: &Path, pki: &Pki) -> Result<Component> {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "nftables", "hostnameOverride": FIRST, "clusterCIDR": "10.244.0.0/16",
        "clientConnection": {"kubeconfig": pki.path("proxy.kubeconfig")},
        "healthzBindAddress": format!("127.0.0.1:{PROXY_HEALTH_PORT}"),
        // The machine's connection table must not change; zero keeps each setting.
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
    });
    let file = folder.join("proxy.json");
    fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
    Component::start("kube-proxy", folder, &binaries.join("kube-proxy"), |command| {
        command.arg(format!("--config={}", file.display()))
    })
}
