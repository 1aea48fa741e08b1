//! zstd's contexts, kept from one layer for the next: with them stays the memory that they have, which
//! would else be asked for and given back for every layer, and be held twice in between.

use std::sync::{Mutex, MutexGuard};

use zstart_core::sync::lock;
use zstd::zstd_safe::CCtx;

use super::LayerError;

/// Those that no layer has now.
#[derive(Default)]
pub(super) struct ContextPool {
    idle: Mutex<IdleContexts>,
}

/// All of one kind: what a large layer's context holds is not to lie idle beside other layers.
#[derive(Default)]
struct IdleContexts {
    uses_jobs: bool,
    contexts: Vec<CCtx<'static>>,
}

impl ContextPool {
    /// Does `work` with a context that is as good as new. One that failed is given up, with whatever it
    /// holds.
    pub(super) fn with_context<T>(
        &self,
        uses_jobs: bool,
        encode: impl FnOnce(&mut CCtx<'static>) -> Result<T, LayerError>,
    ) -> Result<T, LayerError> {
        let mut context = self.lock_kind(uses_jobs).contexts.pop().unwrap_or_else(CCtx::create);
        let result = encode(&mut context)?;
        self.lock_kind(uses_jobs).contexts.push(context);
        Ok(result)
    }

    /// Gives those up that large layers have left.
    pub(super) fn release_job_contexts(&self) {
        drop(self.lock_kind(false));
    }

    fn lock_kind(&self, uses_jobs: bool) -> MutexGuard<'_, IdleContexts> {
        let mut idle = lock(&self.idle);
        if idle.uses_jobs != uses_jobs {
            *idle = IdleContexts { uses_jobs, contexts: Vec::new() };
        }
        idle
    }
}
