//! Container runtimes that can start a zstd image, by the version that a node reports.

/// First containerd version that unpacks OCI `tar+zstd` layers.
const MIN_CONTAINERD: (u64, u64) = (1, 5);
/// First CRI-O version that unpacks OCI `tar+zstd` layers.
const MIN_CRIO: (u64, u64) = (1, 16);
/// First Docker Engine version that unpacks OCI `tar+zstd` layers.
const MIN_DOCKER: (u64, u64) = (23, 0);

/// Returns whether `version`, a node's `status.nodeInfo.containerRuntimeVersion` (`TYPE://VERSION`),
/// names a runtime that can start a zstd image. An unparsable version counts as unsupported.
pub fn supports_zstd(version: &str) -> bool {
    let Some((runtime, version)) = version.split_once("://") else { return false };
    let minimum = match runtime {
        "containerd" => MIN_CONTAINERD,
        "cri-o" => MIN_CRIO,
        "docker" => MIN_DOCKER,
        _ => return false,
    };
    major_and_minor(version).is_some_and(|found| found >= minimum)
}

/// Parses the first two numbers of `1.7.27+bottlerocket`, `v2.0.0-rc.1` or `1.7.23-k3s2`.
fn major_and_minor(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.strip_prefix('v').unwrap_or(version).split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?;
    let digits = minor.find(|character: char| !character.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_runtimes_are_recognised() {
        for version in [
            "containerd://2.1.6",
            "containerd://1.5.0",
            "containerd://1.7.27+bottlerocket",
            "containerd://1.7.23-k3s2",
            "containerd://v2.0.0-rc.1",
            "containerd://2.4",
            "containerd://1.10x",
            "cri-o://1.31.0",
            "docker://28.2.2",
        ] {
            assert!(supports_zstd(version), "{version}");
        }
    }

    #[test]
    fn old_unknown_and_unparsable_runtimes_are_unsupported() {
        for version in [
            "",
            "containerd",
            "containerd://",
            "containerd://Unknown",
            "containerd://1.4.13",
            "containerd://x.y",
            "containerd://2",
            "docker://20.10.7",
            "cri-o://1.15.9",
            "rkt://9.9.9",
        ] {
            assert!(!supports_zstd(version), "{version}");
        }
    }
}
