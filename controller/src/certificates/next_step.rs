//! Decides the next step of a rotation from the stored objects. Pure.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::certificate::Certificate;
use super::issue::BACKDATE;
use super::secret_data::{Authority, SecretDataError, ServingCertificate};
use super::signer::Signer;

/// Delay from a new authority in the bundle to the first serving certificate that it signs. Every API
/// server has the new bundle by then.
pub const PROPAGATION_DELAY: SignedDuration = SignedDuration::from_mins(10);

/// The stored objects.
pub struct CurrentState {
    /// Bundles of the webhook configuration; `None` if the configuration is missing.
    pub bundles: Option<Vec<WebhookBundle>>,
    /// Content of the serving Secret; `None` if the Secret is missing.
    pub serving: Option<Result<ServingCertificate, SecretDataError>>,
    /// Content of the authority's Secret; `None` if the Secret is missing.
    pub authority: Option<Authority>,
}

impl CurrentState {
    /// Defects of the Secrets.
    pub fn unreadable(&self) -> impl Iterator<Item = &SecretDataError> {
        let authority = self.authority.as_ref().and_then(|authority| authority.signer.as_ref().err());
        authority.into_iter().chain(self.serving.as_ref().and_then(|serving| serving.as_ref().err()))
    }
}

/// Authorities that the API server trusts for one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookBundle {
    /// Name of the webhook in the configuration.
    pub webhook: String,
    /// `caBundle` of the webhook; empty if missing.
    pub bundle: Vec<u8>,
}

/// Cause of issuing a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueReason {
    /// The Secret is missing.
    Absent,
    /// The Secret's content is unusable.
    Unreadable,
    /// The validity starts in the future: the issuer's clock was fast.
    NotYetValid,
    /// The validity has ended.
    Expired,
    /// Two thirds of the lifetime have passed.
    Renewal,
    /// The certificate has other DNS names.
    Names,
    /// No trusted authority signed the certificate.
    Untrusted,
    /// An earlier authority signed the certificate, and every API server has the new one.
    NewAuthority,
}

impl fmt::Display for IssueReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Absent => "the Secret is missing",
            Self::Unreadable => "the Secret is unusable",
            Self::NotYetValid => "the certificate is not valid yet",
            Self::Expired => "the certificate expired",
            Self::Renewal => "two thirds of the lifetime have passed",
            Self::Names => "the certificate has other DNS names",
            Self::Untrusted => "no trusted authority signed the certificate",
            Self::NewAuthority => "a new authority is trusted",
        })
    }
}

/// The next step.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Issue a new authority.
    IssueAuthority(IssueReason),
    /// Write the bundle into the webhook configuration.
    WriteBundle {
        /// Authorities to trust, as PEM.
        bundle: String,
    },
    /// Issue a new serving certificate.
    IssueServing {
        /// Authority that signs the certificate.
        signer: &'a Signer,
        /// Cause.
        reason: IssueReason,
    },
    /// Wait: nothing is due before this time.
    WaitUntil(Timestamp),
}

/// Decides the next step. The order keeps the webhook reachable: an authority is trusted before the webhook
/// serves a certificate that it signed.
pub fn next_step<'a>(now: Timestamp, state: &'a CurrentState, names: &BTreeSet<String>) -> Step<'a> {
    let Some(authority) = &state.authority else { return Step::IssueAuthority(IssueReason::Absent) };
    let Ok(signer) = &authority.signer else { return Step::IssueAuthority(IssueReason::Unreadable) };
    if let Some(reason) = renewal_reason(now, &signer.certificate) {
        return Step::IssueAuthority(reason);
    }

    let bundle = authority.bundle(now);
    if state.bundles.iter().flatten().any(|webhook| webhook.bundle != bundle.as_bytes()) {
        return Step::WriteBundle { bundle };
    }

    let make = |reason| Step::IssueServing { signer, reason };
    let Some(serving) = &state.serving else { return make(IssueReason::Absent) };
    let Ok(ServingCertificate { certificate: serving }) = serving else {
        return make(IssueReason::Unreadable);
    };
    if let Some(reason) = renewal_reason(now, serving) {
        return make(reason);
    }
    if serving.dns_names() != names {
        return make(IssueReason::Names);
    }
    let mut until = signer.certificate.renewal().min(serving.renewal());
    if !serving.is_signed_by(&signer.certificate) {
        let propagated_at = propagated_at(&signer.certificate);
        if !authority.trusted(now).into_iter().any(|trusted| serving.is_signed_by(trusted)) {
            return make(IssueReason::Untrusted);
        }
        if now >= propagated_at {
            return make(IssueReason::NewAuthority);
        }
        until = until.min(propagated_at);
    }
    // An expired authority must leave the bundle.
    for trusted in authority.trusted(now) {
        until = until.min(trusted.not_after());
    }
    Step::WaitUntil(until)
}

fn renewal_reason(now: Timestamp, certificate: &Certificate) -> Option<IssueReason> {
    if now < certificate.not_before() {
        Some(IssueReason::NotYetValid)
    } else if now >= certificate.not_after() {
        Some(IssueReason::Expired)
    } else if now >= certificate.renewal() {
        Some(IssueReason::Renewal)
    } else {
        None
    }
}

/// Time at which every API server has a new authority.
fn propagated_at(authority: &Certificate) -> Timestamp {
    authority.not_before().saturating_add(BACKDATE + PROPAGATION_DELAY).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
