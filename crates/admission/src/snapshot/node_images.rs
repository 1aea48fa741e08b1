//! Images that a node reports, as hashes of their names.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use k8s_openapi::api::core::v1::Node as ApiNode;
use zstart_core::Reference;

/// Names of the images in `status.images`, hashed: thousands of nodes report a hundred names each.
///
/// The kubelet reports its 50 largest images at most (`--node-status-max-images`), so a name that is missing proves
/// nothing. Two names with the same hash only keep a pod on its original.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeImages(Box<[u64]>);

impl NodeImages {
    /// Images of a node. containerd and CRI-O report names in full, with registry.
    pub(super) fn of(node: &ApiNode) -> Self {
        let images = node.status.iter().flat_map(|status| status.images.iter().flatten());
        let names = images.flat_map(|image| image.names.iter().flatten());
        let mut hashes: Vec<u64> = names.map(|name| hash(name)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes.into())
    }

    /// Returns whether the node reports the image under this name. The kubelet looks an image up by the name in the
    /// pod.
    pub(super) fn contains(&self, image: ImageName) -> bool {
        self.0.binary_search(&image.0).is_ok()
    }
}

/// Name of an image, hashed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ImageName(u64);

impl From<&Reference> for ImageName {
    fn from(image: &Reference) -> Self {
        Self(hash(&image.identity().to_string()))
    }
}

fn hash(name: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(name)
}
