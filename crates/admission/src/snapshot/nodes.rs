//! Cache of the nodes, interned into classes.

use kube::runtime::watcher::Event;
use zstart_core::eligibility::{Node, NodeSet};

/// Nodes as the events of a watch describe them. A relist replaces the nodes when it is complete.
#[derive(Debug, Default)]
pub(super) struct NodeCache {
    live: NodeSet,
    incoming: NodeSet,
    synced: bool,
}

impl NodeCache {
    /// Applies one event.
    pub(super) fn apply(&mut self, event: Event<Node>) {
        match event {
            Event::Init => self.incoming = NodeSet::default(),
            Event::InitApply(node) => self.incoming.insert(node),
            Event::InitDone => {
                self.live = std::mem::take(&mut self.incoming);
                self.synced = true;
            }
            Event::Apply(node) => self.live.insert(node),
            Event::Delete(node) => self.live.remove(&node.name),
        }
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
