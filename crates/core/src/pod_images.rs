//! Where images stand in a pod.

use std::fmt;

use k8s_openapi::api::core::v1::PodSpec;

/// The list in a pod's specification that an image stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageList {
    /// `spec.containers`
    Containers,
    /// `spec.initContainers`, sidecars among them
    InitContainers,
    /// `spec.ephemeralContainers`
    EphemeralContainers,
    /// `spec.volumes`, those with an image
    Volumes,
}

impl ImageList {
    /// The field's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::InitContainers => "initContainers",
            Self::EphemeralContainers => "ephemeralContainers",
            Self::Volumes => "volumes",
        }
    }

    /// The path from an entry of the list to its reference.
    pub fn reference_path(self) -> &'static [&'static str] {
        match self {
            Self::Containers | Self::InitContainers | Self::EphemeralContainers => &["image"],
            Self::Volumes => &["image", "reference"],
        }
    }
}

/// One place. It prints as the annotation's key: `containers/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageField {
    /// Which list.
    pub list: ImageList,
    /// Where in the list.
    pub index: usize,
    /// The name of the container or volume.
    pub name: String,
}

impl fmt::Display for ImageField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.list.as_str(), self.name)
    }
}

/// A reference as it stands in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where.
    pub field: ImageField,
    /// What its author wrote; it need not be valid.
    pub reference: String,
    /// Whether the kubelet may pull it. Else it must be on the node already.
    pub may_be_pulled: bool,
}

/// Every image that a pod of this specification names. A container without one isn't listed.
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
