//! Facts about a pod that can't pull an image, or that was put back on its original. The only file of the healer
//! that reads pods.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, ObjectReference, Pod};
use kube::Resource as _;
use zstart_core::eligibility::pod::controller;
use zstart_core::pod_images::{Image, ImageList, images};
use zstart_core::pull_failure::{PullFailure, Waiting, waiting};
use zstart_core::{keys, originals};

/// Maximum length of a kubelet's message that is kept, in bytes. The cause is read from the whole message.
const MAX_MESSAGE: usize = 400;

/// Identity of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PodId {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// Pod with a rewritten image that its node can't pull.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FailingPod {
    pub(crate) id: PodId,
    /// Time at which the API server created the pod.
    pub(crate) created: Option<Timestamp>,
    /// Name of the pod's node.
    pub(crate) node: String,
    /// Text of the annotation with the originals; empty without one.
    pub(crate) annotation: String,
    /// Originals by image field.
    pub(crate) originals: BTreeMap<String, String>,
    /// A controller replaces the pod if the pod is deleted.
    pub(crate) has_controller: bool,
    /// Failed pulls, at most one for each image.
    pub(crate) failures: Vec<FailedPull>,
}

/// Failed pull of a variant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FailedPull {
    /// Field that names the variant.
    pub(crate) image: Image,
    /// Cause; `None` if the kubelet's message hides it.
    pub(crate) cause: Option<PullFailure>,
    /// Message of the kubelet, truncated.
    pub(crate) message: String,
}

/// State of a container that was put back on its original.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Restored {
    /// The original is on the node.
    Pulled,
    /// The original can't be pulled either, with the kubelet's message.
    Failed(String),
}

impl FailingPod {
    /// Reduces a pod; `None` if none of its variants fails. A pod that is deleted is left alone.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let failing = |status: &&ContainerStatus| !matches!(state_of(status).0, Waiting::ForOther);
        let mut failing = statuses(pod).filter(|(_, status)| failing(status)).peekable();
        failing.peek()?;
        let (id, spec) = (PodId::of(pod)?, pod.spec.as_ref()?);
        if pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let all = images(spec);
        let mut failures: Vec<FailedPull> = Vec::new();
        for (list, status) in failing {
            let (state, message) = state_of(status);
            let Some(image) = failed_image(&all, list, &status.name, message) else { continue };
            if failures.iter().any(|known| known.image.field == image.field) {
                continue;
            }
            let cause = match state {
                Waiting::Failed(cause) => Some(cause),
                Waiting::BackOff | Waiting::ForOther => None,
            };
            let message = truncated(message);
            failures.push(FailedPull { image: image.clone(), cause, message });
        }
        if failures.is_empty() {
            return None;
        }
        let annotations = pod.metadata.annotations.as_ref();
        let annotation = annotations.and_then(|annotations| annotations.get(keys::ORIGINALS));
        Some(Self {
            id,
            created: pod.metadata.creation_timestamp.as_ref().map(|created| created.0),
            node: spec.node_name.clone().unwrap_or_default(),
            annotation: annotation.cloned().unwrap_or_default(),
            originals: originals(&pod.metadata).unwrap_or_default(),
            // A node owns its mirror pods, and ignores their images.
            has_controller: controller(&pod.metadata).is_some_and(|owner| owner.kind != "Node"),
            failures,
        })
    }

    /// The pod as the object of an event.
    pub(crate) fn reference(&self) -> ObjectReference {
        self.id.reference()
    }
}

impl PodId {
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let metadata = &pod.metadata;
        let (namespace, name) = (metadata.namespace.clone()?, metadata.name.clone()?);
        Some(Self { namespace, name, uid: metadata.uid.clone()? })
    }

    /// The pod as the object of an event.
    pub(crate) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(Pod::api_version(&()).into_owned()),
            kind: Some(Pod::kind(&()).into_owned()),
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// Reads the state of a container that was put back; `None` while the kubelet is at work, or has reported nothing
/// newer than the `failure` of the variant.
pub(crate) fn restored(pod: &Pod, list: ImageList, name: &str, failure: &FailedPull) -> Option<Restored> {
    let (_, status) = statuses(pod).find(|(of, status)| *of == list && status.name == name)?;
    let Some(waiting) = status.state.as_ref().and_then(|state| state.waiting.as_ref()) else {
        return Some(Restored::Pulled);
    };
    let message = truncated(waiting.message.as_deref().unwrap_or_default());
    if !message.is_empty() && (message == failure.message || is_about(&failure.image, &message)) {
        return None;
    }
    let is_starting =
        matches!(waiting.reason.as_deref(), None | Some("ContainerCreating" | "PodInitializing"));
    match state_of(status).0 {
        Waiting::Failed(_) => Some(Restored::Failed(message)),
        Waiting::ForOther if !is_starting => Some(Restored::Pulled),
        Waiting::ForOther | Waiting::BackOff => None,
    }
}

/// Image of a container, if it still has one.
pub(crate) fn image_of(pod: &Pod, list: ImageList, name: &str) -> Option<String> {
    let found = images(pod.spec.as_ref()?).into_iter();
    found
        .map(|image| (image.field, image.reference))
        .find_map(|(field, reference)| (field.list == list && field.name == name).then_some(reference))
}

/// Variant that the failure of a container is about: its own image, or that of an image volume. The kubelet pulls
/// the volumes of a container along with it, and its message names the image.
fn failed_image<'a>(all: &'a [Image], list: ImageList, container: &str, message: &str) -> Option<&'a Image> {
    let is_named = |image: &&Image| is_about(image, message);
    let mut volumes = all.iter().filter(|image| image.field.list == ImageList::Volumes && image.is_variant());
    let own = all.iter().find(|image| image.field.list == list && image.field.name == container);
    volumes.find(is_named).or_else(|| own.filter(|image| image.is_variant()))
}

/// Returns whether the kubelet's message names an image, by its digest. The runtime may write the name in another
/// form.
fn is_about(image: &Image, message: &str) -> bool {
    let digest = image.reference.rsplit_once("@sha256:").map(|(_, digest)| digest);
    digest.is_some_and(|digest| message.contains(digest))
}

/// Status of each container that names an image.
fn statuses(pod: &Pod) -> impl Iterator<Item = (ImageList, &ContainerStatus)> {
    let status = pod.status.as_ref();
    let lists = [
        (ImageList::InitContainers, status.and_then(|status| status.init_container_statuses.as_deref())),
        (ImageList::Containers, status.and_then(|status| status.container_statuses.as_deref())),
        (
            ImageList::EphemeralContainers,
            status.and_then(|status| status.ephemeral_container_statuses.as_deref()),
        ),
    ];
    lists
        .into_iter()
        .flat_map(|(list, statuses)| statuses.unwrap_or_default().iter().map(move |status| (list, status)))
}

/// State of a container, and the kubelet's message.
fn state_of(status: &ContainerStatus) -> (Waiting, &str) {
    let state = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let Some(state) = state else { return (Waiting::ForOther, "") };
    let message = state.message.as_deref().unwrap_or_default();
    (waiting(state.reason.as_deref().unwrap_or_default(), message), message)
}

fn truncated(message: &str) -> String {
    let end = (0..=MAX_MESSAGE.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
    message[..end.unwrap_or_default()].to_owned()
}
