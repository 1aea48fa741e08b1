//! Images that a node has.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::Deserialize;
use zstart_core::Reference;

/// Number of images that a kubelet lists by default, the largest first (`nodeStatusMaxImages`,
/// pkg/kubelet/nodestatus/setters.go). A longer list is cut, so a small image may be missing. A kubelet with a
/// lower limit is believed to list all.
const LISTED_IMAGES: usize = 50;

/// Presence of an image on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Present,
    Absent,
    /// The node's list is cut.
    Unknown,
}

/// Node, reduced to its images and its runtime.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Node)]
pub(crate) struct NodeContent {
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) status: NodeContentStatus,
}

/// Status of a node, reduced.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeContentStatus {
    #[serde(default)]
    images: Vec<ListedImage>,
    #[serde(default)]
    pub(crate) node_info: NodeInfo,
}

/// Image in a node's status.
#[derive(Clone, Debug, Deserialize)]
struct ListedImage {
    /// `repository:tag` and `repository@digest`.
    #[serde(default)]
    names: Vec<String>,
}

/// Programs of a node, reduced.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeInfo {
    #[serde(default)]
    pub(crate) container_runtime_version: String,
}

/// Images of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeImages {
    names: BTreeSet<String>,
    is_complete: bool,
}

impl From<&NodeContent> for NodeImages {
    fn from(node: &NodeContent) -> Self {
        let images = &node.status.images;
        let names = images.iter().flat_map(|image| &image.names);
        let names = names.filter_map(|name| Some(name.parse::<Reference>().ok()?.identity().to_string()));
        Self { names: names.collect(), is_complete: images.len() < LISTED_IMAGES }
    }
}

impl NodeImages {
    /// Returns whether the node has an image under this name. The kubelet looks an image up by the name in the
    /// pod, so an image with another tag is no help, even if it is the same.
    pub(crate) fn presence(&self, image: &Reference) -> Presence {
        if self.names.contains(&image.identity().to_string()) {
            Presence::Present
        } else if self.is_complete {
            Presence::Absent
        } else {
            Presence::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn images(names: &[&str], more: usize) -> NodeImages {
        let more = (0..more).map(|number| json!({"names": [format!("r.example/other:{number}")]}));
        let images: Vec<_> = std::iter::once(json!({"names": names})).chain(more).collect();
        let node = json!({"metadata": {"name": "a"}, "status": {"images": images}});
        NodeImages::from(&serde_json::from_value::<NodeContent>(node).unwrap())
    }

    #[test]
    fn image_is_present_by_the_name_in_the_pod() {
        let digest = zstart_core::Digest::sha256_of(b"app");
        let by_digest = format!("docker.io/library/app@{digest}");
        let node = images(&["docker.io/library/app:v1", &by_digest], 0);
        for (image, expected) in [
            ("app:v1", Presence::Present),
            ("docker.io/library/app:v1", Presence::Present),
            (&*by_digest, Presence::Present),
            (&format!("app:v2@{digest}"), Presence::Present),
            ("app:v2", Presence::Absent),
            ("r.example/app:v1", Presence::Absent),
        ] {
            assert_eq!(node.presence(&image.parse().unwrap()), expected, "{image}");
        }
    }

    #[test]
    fn absence_in_a_full_list_proves_nothing() {
        let image: Reference = "app:v1".parse().unwrap();
        assert_eq!(images(&[], LISTED_IMAGES - 2).presence(&image), Presence::Absent);
        assert_eq!(images(&[], LISTED_IMAGES - 1).presence(&image), Presence::Unknown);
        let empty = serde_json::from_value::<NodeContent>(json!({"metadata": {"name": "a"}})).unwrap();
        assert_eq!(NodeImages::from(&empty).presence(&image), Presence::Absent);
    }
}
