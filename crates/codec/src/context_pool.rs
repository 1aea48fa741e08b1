//! A pool of zstd contexts. A reused context keeps its memory. Without the pool, zstd would allocate and free
//! that memory for each layer, and would hold it twice between two layers.

use std::sync::{Mutex, MutexGuard};

use zstart_core::sync::lock;
use zstd::zstd_safe::CCtx;

use super::LayerError;

/// The idle contexts.
#[derive(Default)]
pub(super) struct ContextPool {
    idle: Mutex<IdleContexts>,
}

/// Idle contexts of one kind, so that the large context of a layer encoded in jobs holds no memory while
/// other layers are encoded.
#[derive(Default)]
struct IdleContexts {
    uses_jobs: bool,
    contexts: Vec<CCtx<'static>>,
}

impl ContextPool {
    /// Calls `encode` with an idle or a new context. `encode` resets the context. If `encode` fails, the
    /// context is freed.
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

    /// Frees the idle contexts of layers encoded in jobs.
    pub(super) fn release_job_contexts(&self) {
        drop(self.lock_kind(false));
    }

    /// Locks the pool and frees the idle contexts of the other kind.
    fn lock_kind(&self, uses_jobs: bool) -> MutexGuard<'_, IdleContexts> {
        let mut idle = lock(&self.idle);
        if idle.uses_jobs != uses_jobs {
            *idle = IdleContexts { uses_jobs, contexts: Vec::new() };
        }
        idle
    }
}
