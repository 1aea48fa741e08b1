//! Events of kubelets about pulled images.

use k8s_openapi::api::core::v1::Event;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::Deserialize;

use super::metadata;

/// Field selector of the kubelets' events about pulled images. Any identity that may create events can write such
/// an event: the figures inform, and decide nothing.
pub const PULLED_EVENTS: &str = "reason=Pulled,involvedObject.kind=Pod,source=kubelet";

/// Event of a kubelet, reduced. Kubelets write events of the core group.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Event)]
#[serde(rename_all = "camelCase")]
pub struct WatchedPulledEvent {
    #[serde(deserialize_with = "metadata::deserialize")]
    metadata: ObjectMeta,
    #[serde(default)]
    message: String,
    #[serde(default)]
    source: SourceMembers,
    #[serde(default)]
    involved_object: ObjectMembers,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SourceMembers {
    host: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ObjectMembers {
    uid: String,
}

impl WatchedPulledEvent {
    /// The kubelet's text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Name of the node; the pod's UID for an event without one.
    pub fn node(&self) -> &str {
        if self.source.host.is_empty() { &self.involved_object.uid } else { &self.source.host }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kubelets_event_is_reduced() {
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": "web.1", "namespace": "shop", "resourceVersion": "7"},
            "involvedObject": {"kind": "Pod", "name": "web", "uid": "pod-1", "fieldPath": "spec.containers{app}"},
            "reason": "Pulled", "message": "Container image \"a\" already present on machine", "count": 2,
            "source": {"component": "kubelet", "host": "one"}, "type": "Normal",
            "firstTimestamp": null, "eventTime": null, "reportingComponent": "kubelet", "reportingInstance": "one",
        });
        let read: WatchedPulledEvent = serde_json::from_value(event.clone()).unwrap();
        assert_eq!((read.node(), read.metadata.resource_version.as_deref()), ("one", Some("7")));
        assert!(read.message().starts_with("Container image"));
        let mut bare = event;
        for member in ["source", "message"] {
            bare.as_object_mut().unwrap().remove(member);
        }
        let read: WatchedPulledEvent = serde_json::from_value(bare).unwrap();
        assert_eq!((read.node(), read.message()), ("pod-1", ""));
    }
}
