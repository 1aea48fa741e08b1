//! Every label, annotation and name by which zstart's parts recognise each other, in one place.

/// Label on a namespace that opts it in, and on a pod that opts out. Values: [`ENABLED`],
/// [`AUDIT`] (namespaces only: decide and report, patch nothing) and [`DISABLED`].
pub const REWRITE: &str = "zstart.dev/rewrite";
/// Value of [`REWRITE`]: pods are pointed at their variants.
pub const ENABLED: &str = "enabled";
/// Value of [`REWRITE`]: images are converted and decisions reported, pods stay as they came.
pub const AUDIT: &str = "audit";
/// Value of [`REWRITE`]: nothing is done.
pub const DISABLED: &str = "disabled";

/// Annotation on a rewritten pod: a JSON object from the place of an image in the pod
/// (`containers/NAME`, `initContainers/NAME`, `volumes/NAME`) to the reference its author wrote there.
/// An entry counts only while a variant stands in its place. Of ephemeral containers there is none:
/// the API server takes no annotation with them.
pub const ORIGINALS: &str = "zstart.dev/originals";

/// Annotation of a variant's manifest or index: the digest of the manifest or index it was made of.
pub const SOURCE_DIGEST: &str = "dev.zstart.source.digest";
/// Annotation of a variant's layer descriptor: the digest of the layer it was made of.
pub const LAYER_SOURCE_DIGEST: &str = "dev.zstart.layer.source.digest";
/// Annotation of a variant's manifest or index: the settings it was made with, e.g.
/// `zstart/3;zstd=1.5.7;level=3`. The same source and settings give the same bytes.
pub const SETTINGS: &str = "dev.zstart.settings";

/// The API group of zstart's own kinds.
pub const GROUP: &str = "zstart.dev";
/// Field manager of everything the controller writes by server-side apply, and the
/// `reportingController` of its events.
pub const CONTROLLER: &str = "zstart-controller";
/// `reportingController` and log name of the webhook.
pub const WEBHOOK: &str = "zstart-webhook";

/// Name of the Secret that holds the webhook's certificate authority, in zstart's namespace.
pub const CA_SECRET: &str = "zstart-webhook-ca";
/// Name of the Secret that holds the webhook's serving certificate (`kubernetes.io/tls`).
pub const SERVING_SECRET: &str = "zstart-webhook-tls";

/// Labels that Amazon EKS sets on a pod that will run on Fargate (design: "Fargate by its marks").
pub const FARGATE_PROFILE: &str = "eks.amazonaws.com/fargate-profile";
/// The scheduler that Amazon EKS names in a pod that will run on Fargate.
pub const FARGATE_SCHEDULER: &str = "fargate-scheduler";
/// Annotation that the kubelet sets on the API server's copy of a static pod.
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";
