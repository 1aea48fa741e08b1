//! Exclusions by a pod's metadata.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
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

/// Kind of pod controller, written `Kind.group`. The core group has one such kind, which is built in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ControllerKind {
    kind: String,
    group: String,
}

/// Error for a text that isn't a controller kind.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("pod controller {text:?} is not of the form Kind.group, e.g. CloneSet.apps.kruise.io")]
pub struct ControllerKindError {
    /// Text as given.
    pub text: String,
}

impl FromStr for ControllerKind {
    type Err = ControllerKindError;

    fn from_str(text: &str) -> Result<Self, ControllerKindError> {
        // A kind alone is refused: its author forgot the group, and the core group is never meant.
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
        write!(formatter, "{}.{}", self.kind, self.group)
    }
}

/// Returns the reason for which a pod with this metadata is never rewritten, if any. `allowed` lists the
/// controllers that an administrator vouches for.
pub fn exclusion(metadata: &ObjectMeta, allowed: &BTreeSet<ControllerKind>) -> Option<Reason> {
    let label = metadata.labels.as_ref().and_then(|labels| labels.get(keys::REWRITE));
    if label.is_some_and(|value| value == keys::DISABLED) {
        return Some(Reason::PodOptedOut);
    }
    if metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(keys::MIRROR_POD)) {
        return Some(Reason::MirrorPod);
    }
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let controller = owners.iter().find(|owner| owner.controller == Some(true))?;
    let group = controller.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let known = BUILT_IN.contains(&(controller.kind.as_str(), group));
    let vouched = allowed.iter().any(|kind| kind.kind == controller.kind && kind.group == group);
    (!known && !vouched).then_some(Reason::ForeignController)
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
    fn controller_kind_round_trips_and_invalid_is_refused() {
        for text in ["CloneSet.apps.kruise.io", "Job.batch"] {
            assert_eq!(text.parse::<ControllerKind>().unwrap().to_string(), text);
        }
        let nonsense =
            ["", "Thing", "cloneset.apps", "Clone Set.x", "Job.", "Job.a/b", ".apps", "Job..x", "Job.Batch"];
        for text in nonsense {
            assert!(text.parse::<ControllerKind>().is_err(), "{text}");
        }
    }
}
