//! Meaning of a failed image pull, by the waiting reason and message of a container's status.
//!
//! The kubelet has one reason for nearly every failure, `ErrImagePull`, and passes the runtime's text on, so the
//! text decides. The table holds texts of containerd 1.4 to 2.4 and of CRI-O, and Go's network errors. Its tests
//! name the source of each text.

#[cfg(test)]
mod tests;

/// State of a container that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The container waits for something other than its image.
    ForOther,
    /// The kubelet pauses between two pulls, and its message hides the last error. Kubernetes 1.32 and later show
    /// it (kubernetes/kubernetes#127918).
    BackOff,
    /// The last pull failed.
    Failed(PullFailure),
}

/// Cause of a failed pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PullFailure {
    /// The image in the registry.
    Image(ImageFault),
    /// The node's runtime can't unpack zstd layers.
    Node(UnpackFault),
    /// The registry is unreachable, out of order, or asks for a slower rate. Another image of this registry fails
    /// too.
    RegistryAway,
    /// The node: no space, a broken runtime, a limit of the kubelet. Every image fails.
    Unrelated,
    /// A text that the table doesn't have.
    Unknown,
}

/// Fault of an image in its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageFault {
    /// The registry doesn't have the manifest, a layer or the config.
    Missing,
    /// The registry denies the pull to the pod's credentials.
    Denied,
    /// The content doesn't match its digest or the config's `diff_ids`.
    Damaged,
    /// A policy of the node refuses the image, e.g. because its signature is missing.
    Unsigned,
}

/// Evidence that a runtime can't unpack zstd layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnpackFault {
    /// The runtime knows no decoder for the layers' media type.
    NoDecoder,
    /// The runtime read a layer that isn't a tar archive. A runtime that takes zstd for plain tar says so, and a
    /// damaged layer gives the same text.
    NotTar,
}

impl PullFailure {
    /// A failure for each word of [`Self::as_str`].
    pub const OF_EACH_WORD: [Self; 8] = [
        Self::Image(ImageFault::Missing),
        Self::Image(ImageFault::Denied),
        Self::Image(ImageFault::Damaged),
        Self::Image(ImageFault::Unsigned),
        Self::Node(UnpackFault::NoDecoder),
        Self::RegistryAway,
        Self::Unrelated,
        Self::Unknown,
    ];

    /// CamelCase word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image(ImageFault::Missing) => "Missing",
            Self::Image(ImageFault::Denied) => "Denied",
            Self::Image(ImageFault::Damaged) => "Damaged",
            Self::Image(ImageFault::Unsigned) => "Unsigned",
            Self::Node(_) => "Node",
            Self::RegistryAway => "RegistryAway",
            Self::Unrelated => "Unrelated",
            Self::Unknown => "Unknown",
        }
    }
}

/// Start of the kubelet's message while it pauses between two pulls (`pkg/kubelet/images/image_manager.go`).
const BACK_OFF: &str = "Back-off pulling image ";

/// Reads the waiting reason and message of a container's status.
pub fn waiting(reason: &str, message: &str) -> Waiting {
    match reason {
        "ErrImagePull" => Waiting::Failed(cause(message)),
        "ImagePullBackOff" => last_error(message),
        // The kubelet makes these two reasons from CRI errors of the same name (cri-api/pkg/errors/errors.go).
        "RegistryUnavailable" => Waiting::Failed(PullFailure::RegistryAway),
        "SignatureValidationFailed" => Waiting::Failed(PullFailure::Image(ImageFault::Unsigned)),
        "ErrImageNeverPull" | "InvalidImageName" | "ImageInspectError" => {
            Waiting::Failed(PullFailure::Unrelated)
        }
        // containerd unpacks an image at this time if its snapshots are gone (containerd#9830).
        "CreateContainerError" if message.contains("error unpacking image") => {
            Waiting::Failed(cause(message))
        }
        _ => Waiting::ForOther,
    }
}

/// Returns the error that the message of a pause ends with: `Back-off pulling image "X": REASON: MESSAGE`.
fn last_error(message: &str) -> Waiting {
    let error = message
        .strip_prefix(BACK_OFF)
        .and_then(|rest| rest.strip_prefix('"')?.split_once("\": "))
        .and_then(|(_, error)| error.split_once(": "));
    match error {
        Some((reason, message)) if reason != "ImagePullBackOff" => waiting(reason, message),
        _ => Waiting::BackOff,
    }
}

/// Signs that the text isn't the registry's doing. They precede every request to a registry.
const BEFORE_ANY_REQUEST: [&str; 5] = [
    // The kubelet's registryPullQPS (pkg/kubelet/images/helpers.go).
    "pull qps exceeded",
    // gRPC between kubelet and runtime.
    "transport: error while dialing",
    "containerd.sock",
    "crio.sock",
    "failed to get image service",
];

/// Texts in front of an HTTP status. containerd: `unexpected status from HEAD request to URL: 503 …`, `unexpected
/// status code URL: 503 …`, and, up to 1.5, `pulling from host HOST failed with status code […]: 503 …`. CRI-O:
/// `received unexpected HTTP status: 503 …` and `StatusCode: 503, "…"`.
const STATUS_MARKERS: [&str; 4] =
    ["unexpected status", "failed with status code", "unexpected http status", "statuscode"];

/// Marks of a text that quotes the registry. A registry must not be able to blame a node.
const QUOTES_REGISTRY: [&str; 3] = ["server message", "reading manifest", "pinging container registry"];

/// Table of texts, in lower case. The first that the message contains decides.
const TEXTS: [(&str, PullFailure); 62] = {
    use ImageFault::{Damaged, Denied, Missing, Unsigned};
    use PullFailure::{Image, Node, RegistryAway, Unrelated};
    [
        // The registry's own words for a status that the runtime left out. They come first, because a runtime
        // puts several words together: "pull access denied, repository does not exist …".
        ("toomanyrequests", RegistryAway),
        ("too many requests", RegistryAway),
        ("pull access denied", Image(Denied)),
        ("insufficient_scope", Image(Denied)),
        ("requested access to the resource is denied", Image(Denied)),
        ("requested resource is not authorized", Image(Denied)),
        ("unauthorized:", Image(Denied)),
        ("authentication required", Image(Denied)),
        ("invalid username/password", Image(Denied)),
        ("no basic auth credentials", Image(Denied)),
        ("missing username or secret", Image(Denied)),
        ("manifest unknown", Image(Missing)),
        ("manifest_unknown", Image(Missing)),
        ("name unknown", Image(Missing)),
        ("name_unknown", Image(Missing)),
        ("blob unknown", Image(Missing)),
        ("could not fetch content descriptor", Image(Missing)),
        ("content at ", Image(Missing)),
        // Policies of the node: containerd's image verifiers, containers/image's policy.json.
        ("blocked pull of", Image(Unsigned)),
        ("a signature was required", Image(Unsigned)),
        ("source image rejected", Image(Unsigned)),
        // The node's disk and kernel.
        ("no space left on device", Unrelated),
        ("disk quota exceeded", Unrelated),
        ("read-only file system", Unrelated),
        ("input/output error", Unrelated),
        ("too many open files", Unrelated),
        ("cannot allocate memory", Unrelated),
        ("failed to prepare extraction snapshot", Unrelated),
        ("operation not permitted", Unrelated),
        // The node's runtime and zstd. `cause` decides about NotTar.
        ("tar+zstd: no processor for media-type", Node(UnpackFault::NoDecoder)),
        ("invalid tar header", Node(UnpackFault::NotTar)),
        // Content.
        ("wrong diff id", Image(Damaged)),
        ("does not match config's diffid", Image(Damaged)),
        ("unexpected commit digest", Image(Damaged)),
        ("failed size validation", Image(Damaged)),
        ("digest did not match", Image(Damaged)),
        ("does not match provided manifest digest", Image(Damaged)),
        ("blob size mismatch", Image(Damaged)),
        ("magic number mismatch", Image(Damaged)),
        ("unexpected media type", Image(Damaged)),
        // The network (Go's net, crypto/tls and net/http).
        ("connection refused", RegistryAway),
        ("connection reset", RegistryAway),
        ("connection timed out", RegistryAway),
        ("i/o timeout", RegistryAway),
        ("no route to host", RegistryAway),
        ("network is unreachable", RegistryAway),
        ("broken pipe", RegistryAway),
        ("no such host", RegistryAway),
        ("server misbehaving", RegistryAway),
        ("temporary failure in name resolution", RegistryAway),
        ("device or resource busy", RegistryAway),
        ("tls: ", RegistryAway),
        ("tls handshake", RegistryAway),
        ("x509: ", RegistryAway),
        ("server gave http response", RegistryAway),
        ("proxyconnect", RegistryAway),
        ("deadline exceeded", RegistryAway),
        ("deadlineexceeded", RegistryAway),
        ("timeout exceeded", RegistryAway),
        ("context canceled", RegistryAway),
        (": eof", RegistryAway),
        ("unexpected eof", RegistryAway),
    ]
};

/// Cause in the runtime's text.
fn cause(message: &str) -> PullFailure {
    let text = message.to_ascii_lowercase();
    if contains_any(&text, &BEFORE_ANY_REQUEST) {
        return PullFailure::Unrelated;
    }
    let statuses = STATUS_MARKERS.iter().filter_map(|marker| text.split_once(marker));
    if let Some(failure) = statuses.filter_map(|(_, rest)| status_in(rest)).find_map(of_status) {
        return failure;
    }
    if is_unresolved(&text) {
        return PullFailure::Image(ImageFault::Missing);
    }
    let quotes_registry = contains_any(&text, &STATUS_MARKERS) || contains_any(&text, &QUOTES_REGISTRY);
    let mut entries = TEXTS.iter().filter(|(_, failure)| {
        // A registry's words count for its image and itself alone.
        !quotes_registry || !matches!(failure, PullFailure::Node(_) | PullFailure::Unrelated)
    });
    if let Some((_, failure)) = entries.find(|(part, _)| text.contains(part)) {
        return *failure;
    }
    // containers/image names the media type last.
    if !quotes_registry && text.contains("unsupported") && text.contains("zstd") {
        return PullFailure::Node(UnpackFault::NoDecoder);
    }
    PullFailure::Unknown
}

fn contains_any(text: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| text.contains(part))
}

/// Returns whether containerd found no manifest: `failed to resolve reference "X": X: not found`. Content that is
/// missing in its own store (`content digest …: not found`) reads differently.
fn is_unresolved(text: &str) -> bool {
    let resolving = ["failed to resolve reference", "failed to resolve image"];
    let rest = resolving.iter().find_map(|marker| Some(text.split_once(marker)?.1));
    rest.is_some_and(|rest| rest.contains(": not found"))
}

/// First HTTP status in the text after a marker: three digits after `: `.
fn status_in(text: &str) -> Option<u16> {
    text.match_indices(": ").find_map(|(at, separator)| {
        let rest = &text[at + separator.len()..];
        let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        (digits == 3).then(|| rest[..digits].parse().ok()).flatten()
    })
}

fn of_status(status: u16) -> Option<PullFailure> {
    match status {
        404 | 410 => Some(PullFailure::Image(ImageFault::Missing)),
        401 | 403 => Some(PullFailure::Image(ImageFault::Denied)),
        408 | 425 | 429 | 500..=599 => Some(PullFailure::RegistryAway),
        _ => None,
    }
}
