//! The repository that a reconciliation reads and writes.

use zstart_core::{Reference, Tag};
use zstart_registry::Store;

/// A source and the place of its variant.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) repository: &'a dyn Store,
    pub(super) source: &'a Reference,
    /// Tag of the variant.
    pub(super) tag: &'a Tag,
}
