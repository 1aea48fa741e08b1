//! Fields of a pod that name images.

use std::fmt;

use k8s_openapi::api::core::v1::PodSpec;

use crate::reference::{Reference, Tag};
use crate::variant;

/// List in a pod's specification whose entries name images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageList {
    /// `spec.containers`
    Containers,
    /// `spec.initContainers`, including sidecars
    InitContainers,
    /// `spec.ephemeralContainers`
    EphemeralContainers,
    /// `spec.volumes`, if the volume has an image
    Volumes,
}

impl ImageList {
    /// Name of the list's field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::InitContainers => "initContainers",
            Self::EphemeralContainers => "ephemeralContainers",
            Self::Volumes => "volumes",
        }
    }

    /// Path from an entry of the list to its image reference.
    pub fn reference_path(self) -> &'static [&'static str] {
        match self {
            Self::Containers | Self::InitContainers | Self::EphemeralContainers => &["image"],
            Self::Volumes => &["image", "reference"],
        }
    }
}

/// Field that names an image. Prints as the key of [`keys::ORIGINALS`](crate::keys::ORIGINALS):
/// `containers/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageField {
    /// List that holds the entry.
    pub list: ImageList,
    /// Index of the entry in the list.
    pub index: usize,
    /// Name of the container or volume.
    pub name: String,
}

impl fmt::Display for ImageField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.list.as_str(), self.name)
    }
}

/// Time of the kubelet's pull of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Before each start of the container.
    Always,
    /// If the node doesn't have the image.
    IfNotPresent,
    /// Never: the image must be on the node already.
    Never,
}

impl PullPolicy {
    /// Policy of an image field. The API server fills in a missing policy by the tag (Kubernetes,
    /// `pkg/apis/core/v1/defaults.go`, `SetDefaults_Container`).
    fn of(policy: Option<&str>, reference: &str) -> Self {
        match policy {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            None | Some("") if is_latest(reference) => Self::Always,
            _ => Self::IfNotPresent,
        }
    }
}

/// Returns whether a reference has the tag `latest`, written or by default.
fn is_latest(reference: &str) -> bool {
    let parsed: Result<Reference, _> = reference.parse();
    parsed.is_ok_and(|reference| reference.tag().map(Tag::as_str) == Some("latest"))
}

/// Image reference in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Field that holds the reference.
    pub field: ImageField,
    /// Reference as the pod's author wrote it; possibly invalid.
    pub reference: String,
    /// Time of the kubelet's pull.
    pub pull_policy: PullPolicy,
}

impl Image {
    /// Returns whether the field holds a variant, by the form of its tag.
    pub fn is_variant(&self) -> bool {
        self.reference.parse().is_ok_and(|reference: Reference| variant::is_variant(&reference))
    }
}

/// Returns every image that the specification names. A container without an image is left out.
pub fn images(spec: &PodSpec) -> Vec<Image> {
    let mut images = Vec::new();
    let mut add = |list, index, name: &str, reference: Option<&String>, policy: Option<&String>| {
        if let Some(reference) = reference.filter(|reference| !reference.is_empty()) {
            let field = ImageField { list, index, name: name.to_owned() };
            let pull_policy = PullPolicy::of(policy.map(String::as_str), reference);
            images.push(Image { field, reference: reference.clone(), pull_policy });
        }
    };
    let lists = [
        (ImageList::InitContainers, spec.init_containers.as_deref().unwrap_or_default()),
        (ImageList::Containers, &spec.containers),
    ];
    for (list, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let (image, policy) = (container.image.as_ref(), container.image_pull_policy.as_ref());
            add(list, index, &container.name, image, policy);
        }
    }
    for (index, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        let (image, policy) = (container.image.as_ref(), container.image_pull_policy.as_ref());
        add(ImageList::EphemeralContainers, index, &container.name, image, policy);
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let image = volume.image.as_ref();
        let reference = image.and_then(|image| image.reference.as_ref());
        let policy = image.and_then(|image| image.pull_policy.as_ref());
        add(ImageList::Volumes, index, &volume.name, reference, policy);
    }
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_pull_policy_follows_from_the_tag() {
        let digest = crate::Digest::sha256_of(b"");
        for (policy, reference, expected) in [
            (None, "app", PullPolicy::Always),
            (None, "app:latest", PullPolicy::Always),
            (Some(""), "registry.example:5000/app", PullPolicy::Always),
            (None, "app:v1", PullPolicy::IfNotPresent),
            (None, &*format!("app@{digest}"), PullPolicy::IfNotPresent),
            (None, "NOT/an image", PullPolicy::IfNotPresent),
            (Some("Always"), "app:v1", PullPolicy::Always),
            (Some("IfNotPresent"), "app:latest", PullPolicy::IfNotPresent),
            (Some("Never"), "app:latest", PullPolicy::Never),
        ] {
            assert_eq!(PullPolicy::of(policy, reference), expected, "{policy:?} {reference}");
        }
    }
}
