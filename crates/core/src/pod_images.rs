//! Fields of a pod that name images.

use std::fmt;

use k8s_openapi::api::core::v1::PodSpec;

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

/// Image reference in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Field that holds the reference.
    pub field: ImageField,
    /// Reference as the pod's author wrote it; possibly invalid.
    pub reference: String,
    /// The kubelet may pull the image. Otherwise (`imagePullPolicy: Never`) the image must be on the node
    /// already.
    pub may_be_pulled: bool,
}

/// Returns every image that the specification names. A container without an image is left out.
pub fn images(spec: &PodSpec) -> Vec<Image> {
    let mut images = Vec::new();
    let mut add = |list, index, name: &str, reference: Option<&String>, policy: Option<&String>| {
        if let Some(reference) = reference.filter(|reference| !reference.is_empty()) {
            let field = ImageField { list, index, name: name.to_owned() };
            let may_be_pulled = policy.is_none_or(|policy| policy != "Never");
            images.push(Image { field, reference: reference.clone(), may_be_pulled });
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
