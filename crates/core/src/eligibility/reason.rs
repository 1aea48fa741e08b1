//! Reasons for rewriting an image of a pod or leaving it unchanged.

use std::fmt;

use serde::Serialize;

/// Outcome for one image. The list is closed: metrics, audit annotations and logs use these words, and
/// dashboards match on them, so the words are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Reason {
    /// The image was replaced by its variant.
    Rewritten,
    /// The image would have been rewritten, but the namespace is in audit mode.
    Audited,
    /// The namespace isn't opted in.
    NamespaceNotEnabled,
    /// The pod carries `zstart.dev/rewrite: disabled`.
    PodOptedOut,
    /// The pod mirrors a static pod: the kubelet runs the file on its disk and ignores the API object.
    MirrorPod,
    /// The pod's controller is of a kind that may compare images and recreate the pod endlessly.
    ForeignController,
    /// The pod asks for Windows or could be scheduled to a Windows node, where zstd is untested.
    Windows,
    /// The text isn't a valid image reference.
    InvalidReference,
    /// The image is already a variant.
    AlreadyVariant,
    /// The pod requires an image that is already on the node (`imagePullPolicy: Never`), where the variant
    /// is missing.
    NeverPulled,
    /// No record of this source exists, or the webhook has not cached the record yet.
    NoRecord,
    /// The record has no verified variant, or none yet.
    RecordNotReady,
    /// The tag was resolved longer ago than `maxStaleness` and may name another digest now.
    RecordStale,
    /// The tag resolves to another digest than the one that the variant was made from.
    SourceMoved,
    /// The variant doesn't cover the platform of a candidate node.
    PlatformNotCovered,
    /// The variant is in a registry or repository that wasn't allowed at install time.
    TargetNotAllowed,
    /// A candidate node has a container runtime that can't start zstd images.
    RuntimeUnsupported,
    /// No node matches the pod now and `whenNoNode` isn't `rewrite`, or the pod names an unknown node.
    NoCandidateNode,
    /// The patch didn't apply to the pod, which is a defect in zstart. The pod was admitted unchanged.
    Failed,
}

impl Reason {
    /// Word used in metrics and annotations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rewritten => "Rewritten",
            Self::Audited => "Audited",
            Self::NamespaceNotEnabled => "NamespaceNotEnabled",
            Self::PodOptedOut => "PodOptedOut",
            Self::MirrorPod => "MirrorPod",
            Self::ForeignController => "ForeignController",
            Self::Windows => "Windows",
            Self::InvalidReference => "InvalidReference",
            Self::AlreadyVariant => "AlreadyVariant",
            Self::NeverPulled => "NeverPulled",
            Self::NoRecord => "NoRecord",
            Self::RecordNotReady => "RecordNotReady",
            Self::RecordStale => "RecordStale",
            Self::SourceMoved => "SourceMoved",
            Self::PlatformNotCovered => "PlatformNotCovered",
            Self::TargetNotAllowed => "TargetNotAllowed",
            Self::RuntimeUnsupported => "RuntimeUnsupported",
            Self::NoCandidateNode => "NoCandidateNode",
            Self::Failed => "Failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
