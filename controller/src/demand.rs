//! Which images the cluster wants, and who wants them: the memory behind the watches.
//!
//! A synchronous state machine. Watches tell it of objects and namespaces; it answers which sources
//! are wanted now. It knows no API server.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::ObjectReference;
use zstart_core::{Platform, Reference, variant};

mod shared;
#[cfg(test)]
mod tests;
mod workload;

pub use shared::SharedDemand;
pub use workload::Workload;

/// Kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the Kubernetes kind of that name")]
pub enum Kind {
    Pod,
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
}

/// An object that runs images, or makes pods that do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What an object wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requirements {
    /// The normalised sources, each once. Variants are left out.
    pub sources: BTreeSet<Reference>,
    /// Names of the pull secrets that its pods have.
    pub pull_secrets: BTreeSet<String>,
    /// Name of the service account, whose own pull secrets count too.
    pub service_account: String,
    /// The object to put events on; `None` where another object speaks for it.
    pub event_target: Option<ObjectReference>,
}

/// One who wants a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// Where.
    pub namespace: String,
    /// With which pull secrets.
    pub pull_secrets: BTreeSet<String>,
    /// As which service account.
    pub service_account: String,
    /// The object to put events on.
    pub event_target: Option<ObjectReference>,
}

/// Whether another answer may be given than before. A pod's heartbeat changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Changed(pub bool);

/// Everything that is known.
#[derive(Debug, Default)]
pub struct Demand {
    enabled: BTreeSet<String>,
    objects: HashMap<Key, Requirements>,
    nodes: BTreeMap<String, Platform>,
}

impl Demand {
    /// A namespace appeared or changed; `enabled` says whether its images are wanted.
    pub fn namespace(&mut self, name: &str, enabled: bool) -> Changed {
        Changed(if enabled { self.enabled.insert(name.to_owned()) } else { self.enabled.remove(name) })
    }

    /// An object appeared or changed. Those that want nothing aren't kept.
    pub fn apply(&mut self, key: Key, requirements: Requirements) -> Changed {
        if requirements.sources.is_empty() {
            return self.delete(&key);
        }
        let is_enabled = self.enabled.contains(&key.namespace);
        let is_new = self.objects.get(&key) != Some(&requirements);
        self.objects.insert(key, requirements);
        Changed(is_enabled && is_new)
    }

    /// An object went.
    pub fn delete(&mut self, key: &Key) -> Changed {
        let is_gone = self.objects.remove(key).is_some();
        Changed(is_gone && self.enabled.contains(&key.namespace))
    }

    /// A watch started anew: of its kind, only these objects exist.
    pub fn keep_only(&mut self, kind: Kind, existing: &BTreeSet<Key>) -> Changed {
        let before = self.objects.len();
        self.objects.retain(|key, _| key.kind != kind || existing.contains(key));
        Changed(self.objects.len() != before)
    }

    /// Of all namespaces, only these exist.
    pub fn keep_only_namespaces(&mut self, existing: &BTreeSet<String>) -> Changed {
        let before = self.enabled.len();
        self.enabled.retain(|name| existing.contains(name));
        Changed(self.enabled.len() != before)
    }

    /// A node appeared or changed.
    pub fn node(&mut self, name: &str, platform: Option<Platform>) -> Changed {
        let is_new = self.nodes.get(name) != platform.as_ref();
        match platform {
            Some(platform) => self.nodes.insert(name.to_owned(), platform),
            None => self.nodes.remove(name),
        };
        Changed(is_new)
    }

    /// Of all nodes, only these exist.
    pub fn keep_only_nodes(&mut self, existing: &BTreeSet<String>) -> Changed {
        let before = self.nodes.len();
        self.nodes.retain(|name, _| existing.contains(name));
        Changed(self.nodes.len() != before)
    }

    /// The platforms that nodes have.
    pub fn platforms(&self) -> BTreeSet<Platform> {
        self.nodes.values().cloned().collect()
    }

    /// The sources that somebody in an opted-in namespace wants.
    pub fn sources(&self) -> BTreeSet<Reference> {
        self.enabled().flat_map(|(_, requirements)| requirements.sources.iter().cloned()).collect()
    }

    /// Who wants a source, in a fixed order.
    pub fn consumers(&self, source: &Reference) -> Vec<Consumer> {
        let mut found: Vec<(&Key, &Requirements)> =
            self.enabled().filter(|(_, requirements)| requirements.sources.contains(source)).collect();
        found.sort_by_key(|(key, _)| *key);
        let consumer = |(key, requirements): (&Key, &Requirements)| Consumer {
            namespace: key.namespace.clone(),
            pull_secrets: requirements.pull_secrets.clone(),
            service_account: requirements.service_account.clone(),
            event_target: requirements.event_target.clone(),
        };
        found.into_iter().map(consumer).collect()
    }

    fn enabled(&self) -> impl Iterator<Item = (&Key, &Requirements)> {
        self.objects.iter().filter(|(key, _)| self.enabled.contains(&key.namespace))
    }
}

/// The source that an image text names: normalised, without what doesn't count, and not a variant.
fn source_of(image: &str) -> Option<Reference> {
    let reference: Reference = match image.parse() {
        Ok(reference) => reference,
        Err(error) => {
            tracing::debug!(image, %error, "ignoring an image that is not a reference");
            return None;
        }
    };
    variant::require_source(&reference).is_ok().then(|| reference.identity())
}
