//! Pauses that registries ask for.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use zstart_core::sync::lock;

use super::Account;

/// Longest pause. Without it one answer could stop the updates of a registry's records for good.
const MAX_PAUSE: Duration = Duration::from_hours(1);
/// Pause if the registry names no time.
const DEFAULT_PAUSE: Duration = Duration::from_mins(1);
/// Requests in a row that a registry answers with 429, until the pause is for all repositories. A single repository
/// that asks for endless pauses must not stop the others.
const LIMITED_AFTER: u32 = 3;

/// Pauses by account.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<HashMap<Account, Pause>>);

#[derive(Debug)]
struct Pause {
    /// Answers in a row that asked for a pause.
    answers: u32,
    /// Latest end that an answer asked for.
    end: Instant,
}

impl Pauses {
    /// Records an answer that asks for a pause.
    pub(super) fn ask(&self, account: &Account, retry_after: Option<Duration>, now: Instant) {
        let end = now + retry_after.unwrap_or(DEFAULT_PAUSE).min(MAX_PAUSE);
        let mut pauses = lock(&self.0);
        let pause = pauses.entry(account.clone()).or_insert(Pause { answers: 0, end });
        pause.answers = pause.answers.saturating_add(1);
        pause.end = end.max(pause.end);
    }

    /// Records a request that succeeded.
    pub(super) fn succeed(&self, account: &Account) {
        lock(&self.0).remove(account);
    }

    /// Rest of a pause for all repositories.
    pub(super) fn rest(&self, account: &Account, now: Instant) -> Option<Duration> {
        let pauses = lock(&self.0);
        let pause = pauses.get(account).filter(|pause| pause.answers >= LIMITED_AFTER)?;
        Some(pause.end.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use zstart_registry::auth::Credentials;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn account(user: &str) -> Account {
        Account::new("r.example", &Credentials::basic(user, "1"))
    }

    #[test]
    fn pause_of_all_repositories_takes_answers_in_a_row() {
        let (pauses, account, now) = (Pauses::default(), account("a"), Instant::now());
        for answers in 1..=LIMITED_AFTER {
            assert_eq!(pauses.rest(&account, now), None, "{answers}");
            pauses.ask(&account, Some(5 * MINUTE), now);
        }
        assert_eq!(pauses.rest(&account, now + MINUTE), Some(4 * MINUTE));
        assert_eq!(pauses.rest(&account, now + 5 * MINUTE), None);
        // The registry still limits the account.
        pauses.ask(&account, None, now + 6 * MINUTE);
        assert_eq!(pauses.rest(&account, now + 6 * MINUTE), Some(DEFAULT_PAUSE));
        pauses.succeed(&account);
        pauses.ask(&account, None, now + 6 * MINUTE);
        assert_eq!(pauses.rest(&account, now + 6 * MINUTE), None);
    }

    #[test]
    fn pause_is_bounded_and_belongs_to_one_account() {
        let (pauses, now) = (Pauses::default(), Instant::now());
        for _ in 0..LIMITED_AFTER {
            pauses.ask(&account("a"), Some(Duration::MAX), now);
        }
        assert_eq!(pauses.rest(&account("a"), now), Some(MAX_PAUSE));
        assert_eq!(pauses.rest(&account("b"), now), None);
    }
}
