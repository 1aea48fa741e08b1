//! Locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, poisoned or not.
///
/// A thread that panics while it holds a lock poisons the mutex. Every critical section in zstart leaves
/// its data whole at each step, so the next thread may go on.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
