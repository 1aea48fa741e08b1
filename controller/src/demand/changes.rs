//! Change notices: the sources that events touched.

use std::collections::HashSet;

use super::Source;

/// Difference that events made to the demand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Changes {
    /// Sources whose consumers, requested look or existence in demand changed. A consumer is a namespace with
    /// its credentials: another pod of a Deployment changes nothing.
    pub sources: HashSet<Source>,
    /// The platforms changed: a node has a new one, or the last node of one left long ago.
    pub platforms: bool,
}

impl Changes {
    /// Returns whether nothing changed. A pod's heartbeat changes nothing.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && !self.platforms
    }

    /// Adds the changes of later events.
    pub(super) fn merge(&mut self, later: Self) {
        self.sources.extend(later.sources);
        self.platforms |= later.platforms;
    }
}
