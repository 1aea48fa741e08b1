//! Pull secrets that the controller may read, by the setting `usePullSecrets`.

use std::collections::BTreeSet;

/// Pull secrets that the controller asks the API server for. The API server's RBAC may allow fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSecretAccess {
    /// Pull secrets are used. Default: true.
    pub is_enabled: bool,
    /// Names of the Secrets that are used; empty for all names. Default: all.
    pub names: BTreeSet<String>,
    /// Namespaces whose Secrets are used; empty for all namespaces. Default: all.
    pub namespaces: BTreeSet<String>,
}

impl Default for PullSecretAccess {
    fn default() -> Self {
        Self { is_enabled: true, names: BTreeSet::new(), namespaces: BTreeSet::new() }
    }
}

impl PullSecretAccess {
    /// Returns whether pull secrets of a namespace are used.
    pub(super) fn allows_namespace(&self, namespace: &str) -> bool {
        self.is_enabled && (self.namespaces.is_empty() || self.namespaces.contains(namespace))
    }

    /// Returns whether a Secret of this name is used, in a namespace that is.
    pub(super) fn allows_name(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.contains(name)
    }
}
