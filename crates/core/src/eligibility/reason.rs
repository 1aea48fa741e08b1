//! Why an image of a pod was rewritten or left as it came.

use std::fmt;

use serde::Serialize;

/// The outcome for one image. The list is closed: metrics, audit annotations and `zstart explain`
/// use these words, and dashboards match on them, so they are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Reason {
    /// The image now is the variant.
    Rewritten,
    /// It would have been rewritten, but the namespace only asks for an audit.
    Audited,
    /// The namespace isn't opted in.
    NamespaceNotEnabled,
    /// The pod carries `zstart.dev/rewrite: disabled`.
    PodOptedOut,
    /// A static pod's mirror: the kubelet runs the file on its disk, whatever the API server says.
    MirrorPod,
    /// The pod's controller is of a kind that may compare images and make the pod anew for ever.
    ForeignController,
    /// The pod asks for Windows, or could land on a Windows node: nobody has tried zstd there.
    Windows,
    /// The text isn't a reference that zstart understands.
    InvalidReference,
    /// The image is already a variant.
    AlreadyVariant,
    /// The pod asks for an image that is on the node already (`imagePullPolicy: Never`): its variant
    /// isn't.
    NeverPulled,
    /// No record of this source, or not yet in the webhook's memory.
    NoRecord,
    /// The record has no verified variant (yet).
    RecordNotReady,
    /// The tag was looked up too long ago to be sure that it still means the same digest.
    RecordStale,
    /// The tag means another digest than the variant was made of.
    SourceMoved,
    /// The variant doesn't cover an architecture that the pod could land on.
    PlatformNotCovered,
    /// The variant lies in a registry or repository that wasn't allowed at install time.
    TargetNotAllowed,
    /// A node that the pod could land on has a runtime that can't start zstd images.
    RuntimeUnsupported,
    /// No node matches the pod now, and `whenNoNode` doesn't say to rewrite then; or the pod names a
    /// node that isn't known.
    NoCandidateNode,
    /// The patch didn't fit the pod: a defect of zstart's own. The pod was admitted as it came.
    Failed,
}

impl Reason {
    /// The word as it stands in metrics and annotations.
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
