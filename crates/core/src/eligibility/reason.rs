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
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
