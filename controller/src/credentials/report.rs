//! Results of the credentials that were tried for an image, for the message of a record that can't be pulled.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::pull_secrets::Name;

/// Maximum number of named Secrets. A message is read by people.
const MAX_NAMED: usize = 10;

/// Result of a pull secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SecretResult {
    /// The registry refused the login.
    Refused,
    /// The registry refused the login earlier, and it isn't tried again yet.
    Held,
    /// The registry knows the login, which lacks the right.
    Denied,
    /// The Secret has no login for the image.
    NoLogin,
    /// There is no such Secret.
    Missing,
    /// RBAC doesn't let the controller read it.
    Forbidden,
    /// `usePullSecrets` leaves it out.
    LeftOut,
    /// It isn't a pull secret, or isn't readable.
    Unusable,
}

impl SecretResult {
    fn text(self) -> &'static str {
        match self {
            Self::Refused => "was refused by the registry",
            Self::Held => "was refused earlier and is tried again within hours, or when its content changes",
            Self::Denied => "lacks the right",
            Self::NoLogin => "has no login for this image",
            Self::Missing => "doesn't exist",
            Self::Forbidden => "may not be read by the controller (controller.usePullSecrets)",
            Self::LeftOut => "is left out by controller.usePullSecrets",
            Self::Unusable => "is no pull secret that the kubelet reads",
        }
    }
}

/// Results of all pull secrets of an image's workloads.
///
/// A record is visible to administrators, and an event to the tenants of its namespace. The displayed text therefore
/// names Secrets only if all are of one namespace; [`for_administrators`](Self::for_administrators) names them in any
/// case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CredentialReport {
    secrets: BTreeMap<Name, SecretResult>,
    /// Service accounts that RBAC doesn't let the controller read.
    accounts: BTreeSet<Name>,
    /// Namespaces of the workloads.
    namespaces: usize,
    is_disabled: bool,
}

impl CredentialReport {
    pub(super) fn new(namespaces: usize, is_disabled: bool) -> Self {
        Self { namespaces, is_disabled, ..Self::default() }
    }

    /// Notes a result. Of several logins of a Secret, the one that got furthest counts.
    pub(super) fn note(&mut self, secret: &Name, result: SecretResult) {
        match self.secrets.get_mut(secret) {
            // A login that exists is more than none.
            Some(known) if *known != SecretResult::NoLogin => {
                *known = (*known).max(result.min(SecretResult::Denied));
            }
            Some(known) => *known = result,
            None => drop(self.secrets.insert(secret.clone(), result)),
        }
    }

    /// Notes a service account that RBAC doesn't let the controller read.
    pub(super) fn note_forbidden_account(&mut self, account: &Name) {
        self.accounts.insert(account.clone());
    }

    /// Text with the names of all Secrets.
    pub(crate) fn for_administrators(&self) -> String {
        if self.is_disabled {
            return "pull secrets aren't used (controller.usePullSecrets is false)".to_owned();
        }
        if self.secrets.is_empty() && self.accounts.is_empty() {
            return "neither the pods nor their service accounts name a pull secret".to_owned();
        }
        let secrets = self
            .secrets
            .iter()
            .map(|((namespace, name), result)| format!("Secret {namespace}/{name} {}", result.text()));
        let accounts = self.accounts.iter().map(|(namespace, name)| {
            format!("ServiceAccount {namespace}/{name} {}", SecretResult::Forbidden.text())
        });
        let mut results: Vec<String> = secrets.chain(accounts).collect();
        if let Some(more) = results.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
            results.truncate(MAX_NAMED);
            results.push(format!("{more} more Secrets or service accounts gave no access either"));
        }
        results.join("; ")
    }
}

impl fmt::Display for CredentialReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespaces <= 1 || (self.secrets.is_empty() && self.accounts.is_empty()) {
            return formatter.write_str(&self.for_administrators());
        }
        write!(
            formatter,
            "none of {} pull secrets was accepted; the record of the image names them",
            self.secrets.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str, name: &str) -> Name {
        (namespace.to_owned(), name.to_owned())
    }

    #[test]
    fn secrets_are_named_with_their_results() {
        let mut report = CredentialReport::new(1, false);
        assert_eq!(report.to_string(), "neither the pods nor their service accounts name a pull secret");
        report.note(&name("shop", "a"), SecretResult::Missing);
        report.note(&name("shop", "b"), SecretResult::NoLogin);
        report.note(&name("shop", "c"), SecretResult::NoLogin);
        report.note(&name("shop", "c"), SecretResult::Refused);
        report.note(&name("shop", "c"), SecretResult::Denied);
        report.note(&name("shop", "c"), SecretResult::Held);
        assert_eq!(
            report.to_string(),
            "Secret shop/a doesn't exist; Secret shop/b has no login for this image; Secret shop/c lacks the right"
        );
        for number in 0..MAX_NAMED {
            report.note(&name("shop", &format!("d-{number}")), SecretResult::Missing);
        }
        assert!(
            report.to_string().ends_with("; 3 more Secrets or service accounts gave no access either"),
            "{report}"
        );
        let disabled = CredentialReport::new(1, true).to_string();
        assert!(disabled.contains("controller.usePullSecrets is false"), "{disabled}");
    }

    #[test]
    fn tenants_read_no_names_of_other_tenants() {
        let mut report = CredentialReport::new(2, false);
        report.note(&name("shop", "hush"), SecretResult::Refused);
        report.note(&name("bank", "hush"), SecretResult::Missing);
        let public = report.to_string();
        assert!(public.contains("none of 2 pull secrets") && !public.contains("hush"), "{public}");
        let all = report.for_administrators();
        assert!(all.contains("shop/hush") && all.contains("bank/hush"), "{all}");
    }
}
