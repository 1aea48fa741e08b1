//! Memory of logins: which credentials a registry let in, and which it refused.
//!
//! Without it, each look at an image whose namespaces have wrong passwords would be up to 16 failed logins, and
//! registries lock accounts after a few. The memory holds keyed hashes, never secrets, and is lost at a restart.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use zstart_core::Reference;
use zstart_core::sync::lock;
use zstart_registry::Backoff;
use zstart_registry::auth::Credentials;

use super::pull_secrets::Name;

/// Time for which refused credentials aren't tried again: short at first, because a user may be granting the right,
/// and hours for credentials that stay wrong.
const HOLD: Backoff = Backoff { initial: Duration::from_mins(5), max: Duration::from_hours(4) };
/// Refusals at different repositories of a registry before credentials that it never let in are held back there
/// altogether. A login for one repository may be refused at others.
const FREE_REFUSALS: u32 = 3;
/// Maximum number of remembered refusals and of remembered repositories. A forgotten one costs a request.
const MAX_REMEMBERED: usize = 20_000;

/// Keyed hash of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(u64);

/// Memory of logins at all registries.
#[derive(Debug, Default)]
pub struct LoginMemory {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Credentials that a repository let in last.
    accepted: HashMap<Repository, Accepted>,
    /// Refusals at a repository, and at all repositories of a registry.
    refused: HashMap<(Place, Fingerprint), Refusals>,
    /// Credentials that a registry let in at any repository.
    valid: HashSet<(String, Fingerprint)>,
}

/// Registry and repository.
type Repository = (String, String);

/// Place of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Repository(Repository),
    Registry(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Accepted {
    fingerprint: Fingerprint,
    /// Pull secret that has the credentials; `None` for the controller's own.
    secret: Option<Name>,
}

#[derive(Clone, Copy, Debug)]
struct Refusals {
    count: u32,
    until: Instant,
}

impl LoginMemory {
    /// Hash of credentials that can be refused: a password or a token. The passwords of a provider change.
    pub(super) fn fingerprint(&self, credentials: &Credentials) -> Option<Fingerprint> {
        match credentials {
            Credentials::Basic(_) | Credentials::IdentityToken(_) => {
                Some(Fingerprint(self.hasher.hash_one(credentials)))
            }
            Credentials::Anonymous | Credentials::Provider(_) => None,
        }
    }

    /// The pull secret whose credentials the repository of `source` let in last.
    pub(super) fn preferred_secret(&self, source: &Reference) -> Option<Name> {
        lock(&self.state).accepted.get(&repository(source))?.secret.clone()
    }

    /// Returns whether the repository of `source` let these credentials in last.
    pub(super) fn is_preferred(&self, source: &Reference, fingerprint: Fingerprint) -> bool {
        lock(&self.state)
            .accepted
            .get(&repository(source))
            .is_some_and(|accepted| accepted.fingerprint == fingerprint)
    }

    /// Returns whether credentials may be tried now.
    pub(super) fn may_try(&self, source: &Reference, fingerprint: Fingerprint, now: Instant) -> bool {
        let (state, repository) = (lock(&self.state), repository(source));
        let is_held = |place| state.refused.get(&(place, fingerprint)).is_some_and(|held| now < held.until);
        let registry = Place::Registry(repository.0.clone());
        !is_held(Place::Repository(repository)) && !is_held(registry)
    }

    /// Remembers that a registry refused a login.
    pub(super) fn refuse(&self, source: &Reference, fingerprint: Fingerprint, now: Instant) {
        let (mut state, repository) = (lock(&self.state), repository(source));
        let registry = repository.0.clone();
        if state.accepted.get(&repository).is_some_and(|accepted| accepted.fingerprint == fingerprint) {
            state.accepted.remove(&repository);
        }
        // Twice the longest time: credentials that are refused again soon are held back for longer.
        state.refused.retain(|_, refusals| now < refusals.until + 2 * HOLD.max);
        if state.refused.len() >= MAX_REMEMBERED {
            state.refused.clear();
        }
        state.note_refusal((Place::Repository(repository), fingerprint), 0, now);
        if !state.valid.contains(&(registry.clone(), fingerprint)) {
            state.note_refusal((Place::Registry(registry), fingerprint), FREE_REFUSALS, now);
        }
    }

    /// Remembers that a repository let credentials in.
    pub(super) fn accept(&self, source: &Reference, fingerprint: Fingerprint, secret: Option<Name>) {
        let (mut state, repository) = (lock(&self.state), repository(source));
        let registry = repository.0.clone();
        state.refused.remove(&(Place::Repository(repository.clone()), fingerprint));
        state.refused.remove(&(Place::Registry(registry.clone()), fingerprint));
        if state.accepted.len() >= MAX_REMEMBERED {
            state.accepted.clear();
        }
        if state.valid.len() >= MAX_REMEMBERED {
            state.valid.clear();
        }
        state.accepted.insert(repository, Accepted { fingerprint, secret });
        state.valid.insert((registry, fingerprint));
    }
}

impl State {
    /// Counts a refusal. The first `free` ones hold nothing back.
    fn note_refusal(&mut self, key: (Place, Fingerprint), free: u32, now: Instant) {
        let refusals = self.refused.entry(key).or_insert(Refusals { count: 0, until: now });
        refusals.count = refusals.count.saturating_add(1);
        if let Some(held) = refusals.count.checked_sub(free).filter(|held| *held > 0) {
            refusals.until = now + HOLD.exact(held);
        }
    }
}

fn repository(source: &Reference) -> Repository {
    (source.registry().to_owned(), source.repository().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn credentials(memory: &LoginMemory, password: &str) -> Fingerprint {
        memory.fingerprint(&Credentials::basic("user", password)).unwrap()
    }

    #[test]
    fn fingerprints_tell_credentials_apart() {
        let memory = LoginMemory::default();
        let login = |user: &str, password: &str| memory.fingerprint(&Credentials::basic(user, password));
        assert_eq!(login("a", "bc"), login("a", "bc"));
        assert_ne!(login("a", "bc"), login("ab", "c"));
        let token = |token: &str| memory.fingerprint(&Credentials::identity_token(token));
        assert_eq!(token("a"), token("a"));
        assert_ne!(token("a"), token("b"));
        assert_eq!(memory.fingerprint(&Credentials::Anonymous), None);
        let other = LoginMemory::default();
        assert_ne!(credentials(&memory, "1"), credentials(&other, "1"), "the hash has a key");
    }

    #[test]
    fn refused_login_is_held_for_minutes_then_for_hours() {
        let (memory, image, start) = (LoginMemory::default(), source("r.example/app:v1"), Instant::now());
        let wrong = credentials(&memory, "wrong");
        let mut tries = Vec::new();
        for minute in 0..24 * 60 {
            let now = start + Duration::from_mins(minute);
            // Another tag of the repository is no other login.
            let image = source(&format!("r.example/app:v{minute}"));
            if memory.may_try(&image, wrong, now) {
                tries.push(minute);
                memory.refuse(&image, wrong, now);
            }
        }
        assert_eq!(tries, [0, 5, 15, 35, 75, 155, 315, 555, 795, 1035, 1275]);
        assert!(memory.may_try(&image, credentials(&memory, "right"), start), "a changed password is tried");
        assert!(memory.may_try(&source("other.example/app:v1"), wrong, start));
    }

    #[test]
    fn login_that_no_repository_accepts_is_held_at_the_registry() {
        let (memory, now) = (LoginMemory::default(), Instant::now());
        let image = |number: u32| source(&format!("r.example/app-{number}:v1"));
        let (wrong, narrow) = (credentials(&memory, "wrong"), credentials(&memory, "narrow"));
        memory.accept(&image(99), narrow, None);
        let tried = |login| {
            let tried = (0..50).filter(|number| {
                let may_try = memory.may_try(&image(*number), login, now);
                if may_try {
                    memory.refuse(&image(*number), login, now);
                }
                may_try
            });
            tried.count()
        };
        assert_eq!(tried(wrong), 4, "50 repositories are no 50 failed logins");
        assert_eq!(tried(narrow), 50, "a valid login that lacks a right locks no account");
    }

    #[test]
    fn accepted_login_is_preferred_until_it_is_refused() {
        let (memory, image, now) = (LoginMemory::default(), source("r.example/app:v1"), Instant::now());
        let (one, other) = (credentials(&memory, "one"), credentials(&memory, "other"));
        let secret = ("shop".to_owned(), "pull".to_owned());
        memory.refuse(&image, one, now);
        memory.accept(&image, one, Some(secret.clone()));
        assert!(memory.may_try(&image, one, now), "the refusal is forgotten");
        assert_eq!(memory.preferred_secret(&image), Some(secret));
        assert!(memory.is_preferred(&image, one) && !memory.is_preferred(&image, other));
        assert_eq!(memory.preferred_secret(&source("r.example/other:v1")), None);
        memory.refuse(&image, one, now);
        assert_eq!(memory.preferred_secret(&image), None);
    }
}
