//! Issues, renews and publishes the webhook's certificates without manual steps. The chart disables the
//! rotation if cert-manager or an administrator issues them (`webhook.certificate.mode`).
//!
//! The controller stores an authority (10 years) in one Secret that only the controller can read, and a
//! serving certificate (90 days) in another Secret that the webhook watches. Each certificate is renewed
//! when two thirds of its lifetime have passed. `caBundle` in the webhook configuration holds the current
//! authority and each earlier one until it expires.
//!
//! - [`next_step`]: decides the next step from the stored objects. Pure.
//! - [`certificate`], [`secret_data`]: parse the stored objects.
//! - [`issue`]: issues certificates.
//! - [`store`]: reads and writes the objects, with optimistic locking between controllers.
//! - `watch`: reports changes of the objects.
//!
//! To replace a leaked authority, delete its Secret: the controller issues a new authority at once and
//! removes the old one from `caBundle`.

pub mod certificate;
pub mod issue;
pub mod next_step;
pub mod secret_data;
pub mod signer;
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

/// Minimum interval between rotations. Without it, two installations that share the Secrets by mistake
/// would rewrite them as fast as the API server allows.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum wait for the next renewal: clocks are set, machines sleep.
const MAX_WAIT: Duration = Duration::from_hours(1);
/// Maximum delay of a retry after an error. The backoff starts at [`MIN_INTERVAL`] and doubles.
const MAX_BACKOFF: Duration = Duration::from_mins(1);
/// Maximum steps of one rotation: authority, bundle and serving certificate, each with two conflicts.
const MAX_STEPS: usize = 9;

/// The `webhook` section of the controller's configuration file: names of the objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CertificateSettings {
    /// Name of the `MutatingWebhookConfiguration` whose `caBundle` is written. Default: `zstart`.
    pub configuration: String,
    /// Name of the webhook's Service in zstart's namespace. Default: `zstart-webhook`.
    pub service: String,
    /// Name of the Secret with the serving certificate. Default: `zstart-webhook-tls`.
    pub serving_secret: String,
    /// Name of the Secret with the authority. Default: `zstart-webhook-ca`.
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
    /// DNS names of the serving certificate: those that the API server calls.
    pub fn dns_names(&self, namespace: &str) -> BTreeSet<String> {
        let service = &self.service;
        let short = format!("{service}.{namespace}.svc");
        BTreeSet::from([format!("{short}.cluster.local"), short])
    }
}

/// Error of a rotation.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The API server rejected a request.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A certificate can't be issued.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The rotation found a next step after every step.
    #[error(
        "rotating the webhook's certificates is not finished after {steps} steps: check whether another \
         installation writes the Secrets {ca_secret} and {serving_secret}"
    )]
    Unsettled {
        /// Number of steps.
        steps: usize,
        /// Name of the authority's Secret.
        ca_secret: String,
        /// Name of the serving Secret.
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

/// Time until `until`, at most [`MAX_WAIT`].
fn wait_time(now: Timestamp, until: Timestamp) -> Duration {
    // Negative if `until` is in the past.
    Duration::try_from(now.duration_until(until)).unwrap_or(Duration::ZERO).min(MAX_WAIT)
}

struct Rotator {
    store: CertificateStore,
    settings: CertificateSettings,
    names: BTreeSet<String>,
}

impl Rotator {
    /// Takes steps until none is left. Returns the time of the next renewal.
    async fn rotate(&self) -> Result<Timestamp, CertificateError> {
        for _ in 0..MAX_STEPS {
            let now = Timestamp::now();
            let snapshot = self.store.read().await?;
            for error in snapshot.state.unreadable() {
                warn!(
                    error = error as &dyn std::error::Error,
                    "a Secret of the webhook's certificates is unusable, replacing it"
                );
            }
            if snapshot.state.bundles.as_ref().is_some_and(Vec::is_empty) {
                let CertificateSettings { configuration, service, serving_secret: _, ca_secret: _ } =
                    &self.settings;
                warn!(configuration, service, "no webhook of the configuration names the Service");
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
                    info!(secret = ca_secret, %reason, "issued a certificate authority for the webhook");
                }
            }
            Step::WriteBundle { bundle } => {
                if self.store.write_bundle(snapshot, bundle).await? == WriteResult::Written {
                    info!(configuration, "updated caBundle");
                }
            }
            Step::IssueServing { signer, reason } => {
                let new = issue::issue_serving(now, signer, &self.names)?;
                if self.store.write_serving(snapshot, serving_data(&new, signer)).await?
                    == WriteResult::Written
                {
                    info!(secret = serving_secret, %reason, "issued a serving certificate for the webhook");
                }
            }
            Step::WaitUntil(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
