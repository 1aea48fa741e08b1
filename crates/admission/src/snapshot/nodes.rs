//! Cache of the nodes, interned into classes.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;
use zstart_core::eligibility::{Node, NodeSet};

/// Nodes as the events of a watch describe them. A relist replaces the nodes when it is complete.
#[derive(Debug, Default)]
pub(super) struct NodeCache {
    live: NodeSet,
    incoming: NodeSet,
    synced: bool,
    /// Runtimes that failed to unpack a zstd layer, by the node's name.
    failed: BTreeMap<String, String>,
}

impl NodeCache {
    /// Applies one event.
    pub(super) fn apply(&mut self, event: Event<Node>) {
        match event {
            Event::Init => self.incoming = NodeSet::default(),
            Event::InitApply(node) => self.incoming.insert(self.marked(node)),
            Event::InitDone => {
                self.live = std::mem::take(&mut self.incoming);
                self.synced = true;
            }
            Event::Apply(node) => self.live.insert(self.marked(node)),
            Event::Delete(node) => self.live.remove(&node.name),
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

    /// Returns whether at least one list was complete.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }
}
