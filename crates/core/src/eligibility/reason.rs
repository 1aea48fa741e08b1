//! Reasons for rewriting an image of a pod or leaving it unchanged.

use std::fmt;

use serde::Serialize;
use strum::VariantArray;

/// Outcome for one image. The list is closed: metrics, audit annotations and logs use these words, and
/// dashboards match on them, so the words are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, VariantArray)]
pub enum Reason {
    /// The image was replaced by its variant.
    Rewritten,
    /// The image would have been rewritten, but the namespace is in audit mode.
    Audited,
    /// The namespace isn't opted in.
    NamespaceNotEnabled,
    /// The pod carries `zstart.dev/rewrite: disabled`.
    PodOptedOut,
    /// The pod's annotation `zstart.dev/keep-images` names the container.
    ImageOptedOut,
    /// The pod mirrors a static pod: the kubelet runs the file on its disk and ignores the API object.
    MirrorPod,
    /// The pod's controller, or an operator above it, may compare images and recreate the pod endlessly.
    ForeignController,
    /// The pod has no controller, and its manifest is applied again by a user or a tool (`kubectl apply`, Helm,
    /// Argo CD, Flux), which would undo the rewrite and restart the container.
    AppliedBare,
    /// The loop guard found that the pod's owner undoes rewrites.
    OwnerOnHold,
    /// The pod asks for Windows or could be scheduled to a Windows node, where zstd is untested.
    Windows,
    /// The text isn't a valid image reference.
    InvalidReference,
    /// The image is a variant, and the pod has no annotation with its original.
    AlreadyVariant,
    /// The pod requires an image that is already on the node (`imagePullPolicy: Never`), where the variant
    /// is missing.
    NeverPulled,
    /// A policy of the cluster requires a signature, which the variant doesn't have.
    SignatureRequired,
    /// No record of this source exists, or the webhook has not cached the record yet.
    NoRecord,
    /// The variant is being made, or waits for its turn.
    RecordConverting,
    /// The conversion failed; the record says why.
    RecordFailed,
    /// The record has no variant and gets none: the image is zstd already, or can't be converted.
    RecordNotReady,
    /// A pod couldn't pull the variant, which is verified again or made again.
    RecordUnhealthy,
    /// The tag was resolved longer ago than `maxStaleness` (`maxStalenessAlways` for an image that is pulled at
    /// each start) and may name another digest now.
    RecordStale,
    /// The pod's template was made or restarted after the last look at the tag, and may ask for an image that
    /// was pushed meanwhile.
    NotFresh,
    /// The tag resolves to another digest than the one that the variant was made from.
    SourceMoved,
    /// No candidate node has a platform that the variant was converted for.
    PlatformNotCovered,
    /// The variant is in a registry or repository that wasn't allowed at install time.
    TargetNotAllowed,
    /// The source is smaller than `minSize`.
    TooSmall,
    /// The variant saves less than `minGain`.
    GainTooSmall,
    /// A candidate node would get a converted platform, and its container runtime can't start zstd images.
    RuntimeUnsupported,
    /// The reference names no registry, and a candidate node runs CRI-O, which searches its own list of
    /// registries.
    AmbiguousName,
    /// No node matches the pod now and `whenNoNode` doesn't vouch for its future nodes, or the pod names an
    /// unknown node.
    NoCandidateNode,
    /// The registry doesn't answer, and a candidate node has the original.
    RegistryUnreachable,
    /// The webhook's data about the cluster is old: the API server hasn't been heard for minutes.
    CacheStale,
    /// The patch didn't apply to the pod, which is a defect in zstart. The pod was admitted unchanged.
    Failed,
}

impl Reason {
    /// Every reason.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// Returns whether the reason speaks against a ready image until someone changes a setting or the nodes. The others
    /// are about a pod or a namespace, or pass by themselves.
    pub fn is_lasting(self) -> bool {
        match self {
            Self::Windows
            | Self::SignatureRequired
            | Self::PlatformNotCovered
            | Self::TargetNotAllowed
            | Self::TooSmall
            | Self::GainTooSmall
            | Self::RuntimeUnsupported
            | Self::AmbiguousName
            | Self::NoCandidateNode => true,
            Self::Rewritten
            | Self::Audited
            | Self::NamespaceNotEnabled
            | Self::PodOptedOut
            | Self::ImageOptedOut
            | Self::MirrorPod
            | Self::ForeignController
            | Self::AppliedBare
            | Self::OwnerOnHold
            | Self::InvalidReference
            | Self::AlreadyVariant
            | Self::NeverPulled
            | Self::NoRecord
            | Self::RecordConverting
            | Self::RecordFailed
            | Self::RecordNotReady
            | Self::RecordUnhealthy
            | Self::RecordStale
            | Self::NotFresh
            | Self::SourceMoved
            | Self::RegistryUnreachable
            | Self::CacheStale
            | Self::Failed => false,
        }
    }

    /// Word used in metrics and annotations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rewritten => "Rewritten",
            Self::Audited => "Audited",
            Self::NamespaceNotEnabled => "NamespaceNotEnabled",
            Self::PodOptedOut => "PodOptedOut",
            Self::ImageOptedOut => "ImageOptedOut",
            Self::MirrorPod => "MirrorPod",
            Self::ForeignController => "ForeignController",
            Self::AppliedBare => "AppliedBare",
            Self::OwnerOnHold => "OwnerOnHold",
            Self::Windows => "Windows",
            Self::InvalidReference => "InvalidReference",
            Self::AlreadyVariant => "AlreadyVariant",
            Self::NeverPulled => "NeverPulled",
            Self::SignatureRequired => "SignatureRequired",
            Self::NoRecord => "NoRecord",
            Self::RecordConverting => "RecordConverting",
            Self::RecordFailed => "RecordFailed",
            Self::RecordNotReady => "RecordNotReady",
            Self::RecordUnhealthy => "RecordUnhealthy",
            Self::RecordStale => "RecordStale",
            Self::NotFresh => "NotFresh",
            Self::SourceMoved => "SourceMoved",
            Self::PlatformNotCovered => "PlatformNotCovered",
            Self::TargetNotAllowed => "TargetNotAllowed",
            Self::TooSmall => "TooSmall",
            Self::GainTooSmall => "GainTooSmall",
            Self::RuntimeUnsupported => "RuntimeUnsupported",
            Self::AmbiguousName => "AmbiguousName",
            Self::NoCandidateNode => "NoCandidateNode",
            Self::RegistryUnreachable => "RegistryUnreachable",
            Self::CacheStale => "CacheStale",
            Self::Failed => "Failed",
        }
    }

    /// Meaning, as a part of a sentence in Markdown. `docs/pods.md` has the meanings of all reasons.
    pub fn meaning(self) -> &'static str {
        self.texts().0
    }

    /// Meaning without the backticks of Markdown, for terminals.
    pub fn plain_meaning(self) -> String {
        self.meaning().replace('`', "")
    }

    /// Advice to a user or an administrator, in Markdown. `None` if the decision is the wanted one.
    pub fn action(self) -> Option<&'static str> {
        self.texts().1
    }

    /// Meaning and action.
    fn texts(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Rewritten => ("the variant replaces the image", None),
            Self::Audited => (
                "the variant would replace the image, but the namespace's label is `audit`",
                Some("label the namespace `enabled`"),
            ),
            Self::NamespaceNotEnabled => {
                ("the namespace isn't opted in; rare, because the API server doesn't send such pods", None)
            }
            Self::PodOptedOut => (
                "the pod has the label `zstart.dev/rewrite: disabled`; rare, because the API server doesn't send \
                 such pods",
                None,
            ),
            Self::ImageOptedOut => {
                ("the pod's annotation `zstart.dev/keep-images` names the container or volume", None)
            }
            Self::MirrorPod => ("the pod mirrors a static pod: the kubelet runs the file on its disk", None),
            Self::ForeignController => (
                "the pod's controller, or an operator above it, may compare images and recreate the pod endlessly",
                Some("if the kind leaves images alone: `webhook.allowedControllers`"),
            ),
            Self::AppliedBare => (
                "the pod has no controller, and its manifest is applied again (`kubectl apply`, Helm, Argo CD, Flux): \
                 that would undo the rewrite and restart the container",
                Some("use a Deployment or a Job, or create the pod with `kubectl create`"),
            ),
            Self::OwnerOnHold => (
                "the loop guard found that the pod's owner undoes rewrites",
                Some("opt the owner's pods out, or delete the hold (`kubectl get hold --all-namespaces`)"),
            ),
            Self::Windows => {
                ("the pod asks for Windows, or a Windows node would get a converted image", None)
            }
            Self::CacheStale => (
                "the API server hasn't been heard for `webhook.maxCacheAge`",
                Some("check the webhook's connection to the API server"),
            ),
            Self::InvalidReference => ("the image isn't a valid reference", Some("correct the reference")),
            Self::AlreadyVariant => (
                "the image has the name of a variant and a digest, as zstart writes them, and the pod names no \
                 original of it",
                Some("an image of your own with such a tag needs another tag"),
            ),
            Self::NeverPulled => {
                ("`imagePullPolicy: Never`: the node must have the image, and may lack the variant", None)
            }
            Self::SignatureRequired => (
                "a policy requires a signature, which the variant doesn't have",
                Some("sign variants, or accept it"),
            ),
            Self::NoRecord => {
                ("the image has no record yet", Some("wait; if the reason stays, check the controller"))
            }
            Self::RecordConverting => ("the variant is being made", Some("wait")),
            Self::RecordFailed => ("the conversion failed", Some("`kubectl describe imgconv` has the cause")),
            Self::RecordNotReady => ("the image is zstd already, or can't be converted", None),
            Self::RecordUnhealthy => (
                "a pod couldn't pull the variant, and the record's condition `Healthy` has the cause",
                Some("none: the controller verifies the variant, or makes it again"),
            ),
            Self::RecordStale => (
                "the last look at the tag is too old (`maxStaleness`; `maxStalenessAlways` for `imagePullPolicy: \
                 Always`); a source that can't move: its variant wasn't confirmed for a day",
                Some("check that the controller runs and reaches the registry"),
            ),
            Self::NotFresh => (
                "the pod's template was made or restarted after the last look at the tag",
                Some("none: the controller looks at once, and the rollout's later pods get the variant"),
            ),
            Self::SourceMoved => ("the tag points to a newer image than the variant's source", Some("wait")),
            Self::TargetNotAllowed => (
                "the variant is in a repository that `webhook.allowedTargets` doesn't list",
                Some("list the repository"),
            ),
            Self::TooSmall => ("the source is smaller than `minSize`", None),
            Self::GainTooSmall => ("the variant saves less than `minGain`", None),
            Self::PlatformNotCovered => {
                ("no candidate node has a platform that was converted", Some("`controller.platforms`"))
            }
            Self::RuntimeUnsupported => (
                "a candidate node would get a converted platform, and its runtime can't start it, isn't listed in \
                 `runtimes`, or failed to unpack a zstd layer (a hold of the node)",
                Some("upgrade the node, or list the runtime"),
            ),
            Self::AmbiguousName => (
                "the reference names no registry, and a candidate node runs CRI-O, which searches its own list",
                Some("write the registry's host"),
            ),
            Self::NoCandidateNode => (
                "no node matches the pod, and `whenNoNode` doesn't vouch for future nodes",
                Some("`webhook.whenNoNode`"),
            ),
            Self::RegistryUnreachable => (
                "the registry doesn't answer, and a candidate node reports the original, which then starts without \
                 the registry; not for `imagePullPolicy: Always`",
                Some("none: the reason ends when the registry answers"),
            ),
            Self::Failed => ("the patch didn't fit the pod", Some("report the line of the webhook's log")),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
