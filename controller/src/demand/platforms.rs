//! Platforms of the nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use zstart_core::Platform;

use super::objects::Objects;

/// Platforms of the nodes, with the number of nodes.
#[derive(Debug, Default)]
pub(super) struct Platforms {
    nodes: Objects<String, Arc<Platform>>,
    present: BTreeMap<Arc<Platform>, usize>,
}

impl Platforms {
    /// Begins a list of all nodes.
    pub(super) fn begin_list(&mut self) {
        self.nodes.begin_list();
    }

    /// Ends a list. Returns whether the platforms changed.
    pub(super) fn end_list(&mut self) -> bool {
        let absent = self.nodes.end_list();
        absent.into_iter().fold(false, |changed, node| self.set(node, None) || changed)
    }

    /// Sets the platform of a node; `None` if the node is gone. Returns whether the platforms changed.
    pub(super) fn set(&mut self, node: String, platform: Option<Platform>) -> bool {
        if self.nodes.touch(&node).map(|known| &**known) == platform.as_ref() {
            return false;
        }
        let mut changed = false;
        let new = platform.map(|platform| {
            let known = self.present.get_key_value(&platform).map(|(known, _)| Arc::clone(known));
            known.unwrap_or_else(|| Arc::new(platform))
        });
        if let Some(new) = &new {
            let nodes = self.present.entry(Arc::clone(new)).or_default();
            *nodes += 1;
            changed |= *nodes == 1;
        }
        if let Some(old) = self.nodes.set(node, new)
            && let Some(nodes) = self.present.get_mut(&old)
        {
            *nodes -= 1;
            if *nodes == 0 {
                self.present.remove(&old);
                changed = true;
            }
        }
        changed
    }

    /// The platforms.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Platform> {
        self.present.keys().map(|platform| &**platform)
    }

    /// Whether the nodes were listed at least once.
    pub(super) fn is_synced(&self) -> bool {
        self.nodes.is_synced()
    }
}
