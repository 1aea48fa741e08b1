//! Images of Kubernetes manifests.

use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::found::Target;

/// Depth of lists in lists.
const MAX_DEPTH: usize = 8;

/// Finds the images of an object. Returns false if the value is no Kubernetes object.
pub(crate) fn find(collector: &mut Collector<'_>, object: Cursor<'_>) -> bool {
    let is_object = object.text_at(&["apiVersion"]).is_some() && object.text_at(&["kind"]).is_some();
    if is_object {
        find_in(collector, object, None, MAX_DEPTH);
    }
    is_object
}

/// `default` is the type of an object without a type of its own: an entry of a `DeploymentList`, for example.
fn find_in(collector: &mut Collector<'_>, object: Cursor<'_>, default: Option<(&str, &str)>, depth: usize) {
    let Some(version) = object.text_at(&["apiVersion"]).or(default.map(|(version, _)| version)) else {
        return;
    };
    let Some(kind) = object.text_at(&["kind"]).or(default.map(|(_, kind)| kind)) else { return };
    if let Some(item) = kind.strip_suffix("List")
        && let Some(items) = object.get("items")
        && depth > 0
    {
        for object in items.items() {
            find_in(collector, object, (!item.is_empty()).then_some((version, item)), depth - 1);
        }
        return;
    }
    let Some(path) = pod_spec(version, kind) else { return };
    let Some(spec) = object.path(path) else { return };
    let name = object.text_at(&["metadata", "name"]).or(object.text_at(&["metadata", "generateName"]));
    let owner = format!("{kind}/{}", name.unwrap_or("-"));
    let lists: [(&str, &str, &[&str]); 3] = [
        ("initContainers", "init container", &["image"]),
        ("containers", "container", &["image"]),
        ("volumes", "volume", &["image", "reference"]),
    ];
    for (list, word, field) in lists {
        for entry in spec.get(list).into_iter().flat_map(Cursor::items) {
            if let Some(image) = entry.path(field) {
                let name = entry.text_at(&["name"]).unwrap_or("-");
                collector.add(image, &format!("{owner}, {word} {name}"), Target::Kubernetes);
            }
        }
    }
}

/// Path to the pod's specification in an object of this type.
fn pod_spec(version: &str, kind: &str) -> Option<&'static [&'static str]> {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    Some(match (group, kind) {
        ("", "Pod") => &["spec"],
        ("", "PodTemplate") => &["template", "spec"],
        ("", "ReplicationController")
        | ("apps" | "extensions", "Deployment" | "DaemonSet" | "ReplicaSet")
        | ("apps", "StatefulSet")
        | ("batch", "Job") => &["spec", "template", "spec"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => return None,
    })
}
