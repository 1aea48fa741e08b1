//! Readiness and metrics of the controller.

use std::borrow::Cow;
use std::fmt;

use zstart_process::health::Health;

use crate::context::Context;
use crate::demand::Demand;

impl Health for Context {
    fn missing(&self) -> Option<Cow<'static, str>> {
        let missing = "the first list of pods, templates, namespaces or nodes is not complete";
        (!self.demand.is_synced()).then_some(Cow::Borrowed(missing))
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        self.metrics.set_demand(self.demand.read(Demand::source_count), self.demand.source_changes());
        self.metrics.text()
    }
}
