//! Metadata without the members that the controller doesn't read.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    FieldsV1, ManagedFieldsEntry, ObjectMeta, OwnerReference, Time,
};
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zstart_core::eligibility::pod::is_mark;
use zstart_core::keys;

/// Prefix of zstart's own annotations.
const OWN_PREFIX: &str = "zstart.dev/";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Members {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<Annotations>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
    managed_fields: Option<Vec<Manager>>,
}

/// Reads the members that the controller uses.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let members = Members::deserialize(deserializer)?;
    let managers: Vec<ManagedFieldsEntry> =
        members.managed_fields.into_iter().flatten().filter_map(|Manager(entry)| entry).collect();
    Ok(ObjectMeta {
        name: members.name,
        namespace: members.namespace,
        uid: members.uid,
        resource_version: members.resource_version,
        generation: members.generation,
        creation_timestamp: members.creation_timestamp,
        deletion_timestamp: members.deletion_timestamp,
        labels: members.labels,
        annotations: members.annotations.map(|Annotations(annotations)| annotations),
        owner_references: members.owner_references,
        finalizers: members.finalizers,
        managed_fields: Some(managers).filter(|managers| !managers.is_empty()),
        ..ObjectMeta::default()
    })
}

/// Annotations that zstart reads. Others can be large, like the last applied configuration.
struct Annotations(BTreeMap<String, String>);

/// Use of an annotation.
enum Annotation {
    /// The value counts.
    Read(String),
    /// The presence counts. The value is replaced by an empty text.
    Mark(String),
    Unused,
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Annotations;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("annotations")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Annotations, M::Error> {
                let mut kept = BTreeMap::new();
                while let Some(annotation) = map.next_key()? {
                    match annotation {
                        Annotation::Read(key) => drop(kept.insert(key, map.next_value()?)),
                        Annotation::Mark(key) => {
                            map.next_value::<IgnoredAny>()?;
                            kept.insert(key, String::new());
                        }
                        Annotation::Unused => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Annotations(kept))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

impl<'de> Deserialize<'de> for Annotation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key;
        impl Visitor<'_> for Key {
            type Value = Annotation;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an annotation's key")
            }

            fn visit_str<E: Error>(self, key: &str) -> Result<Annotation, E> {
                Ok(if key.starts_with(OWN_PREFIX) || key == keys::RESTARTED_AT {
                    Annotation::Read(key.to_owned())
                } else if is_mark(key) {
                    Annotation::Mark(key.to_owned())
                } else {
                    Annotation::Unused
                })
            }
        }
        deserializer.deserialize_str(Key)
    }
}

/// Entry of `managedFields` that counts: one of a server-side apply, or the controller's own.
struct Manager(Option<ManagedFieldsEntry>);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Member {
    Manager,
    Operation,
    FieldsV1,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Manager {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = Manager;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an entry of managedFields")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Manager, M::Error> {
                let mut entry = ManagedFieldsEntry::default();
                // An API server writes the manager first (apimachinery, `pkg/apis/meta/v1/types.go`,
                // `ManagedFieldsEntry`).
                while let Some(member) = map.next_key()? {
                    let is_own = entry.manager.as_deref() == Some(keys::CONTROLLER);
                    match member {
                        Member::Manager => entry.manager = map.next_value()?,
                        Member::Operation => entry.operation = map.next_value()?,
                        Member::FieldsV1 if is_own => {
                            entry.fields_v1 = Some(FieldsV1(map.next_value()?));
                        }
                        Member::FieldsV1 | Member::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let is_own = entry.manager.as_deref() == Some(keys::CONTROLLER);
                let is_applied = entry.operation.as_deref() == Some("Apply");
                Ok(Manager((is_own || is_applied).then_some(entry)))
            }
        }
        deserializer.deserialize_map(Entry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use zstart_core::eligibility::pod::exclusion;

    use super::*;

    fn reduced(metadata: &Value) -> ObjectMeta {
        deserialize(metadata).unwrap()
    }

    #[test]
    fn exclusions_survive_the_reduction() {
        let owner = |kind: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "2", "controller": true}]);
        for (metadata, is_excluded) in [
            (json!({}), false),
            (json!({"annotations": {"example.com/note": "x"}}), false),
            (json!({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}), true),
            (json!({"annotations": {"meta.helm.sh/release-name": "app"}}), true),
            (json!({"annotations": {"argocd.argoproj.io/tracking-id": "app:/Pod:x/y"}}), true),
            (json!({"annotations": {"vcluster.loft.sh/object-name": "app"}}), true),
            (json!({"annotations": {keys::MIRROR_POD: "hash"}}), true),
            (json!({"labels": {keys::REWRITE: keys::DISABLED}}), true),
            (
                json!({"managedFields": [{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {}}}]}),
                true,
            ),
            (
                json!({"managedFields": [{"manager": "kubectl-run", "operation": "Update", "fieldsV1": {}}]}),
                false,
            ),
            (json!({"ownerReferences": owner("ReplicaSet")}), false),
            (json!({"ownerReferences": owner("CloneSet")}), true),
        ] {
            let full: ObjectMeta = serde_json::from_value(metadata.clone()).unwrap();
            let reason = exclusion(&reduced(&metadata), &BTreeSet::new());
            assert_eq!(reason, exclusion(&full, &BTreeSet::new()), "{metadata}");
            assert_eq!(reason.is_some(), is_excluded, "{metadata}");
        }
    }

    #[test]
    fn read_members_are_kept_and_others_dropped() {
        let fields = json!({"f:spec": {"f:containers": {}}});
        let metadata = json!({
            "name": "web", "namespace": "shop", "uid": "1", "resourceVersion": "7", "generation": 3,
            "generateName": "web-", "selfLink": "/x",
            "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
            "finalizers": ["batch.kubernetes.io/job-tracking"],
            "labels": {"pod-template-hash": "a"},
            "annotations": {"zstart.dev/originals": "{}", "kubectl.kubernetes.io/restartedAt": "x", "other": "y",
                "meta.helm.sh/release-name": "app"},
            "managedFields": [
                {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {}}},
                {"manager": "zstart-controller", "operation": "Update", "fieldsV1": fields},
            ],
        });
        let mut full: ObjectMeta = serde_json::from_value(metadata.clone()).unwrap();
        full.generate_name = None;
        full.self_link = None;
        full.managed_fields.as_mut().unwrap().remove(0);
        let annotations = full.annotations.as_mut().unwrap();
        annotations.remove("other");
        annotations.insert("meta.helm.sh/release-name".to_owned(), String::new());
        assert_eq!(reduced(&metadata), full);
    }
}
