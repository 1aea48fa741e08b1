//! The webhook's certificates: made, renewed and trusted without anybody's help.
//!
//! The controller keeps an authority (10 years) in one Secret that only it can read, and a serving
//! certificate (90 days) in another that the webhook watches. Each is renewed when two thirds of its life
//! are over. What the API server trusts stands in the webhook configuration: the authority, and each
//! earlier one until it expires.
//!
//! - [`next_step`]: what is to be done next, decided from what is stored.
//! - [`certificate`], [`secret_data`]: reading back what is stored.
//! - [`issue`]: making new ones.
//! - [`store`]: the objects in the cluster, written so that two controllers don't fight.
//! - `watch`: when to look again.
//!
//! To replace a leaked authority delete its Secret: a new one is made at once, and the old one isn't
//! trusted any more.

pub mod certificate;
pub mod issue;
pub mod next_step;
pub mod secret_data;
pub mod store;
mod watch;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::Client;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use zstart_core::keys;
use zstart_registry::Backoff;

use issue::IssueError;
use next_step::Step;
use secret_data::{authority_data, serving_data};
use store::{CertificateStore, Snapshot, StoreError, WriteResult};

/// The shortest time from one look to the next. Two installations that were given the same Secrets by
/// mistake would otherwise rewrite them as fast as the API server can.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The longest time without a look, whatever falls due: clocks are set, machines sleep.
const MAX_WAIT: Duration = Duration::from_hours(1);
/// The longest time until it is tried again after an error. It starts at [`MIN_INTERVAL`] and doubles.
const MAX_BACKOFF: Duration = Duration::from_mins(1);
/// More steps than one look can need: authority, bundle, serving certificate, and each overtaken twice.
const MAX_STEPS: usize = 9;

/// The `webhook` section of the controller's configuration file: where the certificates belong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CertificateSettings {
    /// Name of the `MutatingWebhookConfiguration` that gets the bundle.
    pub configuration: String,
    /// Name of the Service, in zstart's namespace, under which the API server calls the webhook.
    pub service: String,
    /// Name of the Secret with the serving certificate.
    pub serving_secret: String,
    /// Name of the Secret with the authority.
    pub ca_secret: String,
}

impl Default for CertificateSettings {
    fn default() -> Self {
        Self {
            configuration: "zstart".to_owned(),
            service: "zstart-webhook".to_owned(),
            serving_secret: keys::SERVING_SECRET.to_owned(),
            ca_secret: keys::CA_SECRET.to_owned(),
        }
    }
}

impl CertificateSettings {
    /// The names that the API server may call the webhook by.
    pub fn dns_names(&self, namespace: &str) -> BTreeSet<String> {
        let service = &self.service;
        let short = format!("{service}.{namespace}.svc");
        BTreeSet::from([format!("{short}.cluster.local"), short])
    }
}

/// Why the certificates aren't kept.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The API server didn't do as it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A certificate can't be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// Every step was followed by another.
    #[error(
        "the certificates are still not as they should be after {steps} steps; \
         does somebody else write the Secrets {ca_secret} and {serving_secret}?"
    )]
    Unsettled {
        /// How many steps were taken.
        steps: usize,
        /// The authority's Secret.
        ca_secret: String,
        /// The serving Secret.
        serving_secret: String,
    },
}

/// Rotates the certificates until `shutdown`. Errors of the API server are logged and retried. DNS names
/// that no certificate can have are returned as an error, because no retry helps.
pub async fn rotate(
    client: Client,
    settings: CertificateSettings,
    namespace: String,
    shutdown: CancellationToken,
) -> Result<(), CertificateError> {
    let mut changes = watch::changes(&client, &settings, &namespace);
    let rotator = Rotator {
        names: settings.dns_names(&namespace),
        store: CertificateStore::new(client, settings.clone(), namespace),
        settings,
    };
    let backoff = Backoff { initial: MIN_INTERVAL, max: MAX_BACKOFF };
    let mut failures: u32 = 0;
    loop {
        let started = Instant::now();
        let rotated = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            rotated = rotator.rotate() => rotated,
        };
        let wait = match rotated {
            Ok(until) => {
                failures = 0;
                wait_time(Timestamp::now(), until)
            }
            Err(error @ CertificateError::Issue(IssueError::Names { .. })) => return Err(error),
            Err(error) => {
                failures = failures.saturating_add(1);
                let delay = backoff.exact(failures);
                let error = &error as &dyn std::error::Error;
                warn!(error, ?delay, "failed to rotate the webhook's certificates, retrying");
                delay
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = sleep(wait) => {}
            _ = changes.next() => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = sleep_until(started + MIN_INTERVAL) => {}
        }
    }
}

/// How long to wait until then, at most [`MAX_WAIT`].
fn wait_time(now: Timestamp, until: Timestamp) -> Duration {
    // Negative when it is past already.
    Duration::try_from(now.duration_until(until)).unwrap_or(Duration::ZERO).min(MAX_WAIT)
}

struct Rotator {
    store: CertificateStore,
    settings: CertificateSettings,
    names: BTreeSet<String>,
}

impl Rotator {
    /// Looks and mends until there is nothing to do; when something falls due next.
    async fn rotate(&self) -> Result<Timestamp, CertificateError> {
        for _ in 0..MAX_STEPS {
            let now = Timestamp::now();
            let snapshot = self.store.read().await?;
            for error in snapshot.state.unreadable() {
                warn!(error = error as &dyn std::error::Error, "failed to read the webhook's certificates");
            }
            if snapshot.state.bundles.as_ref().is_some_and(Vec::is_empty) {
                let CertificateSettings { configuration, service, serving_secret: _, ca_secret: _ } =
                    &self.settings;
                warn!(configuration, service, "no webhook of the configuration is served by our Service");
            }
            match next_step::next_step(now, &snapshot.state, &self.names) {
                Step::WaitUntil(until) => return Ok(until),
                step => self.apply(step, &snapshot, now).await?,
            }
        }
        Err(CertificateError::Unsettled {
            steps: MAX_STEPS,
            ca_secret: self.settings.ca_secret.clone(),
            serving_secret: self.settings.serving_secret.clone(),
        })
    }

    async fn apply(
        &self,
        step: Step<'_>,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<(), CertificateError> {
        let CertificateSettings { configuration, service: _, serving_secret, ca_secret } = &self.settings;
        match step {
            Step::IssueAuthority(reason) => {
                let new = issue::issue_authority(now)?;
                let data = authority_data(&new, snapshot.state.authority.as_ref(), now);
                if self.store.write_authority(snapshot, data).await? == WriteResult::Written {
                    info!(secret = ca_secret, %reason, "made a certificate authority for the webhook");
                }
            }
            Step::WriteBundle { bundle } => {
                if self.store.write_bundle(snapshot, bundle).await? == WriteResult::Written {
                    info!(configuration, "wrote the authorities that the API server trusts the webhook by");
                }
            }
            Step::IssueServing { signer, reason } => {
                let new = issue::issue_serving(now, signer, &self.names)?;
                if self.store.write_serving(snapshot, serving_data(&new, signer)).await?
                    == WriteResult::Written
                {
                    info!(secret = serving_secret, %reason, "made a serving certificate for the webhook");
                }
            }
            Step::WaitUntil(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
