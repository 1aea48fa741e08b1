//! When the controller is ready.

use std::fmt;

use zstart_process::health::Health;

use crate::context::Context;

impl Health for Context {
    fn missing(&self) -> Option<&'static str> {
        let missing = "the first list of pods, templates, namespaces or nodes isn't complete";
        (!self.demand.is_synced()).then_some(missing)
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        self.metrics.text()
    }
}
