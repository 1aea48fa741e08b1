//! Right to look at a registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::UnboundedSender;

/// Right to look at a registry. Given back by [`release`](Self::release), or when it is dropped.
#[derive(Debug)]
pub(crate) struct LookSlot {
    registry: Arc<str>,
    is_held: AtomicBool,
    freed: UnboundedSender<Arc<str>>,
}

impl LookSlot {
    /// `freed` receives the registry when the slot is given back.
    pub(super) fn new(registry: Arc<str>, freed: UnboundedSender<Arc<str>>) -> Self {
        Self { registry, is_held: AtomicBool::new(true), freed }
    }

    /// Registry that is looked at.
    pub(crate) fn registry(&self) -> &Arc<str> {
        &self.registry
    }

    /// Gives the slot back: a conversion follows, which has limits of its own.
    pub(crate) fn release(&self) {
        if self.is_held.swap(false, Ordering::Relaxed) {
            // Only a scheduler that shuts down has no receiver.
            let _ = self.freed.send(Arc::clone(&self.registry));
        }
    }
}

impl Drop for LookSlot {
    fn drop(&mut self) {
        self.release();
    }
}
