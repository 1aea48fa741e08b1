//! The texts that runtimes and kubelets print, each with its source.

use super::*;

const DENIED: PullFailure = PullFailure::Image(ImageFault::Denied);
const DAMAGED: PullFailure = PullFailure::Image(ImageFault::Damaged);
const MISSING: PullFailure = PullFailure::Image(ImageFault::Missing);
const UNSIGNED: PullFailure = PullFailure::Image(ImageFault::Unsigned);
const NO_DECODER: PullFailure = PullFailure::Node(UnpackFault::NoDecoder);
const NOT_TAR: PullFailure = PullFailure::Node(UnpackFault::NotTar);
const AWAY: PullFailure = PullFailure::RegistryAway;
const UNRELATED: PullFailure = PullFailure::Unrelated;

/// Requires the cause of each text, alone and during the pause after it.
fn check(texts: &[(&str, PullFailure)]) {
    for (text, expected) in texts {
        assert_eq!(waiting("ErrImagePull", text), Waiting::Failed(*expected), "{text}");
        let pause = format!("Back-off pulling image \"r.example/app:v1\": ErrImagePull: {text}");
        assert_eq!(waiting("ImagePullBackOff", &pause), Waiting::Failed(*expected), "{pause}");
    }
}

// containerd 1.6 and 1.7: pull.go, remotes/docker/{resolver,fetcher,authorizer}.go, remotes/errors/errors.go.
#[test]
fn containerd_1_pull_texts_are_known() {
    check(&[
        // munnerz/kube-plex#46; provider-aws-test-infra#281.
        (
            r#"rpc error: code = NotFound desc = failed to pull and unpack image "registry.k8s.io/kube-apiserver-amd64:v1.30.0": failed to resolve reference "registry.k8s.io/kube-apiserver-amd64:v1.30.0": registry.k8s.io/kube-apiserver-amd64:v1.30.0: not found"#,
            MISSING,
        ),
        (
            r#"rpc error: code = Unknown desc = failed to pull and unpack image "quay.io/munnerz/kube-plex:latest": failed to copy: httpReaderSeeker: failed open: could not fetch content descriptor sha256:13fffb730e53e451a6be2c649c4da3dfb252bb411802ce87f9f704d602d3a195 (application/vnd.oci.image.layer.v1.tar+zstd) from remote: not found"#,
            MISSING,
        ),
        // containerd#5799.
        (
            r#"rpc error: code = NotFound desc = failed to pull and unpack image "r.example:8443/app:v1": httpReadSeeker: failed open: content at https://r.example:8443/v2/app/manifests/sha256:2e22b7a8106be4a95c9fb333c85ac163566a7f0a4877275fd4232cf7852d70f8 not found: not found"#,
            MISSING,
        ),
        // berops/claudie#1272.
        (
            r#"failed to pull and unpack image "registry.k8s.io/pause:3.9": failed to resolve reference "registry.k8s.io/pause:3.9": unexpected status from HEAD request to https://europe-west3-docker.pkg.dev/v2/k8s-artifacts-prod/images/pause/manifests/3.9: 403 Forbidden"#,
            DENIED,
        ),
        // containerd#5246; kubernetes#110678 (containerd 1.5).
        (
            r#"failed to resolve reference "r.example/app:v1": unexpected status code [manifests v1]: 401 Unauthorized"#,
            DENIED,
        ),
        (
            r#"rpc error: code = Unknown desc = failed to pull and unpack image "registry.app.xxx.net/partsgo42:x": failed to resolve reference "registry.app.xxx.net/partsgo42:x": pulling from host registry.app.xxx.net failed with status code [manifests x]: 401 Unauthorized"#,
            DENIED,
        ),
        (
            r#"failed to resolve reference "docker.io/org/app:v1": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"#,
            DENIED,
        ),
        // jfrog-credentials-provider#41.
        (
            r#"failed to pull and unpack image "heidiai.jfrog.io/docker/scribe:pr-6940": failed to resolve reference "heidiai.jfrog.io/docker/scribe:pr-6940": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://heidiai.jfrog.io/artifactory/api/docker/v2/token?scope=repository%3Ascribe%3Apull&service=heidiai.jfrog.io: 401 "#,
            DENIED,
        ),
        // kata-containers#10109.
        (
            r#"rpc error: code = Unknown desc = failed to pull and unpack image "docker.io/library/busybox:latest": failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/library/busybox/manifests/sha256:50aa4698fa6262977cff89181b2664b99d8a56dbca847bf62f2ef04854597cf8: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit"#,
            AWAY,
        ),
        (
            r#"failed to resolve reference "r.example/app:v1": unexpected status from HEAD request to https://r.example/v2/app/manifests/v1: 503 Service Unavailable"#,
            AWAY,
        ),
        // kubeadm#2936; kubernetes#123901; kubernetes#91402; containerd's core tests.
        (
            r#"rpc error: code = Unknown desc = failed to pull and unpack image "registry.k8s.io/kube-proxy:v1.28.2": failed to resolve reference "registry.k8s.io/kube-proxy:v1.28.2": failed to do request: Head "https://registry.k8s.io/v2/kube-proxy/manifests/v1.28.2": dial tcp 34.96.108.209:443: connect: connection timed out"#,
            AWAY,
        ),
        (
            r#"failed to resolve reference "registry.k8s.io/kube-proxy:v1.29.2": failed to do request: Head "https://registry.k8s.io/v2/kube-proxy/manifests/v1.29.2": dial tcp: lookup registry.k8s.io on [::1]:53: read udp [::1]:46078->[::1]:53: read: connection refused"#,
            AWAY,
        ),
        (
            r#"failed to resolve reference "r.example/pause:3.9": failed to do request: Head "https://r.example/v2/pause/manifests/3.9": dial tcp 120.55.105.209:443: connect: no route to host"#,
            AWAY,
        ),
        (
            r#"failed to resolve reference "r.example/app:v1": failed to do request: Head "https://r.example/v2/app/manifests/v1": dial tcp: lookup r.example on 10.0.0.10:53: no such host"#,
            AWAY,
        ),
        (
            r#"failed to resolve reference "r.example/app:v1": failed to do request: Head "https://r.example/v2/app/manifests/v1": tls: failed to verify certificate: x509: certificate signed by unknown authority"#,
            AWAY,
        ),
        // kubernetes#131521; registry-proxy#3.
        (
            r#"rpc error: code = Canceled desc = failed to pull and unpack image "r.example/app:v1": failed to copy: httpReadSeeker: failed open: failed to do request: Get "https://r.example/v2/app/blobs/sha256:d0157ca575c725b6dbdc6c7b843b8614963fda6ca619af9932bfbbb39c450c5a": context canceled"#,
            AWAY,
        ),
        (
            r#"rpc error: code = DeadlineExceeded desc = failed to pull and unpack image "docker.io/library/redis:latest": failed to resolve reference "docker.io/library/redis:latest": failed to authorize: failed to fetch anonymous token: Get "https://auth.docker.io/token?service=registry.docker.io": dial tcp 108.160.165.48:443: i/o timeout"#,
            AWAY,
        ),
    ]);
}

// containerd 1.6 and 1.7: unpacker.go (1.6), pkg/unpack/unpacker.go (1.7), metadata/content.go, diff/stream.go.
#[test]
fn containerd_1_unpack_texts_are_known() {
    check(&[
        // containerd#3682; content/local/writer.go.
        (
            r#"rpc error: code = Unknown desc = failed to pull and unpack image "docker.io/kubevirt/virt-handler@sha256:74463ee0d468203d7319099650d8590bbbb8af4ab67315f7a27b205a2885e8c2": failed to unpack image on snapshotter devmapper: wrong diff id calculated on extraction "sha256:556b5e866fb438fb624f21d7f1f9587227c580cdc45b633095111ad8cdb05fd8""#,
            DAMAGED,
        ),
        (
            "failed to copy: failed commit on ref \"layer-sha256:aa\": unexpected commit digest sha256:bb, expected sha256:aa: failed precondition",
            DAMAGED,
        ),
        (
            r#"failed to copy: failed commit on ref "layer-sha256:aa": "layer-sha256:aa" failed size validation: 10 != 12: failed precondition"#,
            DAMAGED,
        ),
        // cri-tools#1137.
        (
            r#"rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/victoriametrics/victoria-metrics:v1.76.1": failed to unpack image on snapshotter overlayfs: unexpected media type text/html for sha256:04a732b9876d77c18601b92f91bb05d4591a1356dbbfd732c13f4db1362c796d: not found"#,
            DAMAGED,
        ),
        // k3s#7035 with another media type; diff/stream.go and diff/apply/apply.go.
        (
            "failed to extract layer sha256:09a85f55824bc820d92dc7578e2a0afe1d19cdc5dbdbd1b994891ee1ae5bb0b8: failed to get stream processor for application/vnd.oci.image.layer.v1.tar+zstd: no processor for media-type: unknown",
            NO_DECODER,
        ),
        (
            "failed to extract layer sha256:09a85f55824bc820d92dc7578e2a0afe1d19cdc5dbdbd1b994891ee1ae5bb0b8: failed to get stream processor for application/vnd.in-toto+json: no processor for media-type: unknown",
            PullFailure::Unknown,
        ),
        // home-operations/containers#1177: containerd 1.4.11 with zstd layers.
        (
            r#"rpc error: code = Unknown desc = failed to pull and unpack image "ghcr.io/home-operations/prowlarr:2": failed to extract layer sha256:7bb20cf5ef67526cb843d264145241ce4dde09a337b5be1be42ba464de9a672d: mount callback failed on /var/lib/rancher/k3s/agent/containerd/tmpmounts/containerd-mount802132737: archive/tar: invalid tar header: unknown"#,
            NOT_TAR,
        ),
        // k3os#55; ansible/creator-ee#84.
        (
            "failed to extract layer sha256:5dacd731af1b0386ead06c8b1feff9f65d9e0bdfec032d2cd0bc03690698feda: mount callback failed on /tmpmounts/containerd-mount252943319: write /tmpmounts/containerd-mount252943319/lib/libc-2.24.so: no space left on device: unknown",
            UNRELATED,
        ),
        (
            r#"rpc error: code = Unknown desc = failed to pull and unpack image "quay.io/ansible/creator-ee:v0.5.0": failed to extract layer sha256:140b571c235813a8eb5ba7f5f474f8852eef0218d4e5efe99801351d4c76aa6b: operation not permitted: unknown"#,
            UNRELATED,
        ),
        // Content that the node lost itself: containerd#3604.
        (
            r#"failed to pull and unpack image "docker.io/prom/pushgateway:v0.9.1": failed to unpack image on snapshotter overlayfs: content digest sha256:7351147077496a942c478cb3f4c850c1feb5c96a614472582c3feae07de959db: not found"#,
            PullFailure::Unknown,
        ),
        (
            r#"rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused""#,
            UNRELATED,
        ),
    ]);
}

// containerd 2.0 to 2.4: client/pull.go, core/transfer/local/pull.go, core/unpack/unpacker.go,
// core/remotes/docker/{resolver,fetcher}.go.
#[test]
fn containerd_2_texts_are_known() {
    check(&[
        (
            r#"rpc error: code = NotFound desc = failed to pull and unpack image "r.example/app@sha256:aa": failed to resolve image: r.example/app@sha256:aa: not found"#,
            MISSING,
        ),
        // cloud-sql-proxy#2490.
        (
            r#"failed to pull and unpack image "gcr.io/app:2.14.1": failed to resolve image: unexpected status from HEAD request to https://gcr.io/v2/app/manifests/2.14.1: 403 Forbidden"#,
            DENIED,
        ),
        (
            r#"failed to pull and unpack image "r.example/app:v1": failed to resolve image: unexpected status from HEAD request to https://r.example/v2/app/manifests/v1: 500 Internal Server Error"#,
            AWAY,
        ),
        (
            r#"failed to pull and unpack image "r.example:5000/app@sha256:aa": failed to resolve image: failed to do request: Head "https://r.example:5000/v2/app/manifests/sha256:aa": dial tcp 10.200.0.1:5000: connect: connection refused"#,
            AWAY,
        ),
        // buildpacks/lifecycle#1662.
        (
            r#"failed to pull and unpack image "r.example/app:v1": wrong diff id "sha256:aa" calculated on extraction "sha256:bb", desc "sha256:cc""#,
            DAMAGED,
        ),
        (
            r#"failed to pull and unpack image "r.example/app:v1": failed to extract layer (application/vnd.oci.image.layer.v1.tar+zstd sha256:aa) to overlayfs as "extract-260106421-WDeK sha256:bb": failed to get stream processor for application/vnd.oci.image.layer.v1.tar+zstd: no processor for media-type"#,
            NO_DECODER,
        ),
        // usestrix/strix#483.
        (
            r#"failed to extract layer (application/vnd.oci.image.layer.v1.tar+gzip sha256:0465d356eb1de54a583b42b392bd68ff4c6d0494ecaeb5a8b89c1001334829bf) to overlayfs as "extract-260106421-WDeK sha256:dc6b5af8281abf684b3e18b349680a24b4f020bd3ee8c7254ddc3b128ec21162": write /var/lib/containerd/snapshots/105/fs/home/x: no space left on device"#,
            UNRELATED,
        ),
        // The verifiers of core/transfer/local/pull.go.
        (
            r#"failed to pull and unpack image "r.example/app:v1": image verifier bindir blocked pull of r.example/app:v1 with digest sha256:aa for reason: no signature"#,
            UNSIGNED,
        ),
        (
            r#"failed to pull and unpack image "r.example/app:v1": failed to copy: httpReadSeeker: failed open: unexpected status from GET request to https://r.example/v2/app/blobs/sha256:aa: 404 Not Found"#,
            MISSING,
        ),
    ]);
}

// CRI-O: internal/storage/image.go, and go.podman.io/image's docker/{docker_client,errors}.go,
// copy/{copy,single,digesting_reader}.go, storage/storage_dest.go, manifest/{common,manifest}.go.
#[test]
fn crio_texts_are_known() {
    check(&[
        // kubevirt#16371.
        (
            "unable to pull image or OCI artifact: pull image err: initializing source docker://registry:5000/kubevirt/alpine@sha256:081ab0c41a37499672990f612488fe0cded25589b60593473604df5d758afe8b: reading manifest sha256:081ab0c41a37499672990f612488fe0cded25589b60593473604df5d758afe8b in registry:5000/kubevirt/alpine: manifest unknown; artifact err: get manifest: build image source: reading manifest sha256:081ab0c41a37499672990f612488fe0cded25589b60593473604df5d758afe8b in registry:5000/kubevirt/alpine: manifest unknown",
            MISSING,
        ),
        // stolostron/deploy#6; cri-o#2331.
        (
            "rpc error: code = Unknown desc = reading manifest 1.0.0 in quay.io/org/operator-index: unauthorized: access to the requested resource is not authorized",
            DENIED,
        ),
        (
            "Error reading manifest latest in docker.io/crio/busybox: errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required\n",
            DENIED,
        ),
        (
            "initializing source docker://r.example/app:v1: unable to retrieve auth token: invalid username/password: unauthorized: HTTP Basic: Access denied",
            DENIED,
        ),
        // democratic-csi#90.
        (
            "rpc error: code = Unknown desc = Error reading manifest latest in docker.io/democraticcsi/democratic-csi: toomanyrequests: You have reached your pull rate limit.",
            AWAY,
        ),
        ("initializing source docker://r.example/app:v1: too many requests to registry", AWAY),
        // cri-o#2331; cri-o#2723; cri-o#3612.
        (
            r#"pinging container registry r.example: Get "https://r.example/v2/": proxyconnect tcp: dial tcp: lookup http: Temporary failure in name resolution"#,
            AWAY,
        ),
        (
            "initializing source docker://r.example/app:v1: pinging container registry r.example: Get \"https://r.example/v2/\": dial tcp 34.199.40.84:443: i/o timeout",
            AWAY,
        ),
        (
            r#"error pinging docker registry k8s.gcr.io: Get "https://k8s.gcr.io/v2/": dial tcp: lookup k8s.gcr.io: device or resource busy"#,
            AWAY,
        ),
        (
            "initializing source docker://r.example/app:v1: pinging container registry r.example: received unexpected HTTP status: 502 Bad Gateway",
            AWAY,
        ),
        (r#"reading manifest v1 in r.example/app: StatusCode: 404, "<html>page not found</html>""#, MISSING),
        // registry.k8s.io#333.
        (
            r#"unable to pull image or OCI artifact: pull image err: copying system image from manifest list: writing blob: storing blob to file "/var/tmp/container_images_storage4208048397/4": happened during read: unexpected EOF (after reconnecting, fetching blob: StatusCode: 400, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Cod..."); artifact err: image reference: reference is a container image, not an OCI artifact"#,
            AWAY,
        ),
        // container-libs#391; containers/storage#145.
        (
            r#"writing blob: layer 0 (blob "sha256:3d5c668b") does not match config's DiffID "sha256:1d46119d""#,
            DAMAGED,
        ),
        (
            "writing blob: storing blob to file: happened during read: Digest did not match, expected sha256:aa, got sha256:bb",
            DAMAGED,
        ),
        // docker-immich#711; moby#15561.
        (
            r#"copying system image from manifest list: initializing image from source docker://ghcr.io/imagegenius/immich:latest: unsupported docker v2s2 media type: "application/vnd.docker.image.rootfs.diff.tar.zstd""#,
            NO_DECODER,
        ),
        (
            r#"copying system image from manifest list: unsupported MIME type for decompression: "application/vnd.oci.image.layer.v1.tar+zstd""#,
            NO_DECODER,
        ),
        (
            "writing blob: adding layer with blob \"sha256:aa\": ApplyLayer exit status 1 stdout:  stderr: archive/tar: invalid tar header",
            NOT_TAR,
        ),
    ]);
    let refused = "image pull failed for r.example/app:v1 because the registry is unavailable: pinging container registry r.example";
    assert_eq!(waiting("RegistryUnavailable", refused), Waiting::Failed(AWAY));
    // kubernetes#127918.
    let unsigned = "Back-off pulling image \"quay.io/crio/unsigned:latest\": SignatureValidationFailed: image pull failed for quay.io/crio/unsigned:latest because the signature validation failed: Source image rejected: A signature was required, but no signature exists";
    assert_eq!(waiting("ImagePullBackOff", unsigned), Waiting::Failed(UNSIGNED));
}

// kubelet: pkg/kubelet/images/{types,helpers,image_manager}.go.
#[test]
fn kubelet_reasons_are_known() {
    let failed = |reason, message| waiting(reason, message);
    assert_eq!(failed("ErrImagePull", "pull QPS exceeded"), Waiting::Failed(UNRELATED));
    let never = "Container image \"app:v1\" is not present with pull policy of Never";
    assert_eq!(failed("ErrImageNeverPull", never), Waiting::Failed(UNRELATED));
    let name = "Failed to apply default image tag \"A\": couldn't parse image name";
    assert_eq!(failed("InvalidImageName", name), Waiting::Failed(UNRELATED));
    assert_eq!(failed("ImageInspectError", "Failed to inspect image \"\": x"), Waiting::Failed(UNRELATED));
    // Before Kubernetes 1.32 a pause hides the error.
    assert_eq!(failed("ImagePullBackOff", "Back-off pulling image \"app:v1\""), Waiting::BackOff);
    for reason in ["ContainerCreating", "PodInitializing", "CrashLoopBackOff", "CreateContainerConfigError"] {
        assert_eq!(failed(reason, "manifest unknown"), Waiting::ForOther, "{reason}");
    }
    // containerd#9830.
    let unpacking = "failed to create containerd container: error unpacking image: wrong diff id calculated on extraction \"sha256:aa\"";
    assert_eq!(failed("CreateContainerError", unpacking), Waiting::Failed(DAMAGED));
    assert_eq!(failed("CreateContainerError", "context deadline exceeded"), Waiting::ForOther);
}

#[test]
fn several_credentials_give_one_cause() {
    // The kubelet joins the errors of all pull secrets (kuberuntime_image.go).
    let text = r"[failed to resolve image: unexpected status from HEAD request to https://r.example/v2/app/manifests/v1: 401 Unauthorized, failed to resolve image: unexpected status from HEAD request to https://r.example/v2/app/manifests/v1: 404 Not Found]";
    assert_eq!(waiting("ErrImagePull", text), Waiting::Failed(DENIED));
}

#[test]
fn registry_cannot_blame_the_node() {
    for text in [
        "unexpected status code https://r.example/v2/app/blobs/sha256:aa: 418 I'm a teapot - Server message: application/vnd.oci.image.layer.v1.tar+zstd: no processor for media-type",
        "unexpected status from GET request to https://r.example/v2/: 418 archive/tar: invalid tar header",
        "reading manifest v1 in r.example/app: unsupported tar+zstd",
        "reading manifest v1 in r.example/app: no space left on device",
    ] {
        assert_eq!(waiting("ErrImagePull", text), Waiting::Failed(PullFailure::Unknown), "{text}");
    }
    let full = "unexpected status from GET request to https://r.example/v2/: 500 no space left on device";
    assert_eq!(waiting("ErrImagePull", full), Waiting::Failed(AWAY));
}

#[test]
fn unknown_texts_have_no_cause() {
    for text in ["", "something new", "déjà vu: 404"] {
        assert_eq!(waiting("ErrImagePull", text), Waiting::Failed(PullFailure::Unknown), "{text}");
    }
}
