//! Exclusions by a pod's metadata.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use thiserror::Error;

use super::Reason;
use crate::keys;

/// Built-in controllers. None of them compares the images of its pods with its template.
const BUILT_IN: [(&str, &str); 5] = [
    ("ReplicaSet", "apps"),
    ("StatefulSet", "apps"),
    ("DaemonSet", "apps"),
    ("Job", "batch"),
    ("ReplicationController", ""),
];

/// Kinds of the core group that own pods as their controller, e.g. the driver of a Spark application.
const CORE_OWNERS: [&str; 2] = ["Pod", "Service"];

/// Marks of operators that compare the image of a running pod with their own, and then recreate or patch the
/// pod endlessly. They act above a built-in controller, or on pods without one.
const OPERATOR_LABELS: [(&str, Option<&str>); 3] = [
    // Zalando's postgres-operator (#1955, #2622), above a StatefulSet.
    ("application", Some("spilo")),
    // aerospike-kubernetes-operator (#402), above a StatefulSet.
    ("aerospike.com/cr", None),
    ("vcluster.loft.sh/managed-by", None),
];
/// Annotation of a pod that vcluster copies to its host cluster.
const VCLUSTER_ANNOTATION: &str = "vcluster.loft.sh/object-name";

/// Annotations of the tools that apply manifests.
const APPLIED_ANNOTATIONS: [&str; 3] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "meta.helm.sh/release-name",
    "argocd.argoproj.io/tracking-id",
];
/// Labels of the tools that apply manifests.
const APPLIED_LABELS: [(&str, Option<&str>); 4] = [
    ("app.kubernetes.io/managed-by", Some("Helm")),
    ("argocd.argoproj.io/instance", None),
    ("kustomize.toolkit.fluxcd.io/name", None),
    ("helm.toolkit.fluxcd.io/name", None),
];

/// Kind of pod controller, written `Kind.group`, or `Pod` or `Service` for the core group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ControllerKind {
    kind: String,
    group: String,
}

/// Error for a text that isn't a controller kind.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "pod controller {text:?} is not of the form Kind.group, e.g. CloneSet.apps.kruise.io; only Pod and \
     Service need no group"
)]
pub struct ControllerKindError {
    /// Text as given.
    pub text: String,
}

impl FromStr for ControllerKind {
    type Err = ControllerKindError;

    fn from_str(text: &str) -> Result<Self, ControllerKindError> {
        if CORE_OWNERS.contains(&text) {
            return Ok(Self { kind: text.to_owned(), group: String::new() });
        }
        // Another kind alone is refused: its author forgot the group.
        let (kind, group) = text.split_once('.').unwrap_or((text, ""));
        let well_formed = kind.starts_with(|first: char| first.is_ascii_uppercase())
            && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && group.split('.').all(is_label);
        if well_formed {
            Ok(Self { kind: kind.to_owned(), group: group.to_owned() })
        } else {
            Err(ControllerKindError { text: text.to_owned() })
        }
    }
}

/// Returns whether `part` is a DNS label, as a group's name consists of.
fn is_label(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !part.is_empty() && part.bytes().all(allowed)
}

impl fmt::Display for ControllerKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group.as_str() {
            "" => formatter.write_str(&self.kind),
            group => write!(formatter, "{}.{group}", self.kind),
        }
    }
}

/// Returns the reason for which a pod with this metadata is never rewritten, if any. `allowed` lists the
/// controllers that an administrator vouches for.
pub fn exclusion(metadata: &ObjectMeta, allowed: &BTreeSet<ControllerKind>) -> Option<Reason> {
    template_exclusion(metadata).or_else(|| owner_exclusion(metadata, allowed))
}

/// Returns the reason for which no pod of a template with this metadata is rewritten, if any. A template's owner
/// isn't the owner of its pods.
pub fn template_exclusion(metadata: &ObjectMeta) -> Option<Reason> {
    let label = metadata.labels.as_ref().and_then(|labels| labels.get(keys::REWRITE));
    if label.is_some_and(|value| value == keys::DISABLED) {
        return Some(Reason::PodOptedOut);
    }
    if has_annotation(metadata, keys::MIRROR_POD) {
        return Some(Reason::MirrorPod);
    }
    let is_compared = has_label(metadata, &OPERATOR_LABELS) || has_annotation(metadata, VCLUSTER_ANNOTATION);
    is_compared.then_some(Reason::ForeignController)
}

/// Returns the reason for which pods of this owner are never rewritten, if any.
fn owner_exclusion(metadata: &ObjectMeta, allowed: &BTreeSet<ControllerKind>) -> Option<Reason> {
    let Some(controller) = controller(metadata) else {
        return is_applied(metadata).then_some(Reason::AppliedBare);
    };
    let group = controller.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let known = BUILT_IN.contains(&(controller.kind.as_str(), group));
    let vouched = allowed.iter().any(|kind| kind.kind == controller.kind && kind.group == group);
    // A Spark driver owns its executors, and never looks at their images.
    let is_spark = (controller.kind.as_str(), group) == ("Pod", "")
        && has_label(metadata, &[("spark-role", Some("executor"))]);
    (!known && !vouched && !is_spark).then_some(Reason::ForeignController)
}

/// Returns whether the manifest of a pod without a controller may be applied again.
fn is_applied(metadata: &ObjectMeta) -> bool {
    metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty())
        || has_label(metadata, &APPLIED_LABELS)
        || APPLIED_ANNOTATIONS.into_iter().any(|key| has_annotation(metadata, key))
        || metadata.managed_fields.iter().flatten().any(|entry| entry.operation.as_deref() == Some("Apply"))
}

/// Returns whether the presence of an annotation can exclude pods, regardless of its value.
pub fn is_mark(annotation: &str) -> bool {
    [keys::MIRROR_POD, VCLUSTER_ANNOTATION].contains(&annotation) || APPLIED_ANNOTATIONS.contains(&annotation)
}

/// Returns the owner that manages the pod, if the pod has one.
pub fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Returns whether the object has one of `labels`. No value means any value.
fn has_label(metadata: &ObjectMeta, labels: &[(&str, Option<&str>)]) -> bool {
    labels.iter().any(|(key, expected)| {
        let actual = metadata.labels.as_ref().and_then(|labels| labels.get(*key));
        actual.is_some_and(|actual| expected.is_none_or(|expected| actual == expected))
    })
}

fn has_annotation(metadata: &ObjectMeta, key: &str) -> bool {
    metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(key))
}

/// Returns the names of containers and volumes whose images the pod's author opted out.
pub fn kept_images(metadata: &ObjectMeta) -> BTreeSet<&str> {
    let names = metadata.annotations.as_ref().and_then(|annotations| annotations.get(keys::KEEP_IMAGES));
    names.into_iter().flat_map(|names| names.split(',')).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn excluded(metadata: serde_json::Value, allowed: &[&str]) -> Option<Reason> {
        let allowed = allowed.iter().map(|kind| kind.parse().unwrap()).collect();
        exclusion(&serde_json::from_value(metadata).unwrap(), &allowed)
    }

    fn owned_by(api_version: &str, kind: &str) -> serde_json::Value {
        json!({"ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"},
            {"apiVersion": api_version, "kind": kind, "name": "x", "uid": "2", "controller": true},
        ]})
    }

    #[test]
    fn bare_and_built_in_controller_pods_are_eligible() {
        assert_eq!(excluded(json!({}), &[]), None);
        for (group, kind) in [
            ("apps/v1", "ReplicaSet"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "DaemonSet"),
            ("batch/v1", "Job"),
            ("v1", "ReplicationController"),
        ] {
            assert_eq!(excluded(owned_by(group, kind), &[]), None, "{kind}");
        }
    }

    #[test]
    fn foreign_controller_pod_is_excluded_until_allowed() {
        let owned = || owned_by("apps.kruise.io/v1alpha1", "CloneSet");
        assert_eq!(excluded(owned(), &[]), Some(Reason::ForeignController));
        assert_eq!(excluded(owned(), &["CloneSet.example.com"]), Some(Reason::ForeignController));
        assert_eq!(excluded(owned(), &["CloneSet.apps.kruise.io"]), None);
        // The same kind in another group is another controller.
        assert_eq!(excluded(owned_by("example.com/v1", "Job"), &[]), Some(Reason::ForeignController));
    }

    #[test]
    fn opted_out_and_mirror_pods_are_excluded() {
        let opted_out = json!({"labels": {keys::REWRITE: keys::DISABLED}});
        assert_eq!(excluded(opted_out, &[]), Some(Reason::PodOptedOut));
        let mirror = json!({"annotations": {keys::MIRROR_POD: "hash"}});
        assert_eq!(excluded(mirror, &[]), Some(Reason::MirrorPod));
    }

    #[test]
    fn bare_pod_that_is_applied_again_is_excluded() {
        for metadata in [
            json!({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}),
            json!({"annotations": {"meta.helm.sh/release-name": "app"}}),
            json!({"annotations": {"argocd.argoproj.io/tracking-id": "app:/Pod:x/y"}}),
            json!({"labels": {"argocd.argoproj.io/instance": "app"}}),
            json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "app"}}),
            json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}),
            json!({"managedFields": [{"manager": "kubectl", "operation": "Apply"}]}),
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}]}),
        ] {
            assert_eq!(excluded(metadata.clone(), &[]), Some(Reason::AppliedBare), "{metadata}");
            // A controller recreates its pods from a template, which alone is applied.
            let mut owned = owned_by("apps/v1", "ReplicaSet");
            owned.as_object_mut().unwrap().extend(
                metadata.as_object().unwrap().clone().into_iter().filter(|(key, _)| key != "ownerReferences"),
            );
            assert_eq!(excluded(owned.clone(), &[]), None, "{owned}");
        }
        let created = json!({"managedFields": [{"manager": "kubectl-run", "operation": "Update"}],
            "labels": {"app.kubernetes.io/managed-by": "ci"}});
        assert_eq!(excluded(created, &[]), None);
    }

    #[test]
    fn pods_of_operators_that_compare_images_are_excluded() {
        for mark in [
            json!({"labels": {"application": "spilo"}}),
            json!({"labels": {"aerospike.com/cr": "cluster"}}),
            json!({"annotations": {"vcluster.loft.sh/object-name": "app"}}),
        ] {
            let mut owned = owned_by("apps/v1", "StatefulSet");
            owned.as_object_mut().unwrap().extend(mark.as_object().unwrap().clone());
            assert_eq!(excluded(owned, &[]), Some(Reason::ForeignController), "{mark}");
            assert_eq!(excluded(mark, &[]), Some(Reason::ForeignController));
        }
        assert_eq!(excluded(json!({"labels": {"application": "shop"}}), &[]), None);
    }

    #[test]
    fn owners_of_the_core_group_are_excluded_until_allowed() {
        assert_eq!(excluded(owned_by("v1", "Pod"), &[]), Some(Reason::ForeignController));
        assert_eq!(excluded(owned_by("v1", "Pod"), &["Pod"]), None);
        assert_eq!(excluded(owned_by("v1", "Service"), &["Service"]), None);
        let mut executor = owned_by("v1", "Pod");
        executor["labels"] = json!({"spark-role": "executor"});
        assert_eq!(excluded(executor, &[]), None);
    }

    #[test]
    fn kept_images_are_listed_by_an_annotation() {
        let metadata = json!({"annotations": {keys::KEEP_IMAGES: "app, proxy"}});
        let metadata = serde_json::from_value(metadata).unwrap();
        assert_eq!(kept_images(&metadata), BTreeSet::from(["app", "proxy"]));
        assert!(kept_images(&ObjectMeta::default()).is_empty());
    }

    #[test]
    fn controller_kind_round_trips_and_invalid_is_refused() {
        for text in ["CloneSet.apps.kruise.io", "Job.batch", "Pod", "Service"] {
            assert_eq!(text.parse::<ControllerKind>().unwrap().to_string(), text);
        }
        let nonsense =
            ["", "Thing", "cloneset.apps", "Clone Set.x", "Job.", "Job.a/b", ".apps", "Job..x", "Job.Batch"];
        for text in nonsense {
            assert!(text.parse::<ControllerKind>().is_err(), "{text}");
        }
    }
}
