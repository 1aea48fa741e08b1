//! Facts about a pod that are evidence for or against a loop.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use zstart_core::owner_hold::Owner;
use zstart_core::pod_images::{ImageField, images};
use zstart_core::{keys, originals};

/// Time within which a new pod must become Ready. A pod that takes longer fails by itself.
const STARTUP_LIMIT: SignedDuration = SignedDuration::from_mins(10);
/// Age from which a deletion is no evidence. A controller that objects to an image has objected earlier, and
/// a nightly restart looks like a loop otherwise.
pub(super) const MAX_AGE: SignedDuration = SignedDuration::from_hours(12);

/// Cause of a deletion that happens without any rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrdinaryCause {
    /// Eviction, preemption, a taint, pressure on the node, or a lost node.
    Disruption,
    /// The pod succeeded or failed.
    Finished,
    /// A container failed, or the pod never became Ready.
    Failing,
    /// No node took the pod.
    Unscheduled,
    /// The pod was left in peace for [`MAX_AGE`].
    LongLived,
    /// The node is cordoned or gone.
    Node,
}

/// Identity of a pod or an owner: a hash takes 8 bytes, a UID 36. Equal hashes of two objects would cost a
/// wrong count, nothing more.
pub(super) fn id(identity: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    hasher.finish()
}

/// Identity of an owner in a namespace.
pub(super) fn owner_id(namespace: &str, owner: &Owner) -> u64 {
    if owner.is_bare_pod() { id((namespace, &owner.name)) } else { id((namespace, &owner.uid)) }
}

/// Name of the Deployment of a `ReplicaSet`: a Deployment gives its `ReplicaSet`s the names `DEPLOYMENT-HASH`.
pub(crate) fn deployment_name<'a>(replica_set: &'a str, hash: &str) -> Option<&'a str> {
    replica_set.strip_suffix(hash)?.strip_suffix('-').filter(|name| !name.is_empty())
}

/// Image fields that the annotation with the originals names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AnnotatedFields {
    /// Number of fields that hold a variant.
    pub(super) variants: usize,
    /// A field holds its original again, and zstart's controller didn't write it.
    pub(super) is_changed_back: bool,
}

impl AnnotatedFields {
    /// Reads the fields of a pod. A pod without a valid annotation has none.
    pub(super) fn of(pod: &Pod) -> Self {
        let mut fields = Self::default();
        let Some((originals, spec)) = originals(&pod.metadata).zip(pod.spec.as_ref()) else { return fields };
        for image in images(spec) {
            let Some(original) = originals.get(&image.field.to_string()) else { continue };
            if image.is_variant() {
                fields.variants += 1;
            } else if image.reference == *original && !is_written_by_zstart(pod, &image.field) {
                fields.is_changed_back = true;
            }
        }
        fields
    }
}

/// Returns whether zstart's controller wrote an image field: it puts a pod that can't pull its variant back on the
/// original.
fn is_written_by_zstart(pod: &Pod, field: &ImageField) -> bool {
    let list = format!("f:{}", field.list.as_str());
    let entry = format!("k:{}", serde_json::json!({"name": field.name}));
    let mut managers = pod.metadata.managed_fields.iter().flatten();
    managers.any(|manager| {
        manager.manager.as_deref() == Some(keys::CONTROLLER)
            && manager.fields_v1.as_ref().is_some_and(|fields| {
                let container = fields.0.get("f:spec").and_then(|spec| spec.get(&list)?.get(&entry));
                container.is_some_and(|container| container.get("f:image").is_some())
            })
    })
}

/// Time of the pod's creation.
pub(super) fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// Returns the cause in the pod itself for which it is deleted, if it isn't the rewrite.
pub(super) fn ordinary_cause(pod: &Pod, now: Timestamp) -> Option<OrdinaryCause> {
    let age = created(pod).map_or(SignedDuration::ZERO, |created| now.duration_since(created));
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let is = |type_: &str, expected: &str| {
        let mut conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        conditions.any(|condition| condition.type_ == type_ && condition.status == expected)
    };
    // Kueue deletes plain pods too, and marks them with a condition of its own.
    if is("DisruptionTarget", "True") || is("TerminationTarget", "True") {
        Some(OrdinaryCause::Disruption)
    } else if !matches!(phase, None | Some("Pending" | "Running")) {
        Some(OrdinaryCause::Finished)
    } else if age >= MAX_AGE {
        Some(OrdinaryCause::LongLived)
    } else if is("PodScheduled", "False") {
        Some(OrdinaryCause::Unscheduled)
    } else if !is("Ready", "True") && (age > STARTUP_LIMIT || has_failed_container(pod)) {
        Some(OrdinaryCause::Failing)
    } else {
        None
    }
}

fn has_failed_container(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let init = status.init_container_statuses.iter().flatten();
    let mut statuses = init.chain(status.container_statuses.iter().flatten());
    statuses.any(|container| container.restart_count > 0 || !is_starting_or_started(container))
}

fn is_starting_or_started(container: &ContainerStatus) -> bool {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    matches!(reason, None | Some("ContainerCreating" | "PodInitializing"))
}
