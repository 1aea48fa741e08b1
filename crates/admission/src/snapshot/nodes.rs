//! Cache of the nodes, interned into classes.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::runtime::watcher::Event;
use zstart_core::Reference;
use zstart_core::eligibility::{Candidates, Node, NodeSet};

use super::node_images::{ImageName, NodeImages};

/// Nodes as the events of a watch describe them. A relist replaces the nodes when it is complete.
#[derive(Debug, Default)]
pub(super) struct NodeCache {
    live: NodeSet,
    incoming: NodeSet,
    /// Images by the node's name. The nodes of a class have different ones.
    images: HashMap<String, NodeImages>,
    incoming_images: HashMap<String, NodeImages>,
    synced: bool,
    /// Runtimes that failed to unpack a zstd layer, by the node's name.
    failed: BTreeMap<String, String>,
}

impl NodeCache {
    /// Applies one event.
    pub(super) fn apply(&mut self, event: Event<ApiNode>) {
        match event {
            Event::Init => {
                self.incoming = NodeSet::default();
                self.incoming_images.clear();
            }
            Event::InitApply(node) => {
                let images = NodeImages::of(&node);
                let node = self.marked(node.into());
                self.incoming_images.insert(node.name.clone(), images);
                self.incoming.insert(node);
            }
            Event::InitDone => {
                self.live = std::mem::take(&mut self.incoming);
                self.images = std::mem::take(&mut self.incoming_images);
                self.synced = true;
            }
            Event::Apply(node) => {
                let images = NodeImages::of(&node);
                let node = self.marked(node.into());
                self.images.insert(node.name.clone(), images);
                self.live.insert(node);
            }
            Event::Delete(node) => {
                let name = node.metadata.name.unwrap_or_default();
                self.images.remove(&name);
                self.live.remove(&name);
            }
        }
    }

    /// Sets the runtimes that failed to unpack a zstd layer, by the node's name. A node that reports another runtime
    /// by now isn't affected.
    pub(super) fn set_failed(&mut self, failed: BTreeMap<String, String>) {
        if failed == self.failed {
            return;
        }
        let before = std::mem::replace(&mut self.failed, failed);
        let names: Vec<String> = before.into_keys().chain(self.failed.keys().cloned()).collect();
        for name in names {
            if let Some(node) = self.live.get(&name) {
                let node = self.marked(node);
                self.live.insert(node);
            }
            if let Some(node) = self.incoming.get(&name) {
                let node = self.marked(node);
                self.incoming.insert(node);
            }
        }
    }

    fn marked(&self, mut node: Node) -> Node {
        let failed = self.failed.get(&node.name);
        node.runtime = node.runtime.map(|runtime| {
            let has_failed = failed.is_some_and(|failed| failed == runtime.reported());
            runtime.with_failed_unpack(has_failed)
        });
        node
    }

    /// Nodes of the last complete list, and the changes after it.
    pub(super) fn nodes(&self) -> &NodeSet {
        &self.live
    }

    /// Returns whether a node in the classes of the candidates reports the image.
    pub(super) fn report(&self, candidates: &Candidates<'_>, image: &Reference) -> bool {
        let image = ImageName::from(image);
        let mut names = candidates.nodes.iter().flat_map(|candidate| self.live.names(candidate.class));
        names.any(|name| self.images.get(name).is_some_and(|images| images.contains(image)))
    }

    /// Returns whether at least one list was complete.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }
}
