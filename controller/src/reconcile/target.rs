//! The repository that a reconciliation reads and writes.

use zstart_core::{Reference, VariantNames};
use zstart_registry::Store;

/// A source and the place of its variants.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) repository: &'a dyn Store,
    pub(super) source: &'a Reference,
    /// Names of the variants.
    pub(super) names: &'a VariantNames,
}
