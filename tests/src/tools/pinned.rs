//! The pinned Go modules of the lab.

use super::module::Module;

/// Kubernetes and what shares its libraries compile without inlining, except for the standard library: their first
/// build takes longer than all that `make run` does with them. What moves the bytes of a measured pull, containerd and
/// the registry, compiles as a release does.
const NO_INLINING: &[&str] = &["-gcflags=all=-l", "-gcflags=std="];

pub(super) static KUBERNETES: Module = Module {
    name: "kubernetes",
    folder: "cluster",
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
    compiler_flags: NO_INLINING,
    environment: &[],
    debian_packages: &[],
    cold_build: "4 to 6 minutes",
};

pub(super) static ETCD: Module = Module {
    name: "etcd",
    folder: "cluster",
    version: "v3.6.8",
    packages: &[("go.etcd.io/etcd/server/v3", "etcd")],
    tags: "",
    linker_flags: "",
    compiler_flags: NO_INLINING,
    environment: &[],
    debian_packages: &[],
    cold_build: "a quarter of a minute",
};

/// The registry of the distribution project, without its storage in clouds.
pub(super) static REGISTRY: Module = Module {
    name: "registry",
    folder: "image-stores",
    version: "v3.1.2",
    packages: &[("zstart.dev/lab/image-stores/registry", "registry")],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "half a minute",
};

pub(super) static HELM: Module = Module {
    name: "helm",
    folder: "cluster",
    version: "v4.2.4",
    packages: &[("helm.sh/helm/v4/cmd/helm", "helm")],
    tags: "",
    linker_flags: "-X helm.sh/helm/v4/internal/version.version=v4.2.4",
    compiler_flags: NO_INLINING,
    environment: &[],
    debian_packages: &[],
    cold_build: "a quarter of a minute",
};

pub(super) static CONTAINERD: Module = Module {
    name: "containerd",
    folder: "image-stores",
    version: "v2.4.2",
    packages: &[
        ("github.com/containerd/containerd/v2/cmd/containerd", "containerd"),
        ("github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", "containerd-shim-runc-v2"),
        ("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
    ],
    // Without what a lab's node doesn't use: three snapshotters, traces, cache allocation, systemd.
    tags: "no_btrfs no_devmapper no_zfs no_tracing no_rdt no_systemd",
    linker_flags: "-X github.com/containerd/containerd/v2/version.Version=2.4.2",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "a minute",
};

pub(super) static RUNC: Module = Module {
    name: "runc",
    folder: "runc",
    version: "v1.5.2",
    packages: &[("github.com/opencontainers/runc", "runc")],
    tags: "seccomp",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &["libseccomp-dev", "pkg-config", "gcc"],
    cold_build: "a quarter of a minute",
};

pub(super) static CNI: Module = Module {
    name: "cni",
    folder: "cni",
    version: "v1.9.1",
    packages: &[
        ("github.com/containernetworking/plugins/plugins/main/bridge", "bridge"),
        ("github.com/containernetworking/plugins/plugins/main/loopback", "loopback"),
        ("github.com/containernetworking/plugins/plugins/ipam/host-local", "host-local"),
        ("github.com/containernetworking/plugins/plugins/meta/portmap", "portmap"),
    ],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "a few seconds",
};

pub(super) static SKOPEO: Module = Module {
    name: "skopeo",
    folder: "skopeo",
    version: "v5.42.1",
    packages: &[(".", "skopeo-copy")],
    tags: "containers_image_openpgp exclude_graphdriver_btrfs containers_image_docker_daemon_stub \
           containers_image_storage_stub",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "2 minutes",
};

pub(super) static MAP_WEBHOOK: Module = Module {
    name: "mapwebhook",
    folder: "mapwebhook",
    version: "v0.25.2",
    packages: &[(".", "map-webhook")],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "2 minutes",
};

pub(super) static REGCTL: Module = Module {
    name: "regctl",
    folder: "regctl",
    version: "v0.11.7",
    packages: &[("github.com/regclient/regclient/cmd/regctl", "regctl")],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "half a minute",
};

/// A release has the same tags and flags.
pub(super) static SYFT: Module = Module {
    name: "syft",
    folder: "syft",
    version: "v1.57.1",
    packages: &[("github.com/anchore/syft/cmd/syft", "syft")],
    tags: "containers_image_openpgp exclude_graphdriver_btrfs",
    linker_flags: "-X main.version=1.57.1",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "4 minutes",
};

/// The lab's own program on containerd's package `compression`.
pub(super) static DECODE: Module = Module {
    name: "decode",
    folder: "decode",
    version: CONTAINERD.version,
    packages: &[("zstart.dev/lab/decode", "node-decode")],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "10 seconds",
};

/// Go's two gzip encoders.
pub(super) static GZIP: Module = Module {
    name: "gzip",
    folder: "gzip",
    version: "v1.20.0",
    packages: &[("zstart.dev/lab/gzip", "go-gzip")],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "10 seconds",
};

pub(super) static KREW: Module = Module {
    name: "krew",
    folder: "krew",
    version: "v0.4.3",
    packages: &[("sigs.k8s.io/krew/cmd/krew", "kubectl-krew")],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "15 seconds",
};

/// Validates manifests against JSON schemas.
pub(super) static KUBECONFORM: Module = Module {
    name: "kubeconform",
    folder: "kubeconform",
    version: "v0.8.0",
    packages: &[("github.com/yannh/kubeconform/cmd/kubeconform", "kubeconform")],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "10 seconds",
};

/// The lab's own program on the snapshotter's packages.
pub(super) static STARGZ: Module = Module {
    name: "stargz",
    folder: "stargz",
    version: "v0.19.1",
    packages: &[("zstart.dev/lab/stargz", "stargz")],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "a minute",
};

/// The lab's own program on the snapshotter's packages. zlib reads the checkpoints of gzip layers.
pub(super) static SOCI: Module = Module {
    name: "soci",
    folder: "soci",
    version: "v0.16.1",
    packages: &[("zstart.dev/lab/soci", "soci")],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &["zlib1g-dev", "gcc"],
    cold_build: "a minute",
};

pub(super) static KUEUE: Module = Module {
    name: "kueue",
    folder: "kueue",
    version: "v0.17.0",
    packages: &[("sigs.k8s.io/kueue/cmd/kueue", "kueue")],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "5 minutes",
};

/// A release has the same experiment: trivy imports `encoding/json/v2`.
pub(super) static TRIVY: Module = Module {
    name: "trivy",
    folder: "trivy",
    version: "v0.74.0",
    packages: &[("github.com/aquasecurity/trivy/cmd/trivy", "trivy")],
    tags: "",
    linker_flags: "-X github.com/aquasecurity/trivy/pkg/version/app.ver=0.74.0",
    compiler_flags: &[],
    environment: &[("GOEXPERIMENT", "jsonv2")],
    debian_packages: &[],
    cold_build: "7 minutes",
};

/// Simulates kubelets: reports nodes ready and pods running.
pub(super) static KWOK: Module = Module {
    name: "kwok",
    folder: "cluster",
    version: "v0.8.0",
    packages: &[("sigs.k8s.io/kwok/cmd/kwok", "kwok")],
    tags: "",
    linker_flags: "",
    compiler_flags: NO_INLINING,
    environment: &[],
    debian_packages: &[],
    cold_build: "a quarter of a minute",
};

/// The scheduler's own rules for node selectors and taints, as a program of the lab. The version is that of
/// `k8s.io/component-helpers`, which belongs to the scheduler's release.
pub(super) static NODE_MATCH: Module = Module {
    name: "node-match",
    folder: "node-match",
    version: "v0.36.3",
    packages: &[(".", "node-match")],
    tags: "",
    linker_flags: "",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "half a minute",
};

/// Prometheus without its web interface, whose files aren't in the module, and with the service discovery of Kubernetes
/// only. `promql-names` is a program of the lab on its parser.
pub(super) static PROMETHEUS: Module = Module {
    name: "prometheus",
    folder: "prometheus",
    version: "v0.316.0",
    packages: &[
        ("zstart.dev/lab/prometheus/promql", "promql-names"),
        ("github.com/prometheus/prometheus/cmd/promtool", "promtool"),
        ("github.com/prometheus/prometheus/cmd/prometheus", "prometheus"),
    ],
    tags: "remove_all_sd enable_kubernetes_sd",
    linker_flags: "-X github.com/prometheus/common/version.Version=3.16.0",
    compiler_flags: &[],
    environment: &[],
    debian_packages: &[],
    cold_build: "up to half an hour next to other builds",
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    static ALL: [&Module; 22] = [
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
        &DECODE,
        &GZIP,
        &KREW,
        &KUBECONFORM,
        &STARGZ,
        &SOCI,
        &KUEUE,
        &TRIVY,
        &KWOK,
        &NODE_MATCH,
        &PROMETHEUS,
    ];

    #[test]
    fn versions_match_the_go_modules() {
        for module in ALL {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(module.folder).join("go.mod");
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
        let documents: [(_, &[&Module]); 2] = [
            ("performance.md", &[&SKOPEO, &REGCTL, &MAP_WEBHOOK, &STARGZ, &SOCI]),
            ("scanners.md", &[&SYFT, &TRIVY]),
        ];
        for (document, modules) in documents {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(document);
            let text = std::fs::read_to_string(file).unwrap();
            for module in modules {
                assert!(text.contains(module.version), "{document} lacks {} {}", module.name, module.version);
            }
        }
    }
}
