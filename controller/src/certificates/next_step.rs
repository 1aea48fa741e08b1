//! What is to be done next about the certificates: decided from what is stored, without a client.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::certificate::Certificate;
use super::issue::BACKDATE;
use super::secret_data::{Authority, SecretDataError, ServingCertificate, Signer};

/// How long a new authority stands in the bundle before something is served that it signed: by then
/// every API server has seen the bundle.
pub const PROPAGATION_DELAY: SignedDuration = SignedDuration::from_mins(10);

/// Everything that a decision is made of.
pub struct CurrentState {
    /// What the webhook configuration trusts; `None` while there is none.
    pub bundles: Option<Vec<WebhookBundle>>,
    /// The serving Secret; `None` while there is none.
    pub serving: Option<Result<ServingCertificate, SecretDataError>>,
    /// The authority's Secret; `None` while there is none.
    pub authority: Option<Authority>,
}

impl CurrentState {
    /// What can't be used of the Secrets, and why.
    pub fn unreadable(&self) -> impl Iterator<Item = &SecretDataError> {
        let authority = self.authority.as_ref().and_then(|authority| authority.signer.as_ref().err());
        authority.into_iter().chain(self.serving.as_ref().and_then(|serving| serving.as_ref().err()))
    }
}

/// What the API server trusts one webhook by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookBundle {
    /// Name of the webhook within its configuration.
    pub webhook: String,
    /// Its `caBundle`; empty where there is none.
    pub bundle: Vec<u8>,
}

/// Why a certificate is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueReason {
    /// There is none.
    Absent,
    /// There is something that can't be used.
    Unreadable,
    /// Its validity begins in the future: whoever made it had a clock that ran fast.
    NotYetValid,
    /// It ended.
    Expired,
    /// Two thirds of its life are over.
    Renewal,
    /// It is for other names.
    Names,
    /// No authority that is trusted signed it.
    Untrusted,
    /// An earlier authority signed it, and the new one is known everywhere by now.
    NewAuthority,
}

impl fmt::Display for IssueReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Absent => "there is none",
            Self::Unreadable => "what is there can't be used",
            Self::NotYetValid => "it isn't valid yet",
            Self::Expired => "it expired",
            Self::Renewal => "two thirds of its life are over",
            Self::Names => "it is for other names",
            Self::Untrusted => "no trusted authority signed it",
            Self::NewAuthority => "there is a new authority",
        })
    }
}

/// The one thing to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Make a new authority.
    IssueAuthority(IssueReason),
    /// Write the bundle into the webhook configuration.
    WriteBundle {
        /// The authorities that are to be trusted, as PEM.
        bundle: String,
    },
    /// Make a new serving certificate.
    IssueServing {
        /// Who signs it.
        signer: &'a Signer,
        /// Why.
        reason: IssueReason,
    },
    /// Nothing, before that time.
    WaitUntil(Timestamp),
}

/// The next step. The order is what keeps the webhook reachable: an authority is trusted before anything
/// is served that it signed.
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
    // An earlier authority leaves the bundle when it ends.
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

/// When every API server has had the time to learn of a new authority.
fn propagated_at(authority: &Certificate) -> Timestamp {
    authority.not_before().saturating_add(BACKDATE + PROPAGATION_DELAY).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
