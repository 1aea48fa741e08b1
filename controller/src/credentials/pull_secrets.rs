//! Pull secrets of the namespaces that want an image, in the order to try.
//!
//! Namespaces are tenants: one with many wrong credentials must not use up the tries of the others. Hence they
//! take turns, and a Secret has few credentials that count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zstart_registry::auth::Credentials;

use crate::demand::Consumer;

/// Most credentials of one pull secret that are tried for an image: each may be a failed login.
const MAX_PER_SECRET: usize = 4;

/// Namespace and name.
pub(super) type Name = (String, String);

/// The namespaces, in the order of their turns.
pub(super) struct PullSecrets {
    namespaces: VecDeque<Namespace>,
}

/// A namespace's objects that aren't read yet, and its credentials that aren't tried yet.
#[derive(Default)]
struct Namespace {
    name: String,
    credentials: VecDeque<(Credentials, String)>,
    /// Secret that is read first.
    preferred: Option<String>,
    secrets: BTreeSet<String>,
    secrets_read: BTreeSet<String>,
    accounts: BTreeSet<String>,
}

/// The next step of the namespace whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Try credentials of a pull secret.
    Try(Credentials, Name),
    /// Read a pull secret, and add its credentials.
    ReadSecret(Name),
    /// Read a service account, and add its pull secrets.
    ReadAccount(Name),
}

impl PullSecrets {
    /// The secrets that the consumers' pods name, then those of their service accounts.
    pub(super) fn new(consumers: &[Consumer]) -> Self {
        let mut namespaces = BTreeMap::<_, Namespace>::new();
        for consumer in consumers {
            let namespace = namespaces.entry(&consumer.namespace).or_default();
            namespace.name.clone_from(&consumer.namespace);
            namespace.accounts.insert(consumer.service_account.clone());
            namespace.secrets.extend(consumer.pull_secrets.iter().cloned());
        }
        Self { namespaces: namespaces.into_values().collect() }
    }

    /// Leaves namespaces out.
    pub(super) fn retain(&mut self, is_allowed: impl Fn(&str) -> bool) {
        self.namespaces.retain(|namespace| is_allowed(&namespace.name));
    }

    /// Puts a Secret in front, if the consumers name it. Its namespace has the first turn.
    pub(super) fn prefer(&mut self, (namespace, name): Name) {
        let Some(index) = self.namespaces.iter().position(|known| known.name == namespace) else { return };
        if let Some(mut namespace) = self.namespaces.remove(index) {
            namespace.preferred = Some(name);
            self.namespaces.push_front(namespace);
        }
    }

    /// The next step, or `None` at the end.
    pub(super) fn step(&mut self) -> Option<Step> {
        while let Some(namespace) = self.namespaces.front_mut() {
            if let Some(step) = namespace.step() {
                return Some(step);
            }
            self.namespaces.pop_front();
        }
        None
    }

    /// Adds the pull secrets of a service account to the current namespace.
    pub(super) fn add_secrets(&mut self, names: impl IntoIterator<Item = String>) {
        if let Some(namespace) = self.namespaces.front_mut() {
            namespace.secrets.extend(names);
        }
    }

    /// Adds the credentials of a pull secret to the current namespace, each once. Returns the number of those
    /// that are too many.
    pub(super) fn add_credentials(
        &mut self,
        secret: &str,
        credentials: impl IntoIterator<Item = Credentials>,
    ) -> usize {
        let Some(namespace) = self.namespaces.front_mut() else { return 0 };
        let kept = &mut namespace.credentials;
        let mut dropped = 0;
        for credentials in credentials {
            if kept.iter().any(|(known, _)| *known == credentials) {
                continue;
            }
            if kept.len() < MAX_PER_SECRET {
                kept.push_back((credentials, secret.to_owned()));
            } else {
                dropped += 1;
            }
        }
        dropped
    }

    /// Ends the turn of the current namespace.
    pub(super) fn end_turn(&mut self) {
        self.namespaces.rotate_left(1.min(self.namespaces.len()));
    }
}

impl Namespace {
    fn step(&mut self) -> Option<Step> {
        if let Some((credentials, secret)) = self.credentials.pop_front() {
            return Some(Step::Try(credentials, (self.name.clone(), secret)));
        }
        // A Secret that no consumer names any more isn't read. It may be a service account's.
        if let Some(preferred) = &self.preferred {
            if !self.secrets.contains(preferred)
                && let Some(account) = self.accounts.pop_first()
            {
                return Some(Step::ReadAccount((self.name.clone(), account)));
            }
            if let Some(secret) = self.preferred.take().filter(|secret| self.secrets.remove(secret)) {
                self.secrets_read.insert(secret.clone());
                return Some(Step::ReadSecret((self.name.clone(), secret)));
            }
        }
        while let Some(secret) = self.secrets.pop_first() {
            if self.secrets_read.insert(secret.clone()) {
                return Some(Step::ReadSecret((self.name.clone(), secret)));
            }
        }
        let account = self.accounts.pop_first()?;
        Some(Step::ReadAccount((self.name.clone(), account)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(namespace: &str, account: &str, pull_secrets: &[&str]) -> Consumer {
        Consumer {
            namespace: namespace.to_owned(),
            pull_secrets: pull_secrets.iter().map(|name| (*name).to_owned()).collect(),
            service_account: account.to_owned(),
            pulls_always: false,
            event_target: None,
        }
    }

    /// Users in the order of their tries. A secret named `NAME-N` has N users, an account named `NAME-N` has N
    /// secrets with one user each.
    fn users(consumers: &[Consumer]) -> Vec<String> {
        let mut secrets = PullSecrets::new(consumers);
        let count = |name: &str| name.rsplit_once('-').and_then(|(_, count)| count.parse().ok()).unwrap_or(1);
        let mut users = Vec::new();
        while let Some(step) = secrets.step() {
            match step {
                Step::Try(Credentials::Basic(password), _) => {
                    users.push(password.username);
                    secrets.end_turn();
                }
                Step::Try(other, _) => panic!("{other:?}"),
                Step::ReadSecret((namespace, name)) => {
                    let user = |user| Credentials::basic(format!("{namespace}/{name}/{user}"), "1");
                    secrets.add_credentials(&name, (0..count(&name)).map(user));
                }
                Step::ReadAccount((_, name)) => {
                    secrets.add_secrets((0..count(&name)).map(|secret| format!("of_{name}_{secret}")));
                }
            }
        }
        users
    }

    #[test]
    fn namespaces_take_turns() {
        let consumers = [
            consumer("aaa", "many-40", &["a-16", "b-16"]),
            consumer("mmm", "none-0", &["a"]),
            consumer("zzz", "one-1", &[]),
        ];
        let users = users(&consumers);
        assert_eq!(users[..4], ["aaa/a-16/0", "mmm/a/0", "zzz/of_one-1_0/0", "aaa/a-16/1"]);
        assert_eq!(users.len(), 2 * MAX_PER_SECRET + 40 + 2);
    }

    #[test]
    fn secret_has_few_credentials_that_count() {
        let mut secrets = PullSecrets::new(&[consumer("aaa", "default", &["a"])]);
        assert_eq!(secrets.step(), Some(Step::ReadSecret(("aaa".to_owned(), "a".to_owned()))));
        let user = |user: usize| Credentials::basic(user.to_string(), "1");
        // The same login under several keys counts once.
        let logins = [0, 0].into_iter().chain(0..16).map(user);
        assert_eq!(secrets.add_credentials("a", logins), 16 - MAX_PER_SECRET);
        for number in 0..MAX_PER_SECRET {
            let secret = ("aaa".to_owned(), "a".to_owned());
            assert_eq!(secrets.step(), Some(Step::Try(user(number), secret)));
        }
        assert_eq!(secrets.step(), Some(Step::ReadAccount(("aaa".to_owned(), "default".to_owned()))));
    }

    #[test]
    fn preferred_secret_is_read_first_if_it_is_named() {
        let consumers = [consumer("aaa", "one", &["a", "b"]), consumer("bbb", "two", &["c", "d"])];
        // The service account `two` has the Secret `e`. None has `f`.
        for (preferred, expected) in [
            (("bbb", "d"), &["d", "c"][..]),
            (("bbb", "e"), &["account two", "e", "c", "d"]),
            (("bbb", "f"), &["account two", "c", "d", "e"]),
            (("ccc", "a"), &["a", "b"]),
        ] {
            let mut secrets = PullSecrets::new(&consumers);
            secrets.prefer((preferred.0.to_owned(), preferred.1.to_owned()));
            let mut steps = Vec::new();
            while let Some(step) = secrets.step() {
                match step {
                    Step::Try(..) => {}
                    Step::ReadSecret((_, name)) => steps.push(name),
                    Step::ReadAccount((_, name)) => {
                        if name == "two" {
                            secrets.add_secrets(["e".to_owned()]);
                        }
                        steps.push(format!("account {name}"));
                    }
                }
            }
            assert_eq!(steps[..expected.len()], *expected, "{preferred:?}");
        }
    }

    #[test]
    fn secret_of_pod_and_account_is_read_once() {
        let consumers = [consumer("aaa", "default", &["a"]), consumer("aaa", "default", &["a", "b"])];
        let mut secrets = PullSecrets::new(&consumers);
        let mut read = Vec::new();
        while let Some(step) = secrets.step() {
            match step {
                Step::Try(..) => {}
                Step::ReadSecret((_, name)) => read.push(name),
                Step::ReadAccount(_) => secrets.add_secrets(["a".to_owned(), "c".to_owned()]),
            }
        }
        assert_eq!(read, ["a", "b", "c"]);
    }
}
