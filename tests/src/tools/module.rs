//! The lab's programs, and the pinned Go module of each.

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
}

/// A Go module under `tests/tools/`.
#[derive(Debug)]
pub(super) struct Module {
    /// Folder name.
    pub(super) name: &'static str,
    /// Version required in go.mod (a test compares them).
    pub(super) version: &'static str,
    /// Import path and file name of each program.
    pub(super) packages: &'static [(&'static str, &'static str)],
    /// Build tags.
    pub(super) tags: &'static str,
    /// Additional linker flags, mostly the version that the program reports.
    pub(super) linker_flags: &'static str,
    /// Additional environment of the Go compiler.
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// Debian packages for its C parts.
    pub(super) debian_packages: &'static [&'static str],
    /// Measured duration of a cold build on two cores.
    pub(super) cold_build: &'static str,
}

static KUBERNETES: Module = Module {
    name: "kubernetes",
    version: "v1.36.3",
    packages: &[
        ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
        ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
        ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
        ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
        ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
        ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
    ],
    tags: "",
    linker_flags: "-X k8s.io/component-base/version.gitVersion=v1.36.3 \
                   -X k8s.io/component-base/version.gitMajor=1 \
                   -X k8s.io/component-base/version.gitMinor=36",
    environment: &[],
    debian_packages: &[],
    cold_build: "5 to 10 minutes",
};

static ETCD: Module = Module {
    name: "etcd",
    version: "v3.6.7",
    packages: &[("go.etcd.io/etcd/server/v3", "etcd")],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "a minute",
};

static REGISTRY: Module = Module {
    name: "registry",
    version: "v3.1.2",
    packages: &[("github.com/distribution/distribution/v3/cmd/registry", "registry")],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "2 minutes",
};

static HELM: Module = Module {
    name: "helm",
    version: "v4.3.1",
    packages: &[("helm.sh/helm/v4/cmd/helm", "helm")],
    tags: "",
    linker_flags: "-X helm.sh/helm/v4/internal/version.version=v4.3.1",
    environment: &[],
    debian_packages: &[],
    cold_build: "3 minutes",
};

static CONTAINERD: Module = Module {
    name: "containerd",
    version: "v2.4.2",
    packages: &[
        ("github.com/containerd/containerd/v2/cmd/containerd", "containerd"),
        ("github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", "containerd-shim-runc-v2"),
        ("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
    ],
    tags: "",
    linker_flags: "-X github.com/containerd/containerd/v2/version.Version=2.4.2",
    environment: &[],
    debian_packages: &[],
    cold_build: "2 minutes",
};

static RUNC: Module = Module {
    name: "runc",
    version: "v1.5.2",
    packages: &[("github.com/opencontainers/runc", "runc")],
    tags: "seccomp",
    linker_flags: "",
    environment: &[],
    debian_packages: &["libseccomp-dev", "pkg-config", "gcc"],
    cold_build: "half a minute",
};

static CNI: Module = Module {
    name: "cni",
    version: "v1.9.1",
    packages: &[
        ("github.com/containernetworking/plugins/plugins/main/bridge", "bridge"),
        ("github.com/containernetworking/plugins/plugins/main/loopback", "loopback"),
        ("github.com/containernetworking/plugins/plugins/ipam/host-local", "host-local"),
        ("github.com/containernetworking/plugins/plugins/meta/portmap", "portmap"),
    ],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "half a minute",
};

static SKOPEO: Module = Module {
    name: "skopeo",
    version: "v5.42.1",
    packages: &[(".", "skopeo-copy")],
    tags: "containers_image_openpgp exclude_graphdriver_btrfs containers_image_docker_daemon_stub \
           containers_image_storage_stub",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "2 minutes",
};

static MAP_WEBHOOK: Module = Module {
    name: "mapwebhook",
    version: "v0.25.2",
    packages: &[(".", "map-webhook")],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "2 minutes",
};

static REGCTL: Module = Module {
    name: "regctl",
    version: "v0.11.7",
    packages: &[("github.com/regclient/regclient/cmd/regctl", "regctl")],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "half a minute",
};

/// A release has the same tags and flags.
static SYFT: Module = Module {
    name: "syft",
    version: "v1.57.1",
    packages: &[("github.com/anchore/syft/cmd/syft", "syft")],
    tags: "containers_image_openpgp exclude_graphdriver_btrfs",
    linker_flags: "-X main.version=1.57.1",
    environment: &[],
    debian_packages: &[],
    cold_build: "4 minutes",
};

/// The lab's own program on containerd's package `compression`.
static DECODE: Module = Module {
    name: "decode",
    version: CONTAINERD.version,
    packages: &[("zstart.dev/lab/decode", "node-decode")],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "10 seconds",
};

/// Go's two gzip encoders.
static GZIP: Module = Module {
    name: "gzip",
    version: "v1.20.0",
    packages: &[("zstart.dev/lab/gzip", "go-gzip")],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "10 seconds",
};

static KREW: Module = Module {
    name: "krew",
    version: "v0.4.3",
    packages: &[("sigs.k8s.io/krew/cmd/krew", "kubectl-krew")],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "15 seconds",
};

/// Validates manifests against JSON schemas.
static KUBECONFORM: Module = Module {
    name: "kubeconform",
    version: "v0.8.0",
    packages: &[("github.com/yannh/kubeconform/cmd/kubeconform", "kubeconform")],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "10 seconds",
};

static KUEUE: Module = Module {
    name: "kueue",
    version: "v0.17.0",
    packages: &[("sigs.k8s.io/kueue/cmd/kueue", "kueue")],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "5 minutes",
};

/// A release has the same experiment: trivy imports `encoding/json/v2`.
static TRIVY: Module = Module {
    name: "trivy",
    version: "v0.74.0",
    packages: &[("github.com/aquasecurity/trivy/cmd/trivy", "trivy")],
    tags: "",
    linker_flags: "-X github.com/aquasecurity/trivy/pkg/version/app.ver=0.74.0",
    environment: &[("GOEXPERIMENT", "jsonv2")],
    debian_packages: &[],
    cold_build: "7 minutes",
};

/// Simulates kubelets: reports nodes ready and pods running.
static KWOK: Module = Module {
    name: "kwok",
    version: "v0.8.0",
    packages: &[("sigs.k8s.io/kwok/cmd/kwok", "kwok")],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "2 minutes",
};

/// The scheduler's own rules for node selectors and taints, as a program of the lab. The version is that of
/// `k8s.io/component-helpers`, which belongs to the scheduler's release.
static NODE_MATCH: Module = Module {
    name: "node-match",
    version: "v0.36.3",
    packages: &[(".", "node-match")],
    tags: "",
    linker_flags: "",
    environment: &[],
    debian_packages: &[],
    cold_build: "half a minute",
};

/// Prometheus without its web interface, whose files aren't in the module, and with the service discovery of Kubernetes
/// only. `promql-names` is a program of the lab on its parser.
static PROMETHEUS: Module = Module {
    name: "prometheus",
    version: "v0.316.0",
    packages: &[
        ("zstart.dev/lab/prometheus/promql", "promql-names"),
        ("github.com/prometheus/prometheus/cmd/promtool", "promtool"),
        ("github.com/prometheus/prometheus/cmd/prometheus", "prometheus"),
    ],
    tags: "remove_all_sd enable_kubernetes_sd",
    linker_flags: "-X github.com/prometheus/common/version.Version=3.16.0",
    environment: &[],
    debian_packages: &[],
    cold_build: "up to half an hour next to other builds",
};

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
        }
    }

    /// Version of the tool's Go module.
    pub fn version(self) -> &'static str {
        self.module().version
    }

    /// Whether only a whole cluster needs the tool.
    pub(super) fn needs_root(self) -> bool {
        std::ptr::eq(self.module(), &raw const CONTAINERD)
            || std::ptr::eq(self.module(), &raw const RUNC)
            || std::ptr::eq(self.module(), &raw const CNI)
    }

    pub(super) fn module(self) -> &'static Module {
        match self {
            Self::KubeApiserver
            | Self::Kubectl
            | Self::KubeControllerManager
            | Self::KubeScheduler
            | Self::Kubelet
            | Self::KubeProxy => &KUBERNETES,
            Self::Etcd => &ETCD,
            Self::Registry => &REGISTRY,
            Self::Helm => &HELM,
            Self::Containerd | Self::ContainerdShim | Self::Ctr => &CONTAINERD,
            Self::Runc => &RUNC,
            Self::CniBridge => &CNI,
            Self::Skopeo => &SKOPEO,
            Self::MapWebhook => &MAP_WEBHOOK,
            Self::Regctl => &REGCTL,
            Self::Syft => &SYFT,
            Self::Trivy => &TRIVY,
            Self::Kwok => &KWOK,
            Self::NodeMatch => &NODE_MATCH,
            Self::Kueue => &KUEUE,
            Self::Decode => &DECODE,
            Self::GoGzip => &GZIP,
            Self::Krew => &KREW,
            Self::Prometheus | Self::Promtool | Self::PromqlNames => &PROMETHEUS,
            Self::Kubeconform => &KUBECONFORM,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn versions_match_the_go_modules() {
        for module in [
            &KUBERNETES,
            &ETCD,
            &REGISTRY,
            &HELM,
            &CONTAINERD,
            &RUNC,
            &CNI,
            &SKOPEO,
            &MAP_WEBHOOK,
            &REGCTL,
            &SYFT,
            &TRIVY,
            &KWOK,
            &NODE_MATCH,
            &KUEUE,
            &DECODE,
            &GZIP,
            &KREW,
            &PROMETHEUS,
            &KUBECONFORM,
        ] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(module.name).join("go.mod");
            let text = std::fs::read_to_string(file).unwrap();
            let required = text.lines().any(|line| {
                line.starts_with("require ") && line.ends_with(module.version)
                    || line.starts_with('\t') && line.contains(&format!(" {}", module.version))
            });
            assert!(required, "{} {} is not in go.mod", module.name, module.version);
        }
    }

    #[test]
    fn documents_name_the_pinned_versions() {
        let documents: [(_, &[&Module]); 2] =
            [("performance.md", &[&SKOPEO, &REGCTL, &MAP_WEBHOOK]), ("scanners.md", &[&SYFT, &TRIVY])];
        for (document, modules) in documents {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(document);
            let text = std::fs::read_to_string(file).unwrap();
            for module in modules {
                assert!(text.contains(module.version), "{document} lacks {} {}", module.name, module.version);
            }
        }
    }
}
