//! What is to be done next about the certificates: decided from what is stored, without a client.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::certificate::Certificate;
use super::issue::BACKDATE;
use super::secret_data::{Authority, Serving, Signer, StoredError};

/// How long a new authority stands in the bundle before something is served that it signed: by then
/// every API server has seen the bundle.
pub const SETTLE: SignedDuration = SignedDuration::from_mins(10);

/// Everything that a decision is made of.
pub struct Stored {
    /// What the webhook configuration trusts; `None` while there is none.
    pub bundles: Option<Vec<WebhookBundle>>,
    /// The serving Secret; `None` while there is none.
    pub serving: Option<Result<Serving, StoredError>>,
    /// The authority's Secret; `None` while there is none.
    pub authority: Option<Authority>,
}

impl Stored {
    /// What can't be used of the Secrets, and why.
    pub fn unreadable(&self) -> impl Iterator<Item = &StoredError> {
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
pub enum Reason {
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

impl fmt::Display for Reason {
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
    MakeAuthority(Reason),
    /// Write the bundle into the webhook configuration.
    WriteBundle {
        /// The authorities that are to be trusted, as PEM.
        bundle: String,
    },
    /// Make a new serving certificate.
    MakeServing {
        /// Who signs it.
        signer: &'a Signer,
        /// Why.
        reason: Reason,
    },
    /// Nothing, before that time.
    Rest {
        /// When something falls due.
        until: Timestamp,
    },
}

/// The next step. The order is what keeps the webhook reachable: an authority is trusted before anything
/// is served that it signed.
pub fn due<'a>(now: Timestamp, stored: &'a Stored, names: &BTreeSet<String>) -> Step<'a> {
    let Some(authority) = &stored.authority else { return Step::MakeAuthority(Reason::Absent) };
    let Ok(signer) = &authority.signer else { return Step::MakeAuthority(Reason::Unreadable) };
    if let Some(reason) = overdue(now, &signer.certificate) {
        return Step::MakeAuthority(reason);
    }

    let bundle = authority.bundle(now);
    if stored.bundles.iter().flatten().any(|webhook| webhook.bundle != bundle.as_bytes()) {
        return Step::WriteBundle { bundle };
    }

    let make = |reason| Step::MakeServing { signer, reason };
    let Some(serving) = &stored.serving else { return make(Reason::Absent) };
    let Ok(Serving { certificate: serving }) = serving else { return make(Reason::Unreadable) };
    if let Some(reason) = overdue(now, serving) {
        return make(reason);
    }
    if serving.dns_names() != names {
        return make(Reason::Names);
    }
    let mut until = signer.certificate.renewal().min(serving.renewal());
    if !serving.is_signed_by(&signer.certificate) {
        let settled = settled(&signer.certificate);
        if !authority.trusted(now).into_iter().any(|trusted| serving.is_signed_by(trusted)) {
            return make(Reason::Untrusted);
        }
        if now >= settled {
            return make(Reason::NewAuthority);
        }
        until = until.min(settled);
    }
    // An earlier authority leaves the bundle when it ends.
    for trusted in authority.trusted(now) {
        until = until.min(trusted.not_after());
    }
    Step::Rest { until }
}

fn overdue(now: Timestamp, certificate: &Certificate) -> Option<Reason> {
    if now < certificate.not_before() {
        Some(Reason::NotYetValid)
    } else if now >= certificate.not_after() {
        Some(Reason::Expired)
    } else if now >= certificate.renewal() {
        Some(Reason::Renewal)
    } else {
        None
    }
}

/// When every API server has had the time to learn of a new authority.
fn settled(authority: &Certificate) -> Timestamp {
    authority.not_before().saturating_add(BACKDATE + SETTLE).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
