//! Template of a pod, as text that is equal for all pods of one template.

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::Owner;
use crate::digest::Digest;
use crate::keys::{CONTROLLER_REVISION_HASH, POD_TEMPLATE_HASH};
use crate::originals::originals;

/// Prefix of a hash of the pod's specification, in place of a label.
const SPEC_HASH: &str = "spec-hash";

/// Returns the template of a pod: the label in which the owner notes the revision, or a hash of the
/// specification without the rewrite.
pub fn template_of(pod: &Pod) -> String {
    let owner = Owner::of(&pod.metadata);
    let labelled = owner.and_then(|owner| {
        let label = revision_label(&owner)?;
        Some(format!("{label}={}", label_of(&pod.metadata, label)?))
    });
    labelled.unwrap_or_else(|| format!("{SPEC_HASH}={}", spec_hash(pod)))
}

/// Returns the template that a hold of the pod's owner names. Empty if pods of the owner can have several
/// templates at once: a Job has one template for its whole life, and the objects that own the pods of
/// vcluster (Service) or Spark (Pod) have none.
pub fn hold_template(pod: &Pod) -> String {
    let Some(owner) = Owner::of(&pod.metadata) else { return String::new() };
    let has_one_template = owner.is_bare_pod()
        || owner.group() == "apps"
        || owner.kind == "ReplicationController"
        || revision_label(&owner).is_some_and(|label| label_of(&pod.metadata, label).is_some());
    if has_one_template { template_of(pod) } else { String::new() }
}

/// Returns whether the pod's labels contradict `template`. Labels can contradict only a template that is
/// a label.
pub(super) fn label_matches(template: &str, pod: &ObjectMeta) -> bool {
    let Some((label, value)) = template.split_once('=').filter(|(label, _)| *label != SPEC_HASH) else {
        return true;
    };
    label_of(pod, label).is_none_or(|other| other == value)
}

/// Label in which owners of this kind note the revision. The core group's objects and Jobs have none.
/// Labels of their pods can be copies: vcluster copies the labels of the virtual cluster's pods.
fn revision_label(owner: &Owner) -> Option<&'static str> {
    match (owner.group(), &*owner.kind) {
        ("" | "batch", _) => None,
        ("apps", "ReplicaSet") => Some(POD_TEMPLATE_HASH),
        _ => Some(CONTROLLER_REVISION_HASH),
    }
}

fn label_of<'a>(pod: &'a ObjectMeta, label: &str) -> Option<&'a str> {
    pod.labels.as_ref()?.get(label).map(String::as_str)
}

/// Hash of the members of a specification that an author writes and neither the scheduler, the kubelet nor
/// an admission plugin changes. Images count as they were before the rewrite. Volumes are left out: the name
/// of the token's volume is random.
fn spec_hash(pod: &Pod) -> String {
    let Some(spec) = &pod.spec else { return String::new() };
    let originals = originals(&pod.metadata).unwrap_or_default();
    let reduced = |list: &str, container: &Container| -> Value {
        let original = originals.get(&format!("{list}/{}", container.name));
        json!([
            container.name,
            original.or(container.image.as_ref()),
            container.command,
            container.args,
            container.env,
        ])
    };
    let init = spec.init_containers.iter().flatten().map(|container| reduced("initContainers", container));
    let all = init.chain(spec.containers.iter().map(|container| reduced("containers", container)));
    let text = Value::Array(all.collect()).to_string();
    Digest::sha256_of(text.as_bytes()).short().to_owned()
}
