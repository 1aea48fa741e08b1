//! Restraint towards registries, by registry and identity.
//!
//! Nodes and the controller share a registry's limits: Docker Hub counts the pulls of an address, and most clusters
//! have one. The governor
//!
//! - leaves nodes nearly all of a pull allowance ([`pulls`]): GET of a manifest counts, HEAD doesn't;
//! - stops all requests of an identity while a registry asks for a pause ([`pauses`]);
//! - remembers who may push where ([`push_rights`]), so that a denied push costs no pull.
//!
//! A request that is held back fails as `RateLimited` without being sent, so that the record says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zstart_core::units;
use zstart_registry::auth::{Credentials, Fingerprint};
use zstart_registry::{ErrorKind, Operation, RateLimit, RegistryError, Store};

use self::pauses::Pauses;
use self::pulls::Pulls;
use self::push_rights::PushRights;
use crate::metrics::Metrics;

mod governed_store;
mod pauses;
mod pulls;
mod push_rights;

pub(crate) use governed_store::GovernedStore;
pub(crate) use push_rights::PushRight;

/// An identity at a registry: who shares an allowance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    registry: Arc<str>,
    identity: Fingerprint,
}

impl Account {
    pub(crate) fn new(registry: &str, credentials: &Credentials) -> Self {
        Self { registry: registry.into(), identity: credentials.fingerprint() }
    }
}

/// Restraint towards all registries.
pub(crate) struct Governor {
    pulls: Pulls,
    pauses: Pauses,
    push_rights: PushRights,
    metrics: Arc<Metrics>,
}

/// Reason to hold a request back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeldBack {
    /// The rest of the pull allowance belongs to nodes.
    PullAllowance,
    /// The registry asked for a pause.
    Pause,
}

impl HeldBack {
    /// Every reason.
    pub(crate) const ALL: [Self; 2] = [Self::PullAllowance, Self::Pause];

    /// Label of the metric.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::PullAllowance => "pull_allowance",
            Self::Pause => "pause",
        }
    }
}

impl Governor {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let (pulls, pauses, push_rights) = (Pulls::default(), Pauses::default(), PushRights::default());
        Self { pulls, pauses, push_rights, metrics }
    }

    /// Fails if the registry asked this account for a pause that isn't over.
    fn require_no_pause(&self, account: &Account, store: &dyn Store) -> Result<(), RegistryError> {
        let Some(rest) = self.pauses.rest(account, Instant::now()) else { return Ok(()) };
        let text = format!("{} asked for a pause; zstart sends nothing until it is over", account.registry);
        Err(self.hold_back(HeldBack::Pause, rest, text, store))
    }

    /// Takes a pull from the account's share of the allowance, or fails.
    fn take_pull(&self, account: &Account, store: &dyn Store) -> Result<(), RegistryError> {
        self.require_no_pause(account, store)?;
        let Err(exhausted) = self.pulls.take(account, Instant::now()) else { return Ok(()) };
        let RateLimit { limit, remaining, window } = exhausted.stated;
        let text = format!(
            "zstart leaves the pull allowance to nodes: {} grants {limit} pulls in {} and has {remaining} left, \
             of which zstart takes {} at most",
            account.registry,
            units::duration(window),
            exhausted.share,
        );
        Err(self.hold_back(HeldBack::PullAllowance, exhausted.rest, text, store))
    }

    fn hold_back(&self, reason: HeldBack, rest: Duration, text: String, store: &dyn Store) -> RegistryError {
        self.metrics.count_held_back(reason);
        let kind = ErrorKind::RateLimited { retry_after: Some(rest) };
        RegistryError::new(Operation::pull("ask for the image", ""), store.location(), kind, text)
    }

    /// Learns from a request of this account.
    fn observe<T>(&self, account: &Account, store: &dyn Store, result: &Result<T, RegistryError>) {
        let now = Instant::now();
        if let Some(stated) = store.rate_limit() {
            self.pulls.learn(account, stated, now);
        }
        match result {
            Ok(_) => self.pauses.succeed(account),
            Err(RegistryError { kind: ErrorKind::RateLimited { retry_after }, .. }) => {
                self.pauses.ask(account, *retry_after, now);
            }
            Err(_) => {}
        }
    }

    /// Asks whether the account may push to the store's repository, or remembers the answer.
    pub(crate) async fn push_right(
        &self,
        account: &Account,
        store: &dyn Store,
    ) -> Result<PushRight, RegistryError> {
        if let Some(known) = self.push_rights.get(account, store.location(), Instant::now()) {
            return Ok(known);
        }
        let right = match store.start_upload().await {
            Ok(upload) => {
                upload.abort().await;
                PushRight::Granted
            }
            Err(error) if error.kind == ErrorKind::Denied => PushRight::Denied(error.chain().into()),
            Err(error) => return Err(error),
        };
        tracing::debug!(location = store.location(), ?right, "asked for the right to push");
        self.push_rights.insert(account, store.location(), right.clone(), Instant::now());
        Ok(right)
    }

    /// Remembers that the registry asked the account for a pause in another process: a conversion's Job.
    pub(crate) fn remember_pause(&self, account: &Account, retry_after: Option<Duration>) {
        self.pauses.ask(account, retry_after, Instant::now());
    }

    /// Forgets who may push to a repository: a user wants new answers. They are asked for as soon as no pause holds
    /// them back.
    pub(crate) fn forget_push_rights(&self, location: &str) {
        self.push_rights.forget(location);
    }

    /// Remembers that the registry denied a push.
    pub(crate) fn remember_denial(&self, account: &Account, location: &str, message: &str) {
        self.push_rights.deny(account, location, message, Instant::now());
    }
}
