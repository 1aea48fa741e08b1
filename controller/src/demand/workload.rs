//! Requirements of pods and pod templates.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use zstart_core::eligibility::pod::{ControllerKind, controller, exclusion, kept_images, template_exclusion};
use zstart_core::pod_images::{PullPolicy, images};
use zstart_core::{keys, originals, recorded_original};

use super::{Access, EventTarget, Key, Kind, Requirements, Revision, source_of};
use crate::watched::{TemplateOwner, WatchedWorkload};

/// An object with a pod specification.
pub trait Workload: Resource<DynamicType = ()> + Sized {
    /// Kind of the object.
    const KIND: Kind;

    /// The pod specification, if present.
    fn pod_spec(&self) -> Option<&PodSpec>;

    /// Metadata of the pods: the template's metadata, or the pod's own.
    fn pod_metadata(&self) -> Option<&ObjectMeta>;

    /// Version of the pod template; `None` if a change of it is no reason to look at the images.
    fn revision(&self) -> Option<Revision>;

    /// Returns whether the pods have ended and no other follows, so that nothing pulls the images any more.
    fn is_finished(&self) -> bool;

    /// Identity of the object.
    fn key(&self) -> Key {
        Key { kind: Self::KIND, namespace: self.namespace().unwrap_or_default(), name: self.name_any() }
    }

    /// Requirements of the pods; empty if the webhook never rewrites them.
    fn requirements(&self, allowed: &BTreeSet<ControllerKind>) -> Requirements {
        let excluded = self.pod_metadata().and_then(|metadata| match Self::KIND {
            Kind::Pod => exclusion(metadata, allowed),
            _ => template_exclusion(metadata),
        });
        let Some(spec) = self.pod_spec().filter(|_| excluded.is_none() && !self.is_finished()) else {
            return Requirements::default();
        };
        let kept = self.pod_metadata().map(kept_images).unwrap_or_default();
        // A rewritten pod counts for its original image, the one that its author wrote.
        let originals = originals(self.meta()).unwrap_or_default();
        let mut sources = BTreeMap::new();
        for image in images(spec) {
            // The kubelet pulls no image that must be on the node, and the webhook rewrites none that is kept.
            if image.pull_policy == PullPolicy::Never || kept.contains(&*image.field.name) {
                continue;
            }
            let written = recorded_original(&image, &originals).unwrap_or(&image.reference);
            let Some(source) = source_of(written) else { continue };
            *sources.entry(source).or_default() |= image.pull_policy == PullPolicy::Always;
        }
        let secrets = spec.image_pull_secrets.iter().flatten().map(|secret| secret.name.clone());
        let Key { kind, namespace, name } = self.key();
        let target = EventTarget { kind, name, uid: self.meta().uid.clone() };
        Requirements {
            sources,
            access: Access {
                namespace,
                service_account: spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
                pull_secrets: secrets.filter(|name| !name.is_empty()).collect(),
            },
            revision: self.revision(),
            event_target: (!has_watched_owner(self.meta())).then_some(target),
        }
    }
}

/// Labels of a pod that tell the versions of one template apart.
const VERSION_LABELS: [&str; 2] = [keys::POD_TEMPLATE_HASH, keys::CONTROLLER_REVISION_HASH];

/// Whether the owner of an object is watched, so that the owner gets the events. Other kinds of owners are
/// unknown to the controller.
fn has_watched_owner(metadata: &ObjectMeta) -> bool {
    let Some(owner) = controller(metadata) else { return false };
    let group = owner.api_version.split('/').next().unwrap_or_default();
    match (group, &*owner.kind) {
        ("apps", "StatefulSet" | "DaemonSet") | ("batch", "Job" | "CronJob") => true,
        // Only a ReplicaSet of a Deployment has this label. Other ReplicaSets have no watched owner.
        ("apps", "ReplicaSet") => {
            metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(keys::POD_TEMPLATE_HASH))
        }
        _ => false,
    }
}

impl Workload for Pod {
    const KIND: Kind = Kind::Pod;

    fn pod_spec(&self) -> Option<&PodSpec> {
        self.spec.as_ref()
    }

    fn pod_metadata(&self) -> Option<&ObjectMeta> {
        Some(&self.metadata)
    }

    /// A pod shows that its `ReplicaSet` or `ControllerRevision` exists, which may have been created some time
    /// after the template changed. A Job has one template, and pods without an owner have none.
    fn revision(&self) -> Option<Revision> {
        let owner = controller(&self.metadata).filter(|owner| owner.kind != "Job")?;
        let (labels, annotations) = (self.metadata.labels.as_ref(), self.metadata.annotations.as_ref());
        let labels = VERSION_LABELS.map(|label| labels.and_then(|labels| labels.get(label)));
        let restarted = annotations.and_then(|annotations| annotations.get(keys::RESTARTED_AT));
        Some(Revision::of((&owner.uid, labels, restarted)))
    }

    /// A watch of [`UNFINISHED_PODS`](crate::watched::UNFINISHED_PODS) reports no finished pod. Other readers may.
    fn is_finished(&self) -> bool {
        let phase = self.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    }
}

impl<K: TemplateOwner> Workload for WatchedWorkload<K> {
    const KIND: Kind = K::KIND;

    fn pod_spec(&self) -> Option<&PodSpec> {
        self.template.as_ref()?.spec.as_ref()
    }

    fn pod_metadata(&self) -> Option<&ObjectMeta> {
        self.template.as_ref()?.metadata.as_ref()
    }

    /// The owner's template has the same images: a CronJob's run asks for nothing new.
    fn revision(&self) -> Option<Revision> {
        self.revision.filter(|_| !has_watched_owner(&self.metadata))
    }

    fn is_finished(&self) -> bool {
        self.is_finished
    }
}
