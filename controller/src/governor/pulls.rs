//! Shares of pull allowances.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use zstart_core::sync::lock;
use zstart_registry::RateLimit;

use super::Account;

/// One of this many pulls of an allowance is the controller's: 5 %.
const SHARE: u64 = 20;
/// Below one of this many pulls left, the controller takes none.
const RESERVE: u64 = 10;

/// Pulls of all accounts whose registry states an allowance.
#[derive(Debug, Default)]
pub(super) struct Pulls(Mutex<HashMap<Account, Taken>>);

#[derive(Debug)]
struct Taken {
    stated: RateLimit,
    stated_at: Instant,
    /// Times of the pulls in the current window, the oldest first.
    times: VecDeque<Instant>,
}

/// A share that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted {
    pub(super) stated: RateLimit,
    /// Pulls in a window that are the controller's.
    pub(super) share: u64,
    /// Time until the next pull.
    pub(super) rest: Duration,
}

impl Pulls {
    /// Takes a pull, if the account's share has one left. A registry that states no allowance has no limit.
    pub(super) fn take(&self, account: &Account, now: Instant) -> Result<(), Exhausted> {
        let mut accounts = lock(&self.0);
        let Some(taken) = accounts.get_mut(account) else { return Ok(()) };
        taken.take(now)
    }

    /// Learns the allowance that a registry states.
    pub(super) fn learn(&self, account: &Account, stated: RateLimit, now: Instant) {
        let mut accounts = lock(&self.0);
        let taken = accounts.entry(account.clone()).or_insert_with(|| Taken {
            stated,
            stated_at: now,
            times: VecDeque::new(),
        });
        (taken.stated, taken.stated_at) = (stated, now);
    }
}

impl Taken {
    fn take(&mut self, now: Instant) -> Result<(), Exhausted> {
        let Self { stated, stated_at, times } = self;
        let share = (stated.limit / SHARE).max(1);
        while times.front().is_some_and(|time| now.duration_since(*time) >= stated.window) {
            times.pop_front();
        }
        let exhausted = |rest| Exhausted { stated: *stated, share, rest };
        // The statement is old after a window: the allowance is whole again.
        let age = now.duration_since(*stated_at);
        if age < stated.window && stated.remaining < stated.limit / RESERVE {
            return Err(exhausted(stated.window.saturating_sub(age)));
        }
        if let Some(oldest) = times.front().filter(|_| times.len() as u64 >= share) {
            return Err(exhausted(stated.window.saturating_sub(now.duration_since(*oldest))));
        }
        times.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zstart_registry::auth::Credentials;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn account(user: &str) -> Account {
        Account::new("docker.io", &Credentials::basic(user, "1"))
    }

    fn stated(remaining: u64) -> RateLimit {
        RateLimit { limit: 100, remaining, window: 6 * HOUR }
    }

    #[test]
    fn share_is_five_pulls_of_a_hundred_in_each_window() {
        let (pulls, account, start) = (Pulls::default(), account("a"), Instant::now());
        pulls.learn(&account, stated(80), start);
        let taken = (0..9).filter(|_| pulls.take(&account, start + HOUR).is_ok()).count();
        assert_eq!(taken, 5);
        let exhausted = pulls.take(&account, start + 2 * HOUR).unwrap_err();
        assert_eq!((exhausted.share, exhausted.rest), (5, 5 * HOUR));
        assert!(pulls.take(&account, start + 7 * HOUR).is_ok());
    }

    #[test]
    fn rest_of_the_allowance_is_left_to_nodes() {
        let (pulls, account, start) = (Pulls::default(), account("a"), Instant::now());
        pulls.learn(&account, stated(9), start);
        assert_eq!(pulls.take(&account, start + HOUR).unwrap_err().rest, 5 * HOUR);
        pulls.learn(&account, stated(10), start + HOUR);
        assert!(pulls.take(&account, start + HOUR).is_ok());
    }

    #[test]
    fn accounts_have_their_own_shares() {
        let (pulls, now) = (Pulls::default(), Instant::now());
        pulls.learn(&account("a"), stated(0), now);
        assert!(pulls.take(&account("a"), now).is_err());
        assert!(pulls.take(&account("b"), now).is_ok(), "no allowance is stated");
    }
}
