//! Readiness and metrics of the controller.

use std::borrow::Cow;
use std::fmt;

use zstart_process::health::Health;

use crate::context::Context;
use crate::demand::Demand;

impl Health for Context {
    fn missing(&self) -> Option<Cow<'static, str>> {
        if !self.demand.is_synced() {
            return Some("the first list of pods, templates, namespaces or nodes is not complete".into());
        }
        // A replica that stands by is ready. One that can't read or write the Lease never leads.
        (!self.leadership.is_known()).then_some("the Lease of the leader was not read and written yet".into())
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        self.metrics.set_leader(self.leadership.is_current());
        self.metrics.set_demand(self.demand.read(Demand::source_count), self.demand.source_changes());
        self.metrics.text()
    }
}
