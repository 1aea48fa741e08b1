//! Every label, annotation and object name that zstart's parts share.

/// Label that opts in a namespace or opts out a pod. Values: [`ENABLED`], [`AUDIT`] (namespaces only:
/// decide and report, patch nothing) and [`DISABLED`].
pub const REWRITE: &str = "zstart.dev/rewrite";
/// Value of [`REWRITE`]: pods are rewritten to their variants.
pub const ENABLED: &str = "enabled";
/// Value of [`REWRITE`]: images are converted and decisions reported, pods are admitted unchanged.
pub const AUDIT: &str = "audit";
/// Value of [`REWRITE`]: no rewrite.
pub const DISABLED: &str = "disabled";

/// Annotation on a rewritten pod: a JSON object that maps an image field (`containers/NAME`,
/// `initContainers/NAME`, `volumes/NAME`) to the reference that the pod's author wrote. An entry counts
/// only while the field holds a variant. Ephemeral containers have no entry: the API server accepts no
/// annotation along with them.
pub const ORIGINALS: &str = "zstart.dev/originals";

/// Annotation of a record: a new value asks the controller to look at the source now, and to verify the variant in
/// full. Users write the time.
pub const RETRY: &str = "zstart.dev/retry";
/// Annotation of a record: a new value asks the controller for a variant of the current settings, once. The variant
/// that exists serves until the new one is verified. Users write the time.
pub const RECONVERT: &str = "zstart.dev/reconvert";

/// Annotation of a record that no workload uses: the time since when, by the controller.
pub const UNUSED_SINCE: &str = "zstart.dev/unused-since";

/// Annotation of a pod that opts out single images: names of containers and image volumes, joined by commas.
pub const KEEP_IMAGES: &str = "zstart.dev/keep-images";

/// Label of a Job that converts an image, and of its pod. The value is the short digest of the source.
pub const CONVERSION: &str = "zstart.dev/conversion";
/// Annotation of a Job that converts an image: the source.
pub const SOURCE: &str = "zstart.dev/source";
/// Label of a Job that Kueue starts: name of the `LocalQueue`, in the Job's namespace.
pub const KUEUE_QUEUE: &str = "kueue.x-k8s.io/queue-name";

/// Annotation of a pod that `zstart check` or `helm test` creates as a dry run: the webhook answers with
/// [`PROBE_REPLY`].
pub const PROBE: &str = "zstart.dev/probe";
/// Start of the webhook's warning about a dry run with [`PROBE`]. The webhook's version follows, and its decisions, e.g.
/// `0.1.0 (containers/probe NoRecord)`.
pub const PROBE_REPLY: &str = "reviewed by zstart-webhook ";

/// Annotation of a variant's manifest or index: digest of the source manifest or index.
pub const SOURCE_DIGEST: &str = "dev.zstart.source.digest";
/// Annotation of a variant's layer descriptor: digest of the source layer.
pub const LAYER_SOURCE_DIGEST: &str = "dev.zstart.layer.source.digest";
/// Annotation of a variant's manifest or index: conversion settings, e.g. `zstart/3;zstd=1.5.7;level=3` or
/// `zstart/3;zstd=1.5.7;level=3;method=auto`.
/// Equal source and settings give equal bytes.
pub const SETTINGS: &str = "dev.zstart.settings";

/// API group of zstart's own kinds.
pub const GROUP: &str = "zstart.dev";
/// Field manager of the controller's server-side applies, and `reportingController` of the controller's
/// events.
pub const CONTROLLER: &str = "zstart-controller";
/// Field manager of the condition `Healthy` of a record whose variant a pod couldn't pull. An apply of the whole
/// status by [`CONTROLLER`] leaves it alone.
pub const HEALER: &str = "zstart-healer";
/// Field manager of the measured pulls of a record. An apply of the whole status by [`CONTROLLER`] leaves them alone.
pub const PULL_METER: &str = "zstart-pull-meter";
/// `reportingController` and log name of the webhook.
pub const WEBHOOK: &str = "zstart-webhook";

/// Name of the Secret with the webhook's certificate authority, in zstart's namespace.
pub const CA_SECRET: &str = "zstart-webhook-ca";
/// Name of the Secret with the webhook's serving certificate (`kubernetes.io/tls`).
pub const SERVING_SECRET: &str = "zstart-webhook-tls";

/// Label that Amazon EKS sets on a pod that will run on Fargate. A Fargate pod also names
/// [`FARGATE_SCHEDULER`]: see [`Placement::is_fargate`](crate::eligibility::Placement::is_fargate).
pub const FARGATE_PROFILE: &str = "eks.amazonaws.com/fargate-profile";
/// Scheduler name that Amazon EKS sets on a pod that will run on Fargate.
pub const FARGATE_SCHEDULER: &str = "fargate-scheduler";
/// Annotation that `kubectl rollout restart` sets on a pod template.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Label of the pods of a Deployment: hash of its pod template.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// Label of the pods of a `StatefulSet` (name of the revision), a `DaemonSet` (hash of the revision), and kinds
/// modelled on them.
pub const CONTROLLER_REVISION_HASH: &str = "controller-revision-hash";
/// Annotation that the kubelet sets on a mirror pod, the API server's copy of a static pod.
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";
