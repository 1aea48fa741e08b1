//! Times of pod templates: a pod whose template is newer than the last look at its tag may ask for an image
//! that was pushed meanwhile.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use zstart_core::eligibility::pod::controller;
use zstart_core::keys;
use zstart_process::watch::WatchCache;

/// Creation times of the objects that are made with each change of a template, in seconds since 1970, by
/// `NAMESPACE/NAME`.
pub(super) type Revisions = WatchCache<String, i64>;

/// Time at which a pod's template was made or restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TemplateTime {
    /// The pod's template has no time: a Job's, or a pod without a controller.
    Unknown,
    /// Time of the last change.
    At(Timestamp),
    /// The revision isn't known yet, so it is newer than all known ones.
    Newest,
}

impl TemplateTime {
    /// Latest possible time; `None` if the template has no time.
    pub fn latest(self) -> Option<Timestamp> {
        match self {
            Self::Unknown => None,
            Self::At(time) => Some(time),
            Self::Newest => Some(Timestamp::MAX),
        }
    }
}

/// Returns the time of the template of `pod`. `replica_sets` are made by Deployments, `revisions` by
/// StatefulSets and DaemonSets.
pub(super) fn template_time(
    pod: &Pod,
    namespace: &str,
    replica_sets: &Revisions,
    revisions: &Revisions,
) -> TemplateTime {
    let annotations = pod.metadata.annotations.as_ref();
    let restarted = annotations.and_then(|annotations| annotations.get(keys::RESTARTED_AT)?.parse().ok());
    let restarted = restarted.map_or(TemplateTime::Unknown, TemplateTime::At);
    restarted.max(revision_time(pod, namespace, replica_sets, revisions))
}

fn revision_time(
    pod: &Pod,
    namespace: &str,
    replica_sets: &Revisions,
    revisions: &Revisions,
) -> TemplateTime {
    let Some(owner) = controller(&pod.metadata) else { return TemplateTime::Unknown };
    let revision = pod.metadata.labels.as_ref().and_then(|labels| labels.get(keys::CONTROLLER_REVISION_HASH));
    let created = |cache: &Revisions, name: &str| {
        let second = cache.get(&*format!("{namespace}/{name}"))?;
        Timestamp::from_second(*second).ok().map(TemplateTime::At)
    };
    let of_owner = |hash: &String| created(revisions, &format!("{}-{hash}", owner.name));
    match (owner.kind.as_str(), owner.api_version.as_str(), revision) {
        ("ReplicaSet", "apps/v1", _) => created(replica_sets, &owner.name).unwrap_or(TemplateTime::Newest),
        ("StatefulSet", "apps/v1", Some(name)) => created(revisions, name).unwrap_or(TemplateTime::Newest),
        ("DaemonSet", "apps/v1", Some(hash)) => of_owner(hash).unwrap_or(TemplateTime::Newest),
        // Controllers of other groups use the label in either way, or for purposes of their own.
        (_, _, Some(label)) => {
            created(revisions, label).or_else(|| of_owner(label)).unwrap_or(TemplateTime::Unknown)
        }
        (_, _, None) => TemplateTime::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    const CREATED: i64 = 1_800_000_000;

    fn cache(names: &[&str]) -> Revisions {
        let mut cache = Revisions::default();
        for name in names {
            cache.apply(Event::Apply(*name), |name| (name.to_owned(), Some(CREATED)));
        }
        cache
    }

    fn time_of(
        api_version: &str,
        kind: &str,
        revision: Option<&str>,
        restarted: Option<&str>,
    ) -> TemplateTime {
        let mut metadata = json!({
            "labels": {}, "annotations": {},
            "ownerReferences": [{"apiVersion": api_version, "kind": kind, "name": "app", "uid": "1", "controller": true}],
        });
        if let Some(revision) = revision {
            metadata["labels"][keys::CONTROLLER_REVISION_HASH] = json!(revision);
        }
        if let Some(restarted) = restarted {
            metadata["annotations"][keys::RESTARTED_AT] = json!(restarted);
        }
        let pod = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        template_time(&pod, "shop", &cache(&["shop/app"]), &cache(&["shop/app-1", "other/app-2"]))
    }

    fn at(second: i64) -> TemplateTime {
        TemplateTime::At(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn revision_gives_the_time_of_its_template() {
        assert_eq!(time_of("apps/v1", "ReplicaSet", None, None), at(CREATED));
        assert_eq!(time_of("apps/v1", "StatefulSet", Some("app-1"), None), at(CREATED));
        assert_eq!(time_of("apps/v1", "DaemonSet", Some("1"), None), at(CREATED));
        assert_eq!(time_of("apps.kruise.io/v1beta1", "CloneSet", Some("app-1"), None), at(CREATED));
        assert_eq!(time_of("apps.kruise.io/v1beta1", "CloneSet", Some("1"), None), at(CREATED));
    }

    #[test]
    fn unknown_revision_of_a_built_in_kind_is_the_newest() {
        // The names exist in another namespace only.
        assert_eq!(time_of("apps/v1", "StatefulSet", Some("app-2"), None), TemplateTime::Newest);
        assert_eq!(time_of("apps/v1", "DaemonSet", Some("2"), None), TemplateTime::Newest);
        assert_eq!(time_of("batch/v1", "Job", None, None), TemplateTime::Unknown);
        assert_eq!(time_of("apps.kruise.io/v1beta1", "CloneSet", Some("2"), None), TemplateTime::Unknown);
    }

    #[test]
    fn restart_counts_if_it_is_later_than_the_revision() {
        let job = |restarted| time_of("batch/v1", "Job", None, Some(restarted));
        assert_eq!(job("2027-01-15T08:00:01Z"), at(CREATED + 1));
        assert_eq!(job("2027-01-15T10:00:01+02:00"), at(CREATED + 1));
        assert_eq!(job("yesterday"), TemplateTime::Unknown);
        let set = |restarted| time_of("apps/v1", "ReplicaSet", None, Some(restarted));
        assert_eq!(set("2027-01-15T08:00:01Z"), at(CREATED + 1));
        assert_eq!(set("2027-01-15T07:59:59Z"), at(CREATED));
    }
}
