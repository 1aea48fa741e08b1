//! Changes of a test in Kubernetes' database, and the way back.

use std::collections::BTreeMap;

/// Keys that the API server writes by itself, also some time after its start. Definitions of a test, for which it adds
/// API services, are found by their own keys.
const OWN: [&str; 4] = [
    "/registry/apiregistration.k8s.io/",
    "/registry/leases/kube-system/apiserver-",
    "/registry/masterleases/",
    "/registry/ranges/",
];
/// Keys that change how the API server treats other objects, a moment after the write. Those that a test removed itself
/// are not seen: nothing of them is left but that moment.
const RULES: [&str; 11] = [
    "/registry/apiextensions.k8s.io/",
    "/registry/ingressclasses/",
    "/registry/limitranges/",
    "/registry/mutatingadmissionpolic",
    "/registry/mutatingwebhookconfigurations/",
    "/registry/priorityclasses/",
    "/registry/resourcequotas/",
    "/registry/runtimeclasses/",
    "/registry/storageclasses/",
    "/registry/validatingadmissionpolic",
    "/registry/validatingwebhookconfigurations/",
];

/// Values by key, in base64, as etcd's gateway sends them.
pub(super) type Entries = BTreeMap<String, String>;

/// Writes that bring a database back to what it was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Restoration {
    pub(super) delete: Vec<String>,
    pub(super) put: Vec<(String, String)>,
}

impl Restoration {
    /// The writes that lead from `now` to `before`, except for what the API server writes by itself.
    pub(super) fn of(before: &Entries, now: &Entries) -> Self {
        let added = now.keys().filter(|key| !before.contains_key(*key) && !is_any(key, &OWN));
        let lost = before.iter().filter(|(key, value)| now.get(*key) != Some(value) && !is_any(key, &OWN));
        Self {
            delete: added.cloned().collect(),
            put: lost.map(|(key, value)| (key.clone(), value.clone())).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.put.is_empty()
    }

    /// A key because of which the API server might treat other objects by what was there before.
    pub(super) fn changed_rule(&self) -> Option<&str> {
        let mut keys = self.delete.iter().chain(self.put.iter().map(|(key, _)| key));
        keys.find(|key| is_any(key, &RULES)).map(String::as_str)
    }
}

fn is_any(key: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| key.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "/registry/pods/on/web";
    const NAMESPACE: &str = "/registry/namespaces/default";
    const LEASE: &str = "/registry/masterleases/10.0.0.1";
    const WEBHOOK: &str = "/registry/validatingwebhookconfigurations/strict";

    fn entries(all: &[(&str, &str)]) -> Entries {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn added_key_is_deleted_and_a_lost_or_changed_one_returns() {
        let before = entries(&[(NAMESPACE, "1"), ("/registry/roles/a", "2"), (LEASE, "3")]);
        let now = entries(&[(NAMESPACE, "changed"), (POD, "4"), (LEASE, "5")]);
        let restoration = Restoration::of(&before, &now);
        assert_eq!(restoration.delete, [POD]);
        let put = [(NAMESPACE, "1"), ("/registry/roles/a", "2")];
        assert_eq!(restoration.put, put.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(!restoration.is_empty() && restoration.changed_rule().is_none());
        assert!(Restoration::of(&before, &before).is_empty());
    }

    #[test]
    fn webhook_of_a_test_changes_the_rules() {
        let with = entries(&[(WEBHOOK, "1")]);
        assert_eq!(Restoration::of(&Entries::new(), &with).changed_rule(), Some(WEBHOOK));
        assert_eq!(Restoration::of(&with, &Entries::new()).changed_rule(), Some(WEBHOOK));
    }
}
