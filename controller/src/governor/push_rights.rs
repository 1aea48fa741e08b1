//! Rights to push, as registries have answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use zstart_core::sync::lock;

use super::Account;

/// Time for which a denial is remembered. An administrator may grant the right meanwhile; the annotation `zstart.dev/retry` asks at once.
const DENIAL_AGE: Duration = Duration::from_hours(2);
/// Maximum number of remembered answers. A forgotten one costs two requests.
const MAX_ANSWERS: usize = 20_000;

/// Answer to the question whether an account may push to a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PushRight {
    /// The registry opened an upload.
    Granted,
    /// The registry refused, with this error.
    Denied(Arc<str>),
}

/// Answers by account and repository.
#[derive(Debug, Default)]
pub(super) struct PushRights(Mutex<HashMap<(Account, Box<str>), Answer>>);

/// An answer and its time.
type Answer = (PushRight, Instant);

impl PushRights {
    /// The answer, if it isn't too old.
    pub(super) fn get(&self, account: &Account, location: &str, now: Instant) -> Option<PushRight> {
        let answers = lock(&self.0);
        let (right, since) = answers.get(&(account.clone(), location.into()))?;
        let is_current = *right == PushRight::Granted || now.duration_since(*since) < DENIAL_AGE;
        is_current.then(|| right.clone())
    }

    pub(super) fn insert(&self, account: &Account, location: &str, right: PushRight, now: Instant) {
        let mut answers = lock(&self.0);
        if answers.len() >= MAX_ANSWERS {
            answers.clear();
        }
        answers.insert((account.clone(), location.into()), (right, now));
    }

    /// Records a denial. A denial that is known keeps its age.
    pub(super) fn deny(&self, account: &Account, location: &str, message: &str, now: Instant) {
        if !matches!(self.get(account, location, now), Some(PushRight::Denied(_))) {
            self.insert(account, location, PushRight::Denied(message.into()), now);
        }
    }

    /// Forgets the answers about a repository.
    pub(super) fn forget(&self, location: &str) {
        lock(&self.0).retain(|(_, other), _| **other != *location);
    }
}

#[cfg(test)]
mod tests {
    use zstart_registry::auth::Credentials;

    use super::*;

    #[test]
    fn denial_is_asked_again_after_hours() {
        let (rights, now) = (PushRights::default(), Instant::now());
        let account = Account::new("r.example", &Credentials::Anonymous);
        let denied = PushRight::Denied("HTTP 403".into());
        rights.insert(&account, "r.example/a", denied.clone(), now);
        rights.insert(&account, "r.example/b", PushRight::Granted, now);
        let later = now + DENIAL_AGE;
        let just_before = later.checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(rights.get(&account, "r.example/a", just_before), Some(denied));
        assert_eq!(rights.get(&account, "r.example/a", later), None);
        assert_eq!(rights.get(&account, "r.example/b", later), Some(PushRight::Granted));
        rights.deny(&account, "r.example/b", "HTTP 405", later);
        rights.deny(&account, "r.example/b", "HTTP 403", later);
        assert_eq!(rights.get(&account, "r.example/b", later), Some(PushRight::Denied("HTTP 405".into())));
        rights.insert(&account, "r.example/c", PushRight::Granted, later);
        rights.forget("r.example/b");
        assert_eq!(rights.get(&account, "r.example/b", later), None);
        assert_eq!(rights.get(&account, "r.example/c", later), Some(PushRight::Granted));
    }
}
