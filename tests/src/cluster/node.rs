//! The node: containerd, kubelet, kube-proxy and the pod network.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{Api, Client};
use serde_json::json;

use super::images::PAUSE;
use super::{ADDRESS, LOCAL_REGISTRY, REGISTRY};
use crate::pki::Pki;
use crate::process::Component;

/// Name of the node.
const NODE: &str = "lab";
const PROXY_HEALTH_PORT: u16 = 10256;

/// Whether pods can be created and would be started: the node is Ready, and the service account that every
/// pod gets exists.
pub(super) async fn is_ready(client: Client) -> Result<Option<()>> {
    Api::<ServiceAccount>::namespaced(client.clone(), "default").get("default").await?;
    let node = Api::<Node>::all(client).get(NODE).await?;
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    Ok(ready.then_some(()))
}

pub(super) fn start_containerd(folder: &Path, binaries: &Path) -> Result<Component> {
    write_registry_names(folder)?;
    write_pod_network(folder)?;
    // The link in `binaries` points to the first CNI plugin; the other plugins are in the same folder.
    let plugins = fs::canonicalize(binaries.join("bridge"))?;
    let plugins = plugins.parent().context("the CNI plugins have no parent folder")?.display().to_string();
    let shown = folder.display();
    // `restrict_oom_score_adj`: without CAP_SYS_RESOURCE every container would fail in runc.
    let config = format!(
        r#"version = 3
root = "{shown}/containerd"
state = "{shown}/containerd-run"
[grpc]
  address = "{shown}/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{REGISTRY}/{PAUSE}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{shown}/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{shown}/cni"
"#
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

fn write_pod_network(folder: &Path) -> Result<()> {
    let network = json!({
        "cniVersion": "1.0.0", "name": "lab", "plugins": [
            {
                "type": "bridge", "bridge": "lab0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]],
                    "routes": [{"dst": "0.0.0.0/0"}], "dataDir": folder.join("cni-data"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    fs::create_dir_all(folder.join("cni"))?;
    Ok(fs::write(folder.join("cni/10-lab.conflist"), serde_json::to_vec_pretty(&network)?)?)
}

pub(super) fn start_kubelet(folder: &Path, binaries: &Path, pki: &Pki) -> Result<Component> {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
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
        "tlsCertFile": pki.path("kubelet.crt"), "tlsPrivateKeyFile": pki.path("kubelet.key"),
        "resolvConf": "",
        "containerRuntimeEndpoint": format!("unix://{}", folder.join("containerd.sock").display()),
        // A lab runs for minutes: intervals are shorter than a kubelet's defaults.
        "syncFrequency": "5s", "fileCheckFrequency": "5s", "nodeStatusUpdateFrequency": "3s",
    });
    let file = folder.join("kubelet.json");
    fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
    Component::start("kubelet", folder, &binaries.join("kubelet"), |command| {
        command
            .arg(format!("--config={}", file.display()))
            .arg(format!("--kubeconfig={}", pki.path("kubelet.kubeconfig").display()))
            .arg(format!("--root-dir={}", folder.join("kubelet").display()))
            .args([format!("--hostname-override={NODE}"), format!("--node-ip={ADDRESS}")])
    })
}

/// Whether kube-proxy has written the Services' rules.
pub(super) async fn is_proxy_healthy() -> Result<Option<()>> {
    let answer = reqwest::get(format!("http://127.0.0.1:{PROXY_HEALTH_PORT}/healthz")).await?;
    Ok(answer.status().is_success().then_some(()))
}

pub(super) fn start_proxy(folder: &Path, binaries: &Path, pki: &Pki) -> Result<Component> {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "nftables", "hostnameOverride": NODE, "clusterCIDR": "10.244.0.0/16",
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
