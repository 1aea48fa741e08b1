//! zstd's contexts, kept from one layer for the next: with them stays the memory that they have, which
//! would else be asked for and given back for every layer, and be held twice in between.

use std::sync::{Mutex, MutexGuard, PoisonError};

use zstd::zstd_safe::CCtx;

use super::LayerError;

/// Those that no layer has now.
#[derive(Default)]
pub(super) struct ContextPool {
    idle: Mutex<Idle>,
}

/// All of one kind: what a large layer's context holds is not to lie idle beside other layers.
#[derive(Default)]
struct Idle {
    in_jobs: bool,
    contexts: Vec<CCtx<'static>>,
}

impl ContextPool {
    /// Does `work` with a context that is as good as new. One that failed is given up, with whatever it
    /// holds.
    pub(super) fn with<T>(
        &self,
        in_jobs: bool,
        work: impl FnOnce(&mut CCtx<'static>) -> Result<T, LayerError>,
    ) -> Result<T, LayerError> {
        let mut context = self.only(in_jobs).contexts.pop().unwrap_or_else(CCtx::create);
        let result = work(&mut context)?;
        self.only(in_jobs).contexts.push(context);
        Ok(result)
    }

    /// Gives those up that large layers have left.
    pub(super) fn without_large(&self) {
        drop(self.only(false));
    }

    fn only(&self, in_jobs: bool) -> MutexGuard<'_, Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.in_jobs != in_jobs {
            *idle = Idle { in_jobs, contexts: Vec::new() };
        }
        idle
    }
}
