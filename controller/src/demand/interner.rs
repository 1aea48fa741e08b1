//! Values of which equal ones share one allocation.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Distinct values, and the number of their users.
#[derive(Debug)]
pub(super) struct Interner<T> {
    users: HashMap<Arc<T>, usize>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { users: HashMap::new() }
    }
}

impl<T: Eq + Hash> Interner<T> {
    /// Returns the shared value that equals `value`, for one more user, and whether this is the first user.
    pub(super) fn acquire(&mut self, value: T) -> (Arc<T>, bool) {
        let known = self.users.get_key_value(&value).map(|(known, _)| Arc::clone(known));
        let is_new = known.is_none();
        let shared = known.unwrap_or_else(|| Arc::new(value));
        *self.users.entry(Arc::clone(&shared)).or_default() += 1;
        (shared, is_new)
    }

    /// Ends the use of a shared value by one user. Returns whether it was the last one.
    pub(super) fn release(&mut self, shared: &T) -> bool {
        let Some(users) = self.users.get_mut(shared) else { return false };
        *users -= 1;
        let is_unused = *users == 0;
        if is_unused {
            self.users.remove(shared);
        }
        is_unused
    }

    /// Number of distinct values.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_one_allocation_until_the_last_release() {
        let mut interner = Interner::default();
        let (one, is_first) = interner.acquire("a".to_owned());
        let (two, is_first_again) = interner.acquire("a".to_owned());
        assert!(is_first && !is_first_again);
        let (other, _) = interner.acquire("b".to_owned());
        assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &other));
        assert!(!interner.release(&one) && interner.len() == 2);
        assert!(interner.release(&two) && interner.len() == 1);
        assert!(!interner.release(&two), "released once too often");
        // A reader may hold a value that is no longer interned.
        assert!(!Arc::ptr_eq(&interner.acquire("a".to_owned()).0, &one));
    }
}
