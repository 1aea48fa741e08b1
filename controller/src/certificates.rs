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

use issue::IssueError;
use next_step::Step;
use secret_data::{authority_data, serving_data};
use store::{Cluster, ClusterError, View, Written};

/// The shortest time from one look to the next. Two installations that were given the same Secrets by
/// mistake would otherwise rewrite them as fast as the API server can.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest time without a look, whatever falls due: clocks are set, machines sleep.
const LONGEST_REST: Duration = Duration::from_hours(1);
/// The longest time until it is tried again after an error. It starts at [`PAUSE`] and doubles.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);
/// More steps than one look can need: authority, bundle, serving certificate, and each overtaken twice.
const MOST_STEPS: usize = 9;

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
    Cluster(#[from] ClusterError),
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

/// Keeps the certificates until `shutdown`. Errors of the API server are logged and tried again; it
/// returns an error only for what no waiting mends: names that no certificate can have.
pub async fn keep(
    client: Client,
    settings: CertificateSettings,
    namespace: String,
    shutdown: CancellationToken,
) -> Result<(), CertificateError> {
    let mut changes = watch::changes(&client, &settings, &namespace);
    let keeper = Keeper {
        names: settings.dns_names(&namespace),
        cluster: Cluster::new(client, settings.clone(), namespace),
        settings,
    };
    let mut backoff = PAUSE;
    loop {
        let looked = Instant::now();
        let look = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            look = keeper.look() => look,
        };
        let rest = match look {
            Ok(until) => {
                backoff = PAUSE;
                rest(Timestamp::now(), until)
            }
            Err(error @ CertificateError::Issue(IssueError::Names { .. })) => return Err(error),
            Err(error) => {
                let retry = backoff;
                backoff = (backoff * 2).min(LONGEST_BACKOFF);
                let cause = &error as &dyn std::error::Error;
                warn!(error = cause, ?retry, "failed to keep the webhook's certificates, trying again");
                retry
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = sleep(rest) => {}
            _ = changes.next() => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = sleep_until(looked + PAUSE) => {}
        }
    }
}

/// How long to wait until then, at most [`LONGEST_REST`].
fn rest(now: Timestamp, until: Timestamp) -> Duration {
    // Negative when it is past already.
    Duration::try_from(now.duration_until(until)).unwrap_or(Duration::ZERO).min(LONGEST_REST)
}

struct Keeper {
    cluster: Cluster,
    settings: CertificateSettings,
    names: BTreeSet<String>,
}

impl Keeper {
    /// Looks and mends until there is nothing to do; when something falls due next.
    async fn look(&self) -> Result<Timestamp, CertificateError> {
        for _ in 0..MOST_STEPS {
            let now = Timestamp::now();
            let view = self.cluster.read().await?;
            for error in view.stored.unreadable() {
                warn!(error = error as &dyn std::error::Error, "failed to read the webhook's certificates");
            }
            if view.stored.bundles.as_ref().is_some_and(Vec::is_empty) {
                let CertificateSettings { configuration, service, serving_secret: _, ca_secret: _ } =
                    &self.settings;
                warn!(configuration, service, "no webhook of the configuration is served by our Service");
            }
            match next_step::due(now, &view.stored, &self.names) {
                Step::Rest { until } => return Ok(until),
                step => self.take(step, &view, now).await?,
            }
        }
        Err(CertificateError::Unsettled {
            steps: MOST_STEPS,
            ca_secret: self.settings.ca_secret.clone(),
            serving_secret: self.settings.serving_secret.clone(),
        })
    }

    async fn take(&self, step: Step<'_>, view: &View, now: Timestamp) -> Result<(), CertificateError> {
        let CertificateSettings { configuration, service: _, serving_secret, ca_secret } = &self.settings;
        match step {
            Step::MakeAuthority(reason) => {
                let new = issue::make_authority(now)?;
                let data = authority_data(&new, view.stored.authority.as_ref(), now);
                if self.cluster.write_authority(view, data).await? == Written::Done {
                    info!(secret = ca_secret, %reason, "made a certificate authority for the webhook");
                }
            }
            Step::WriteBundle { bundle } => {
                if self.cluster.write_bundle(view, bundle).await? == Written::Done {
                    info!(configuration, "wrote the authorities that the API server trusts the webhook by");
                }
            }
            Step::MakeServing { signer, reason } => {
                let new = issue::make_serving(now, signer, &self.names)?;
                if self.cluster.write_serving(view, serving_data(&new, signer)).await? == Written::Done {
                    info!(secret = serving_secret, %reason, "made a serving certificate for the webhook");
                }
            }
            Step::Rest { until: _ } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
