//! The lab's programs, and the module of each.

use super::module::Module;
use super::pinned;

/// A program of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the program of that name")]
pub enum Tool {
    KubeApiserver,
    Kubectl,
    Etcd,
    Registry,
    Helm,
    KubeControllerManager,
    KubeScheduler,
    Kubelet,
    KubeProxy,
    Containerd,
    ContainerdShim,
    Ctr,
    Runc,
    CniBridge,
    Skopeo,
    MapWebhook,
    Regctl,
    Syft,
    Trivy,
    Kwok,
    NodeMatch,
    Kueue,
    Decode,
    GoGzip,
    Krew,
    Prometheus,
    Promtool,
    PromqlNames,
    Kubeconform,
    Stargz,
    Soci,
}

impl Tool {
    /// Tools of the tests of monitoring, and of a kept cluster.
    pub const MONITORING: [Self; 3] = [Self::PromqlNames, Self::Promtool, Self::Prometheus];

    /// Tools of a cluster, in build order.
    pub const CLUSTER: [Self; 14] = [
        Self::KubeApiserver,
        Self::Kubectl,
        Self::Etcd,
        Self::Registry,
        Self::Helm,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubelet,
        Self::KubeProxy,
        Self::Containerd,
        Self::ContainerdShim,
        Self::Ctr,
        Self::Runc,
        Self::CniBridge,
    ];

    /// Other tools of the tests, in build order. (`make bench` and `make scanners` build theirs on demand.)
    pub const TESTS: [Self; 6] =
        [Self::Skopeo, Self::MapWebhook, Self::Kwok, Self::NodeMatch, Self::Krew, Self::Kubeconform];

    /// File name of the program.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::KubeApiserver => "kube-apiserver",
            Self::Kubectl => "kubectl",
            Self::Etcd => "etcd",
            Self::Registry => "registry",
            Self::Helm => "helm",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Containerd => "containerd",
            Self::ContainerdShim => "containerd-shim-runc-v2",
            Self::Ctr => "ctr",
            Self::Runc => "runc",
            Self::CniBridge => "bridge",
            Self::Skopeo => "skopeo-copy",
            Self::MapWebhook => "map-webhook",
            Self::Regctl => "regctl",
            Self::Syft => "syft",
            Self::Trivy => "trivy",
            Self::Kwok => "kwok",
            Self::NodeMatch => "node-match",
            Self::Kueue => "kueue",
            Self::Decode => "node-decode",
            Self::GoGzip => "go-gzip",
            Self::Krew => "kubectl-krew",
            Self::Prometheus => "prometheus",
            Self::Promtool => "promtool",
            Self::PromqlNames => "promql-names",
            Self::Kubeconform => "kubeconform",
            Self::Stargz => "stargz",
            Self::Soci => "soci",
        }
    }

    /// Version of the tool's Go module.
    pub fn version(self) -> &'static str {
        self.module().version
    }

    /// Returns whether only a whole cluster needs the tool.
    pub(super) fn needs_root(self) -> bool {
        std::ptr::eq(self.module(), &raw const pinned::CONTAINERD)
            || std::ptr::eq(self.module(), &raw const pinned::RUNC)
            || std::ptr::eq(self.module(), &raw const pinned::CNI)
    }

    pub(super) fn module(self) -> &'static Module {
        match self {
            Self::KubeApiserver
            | Self::Kubectl
            | Self::KubeControllerManager
            | Self::KubeScheduler
            | Self::Kubelet
            | Self::KubeProxy => &pinned::KUBERNETES,
            Self::Etcd => &pinned::ETCD,
            Self::Registry => &pinned::REGISTRY,
            Self::Helm => &pinned::HELM,
            Self::Containerd | Self::ContainerdShim | Self::Ctr => &pinned::CONTAINERD,
            Self::Runc => &pinned::RUNC,
            Self::CniBridge => &pinned::CNI,
            Self::Skopeo => &pinned::SKOPEO,
            Self::MapWebhook => &pinned::MAP_WEBHOOK,
            Self::Regctl => &pinned::REGCTL,
            Self::Syft => &pinned::SYFT,
            Self::Trivy => &pinned::TRIVY,
            Self::Kwok => &pinned::KWOK,
            Self::NodeMatch => &pinned::NODE_MATCH,
            Self::Kueue => &pinned::KUEUE,
            Self::Decode => &pinned::DECODE,
            Self::GoGzip => &pinned::GZIP,
            Self::Krew => &pinned::KREW,
            Self::Prometheus | Self::Promtool | Self::PromqlNames => &pinned::PROMETHEUS,
            Self::Kubeconform => &pinned::KUBECONFORM,
            Self::Stargz => &pinned::STARGZ,
            Self::Soci => &pinned::SOCI,
        }
    }
}
