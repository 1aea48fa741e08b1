//! In-memory cluster for tests: a snapshot that is filled by watch events.

// Only tests use this module: wrong input is the test's own mistake.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zstart_core::record::record_name;
use zstart_core::variant::ContentHash;
use zstart_core::{Digest, FreshnessSweep, Reference, VariantNames};
use zstart_process::watch::Heard;

use crate::config::{Config, Policy};
use crate::decision::{Context, Decision, decide, images};
use crate::snapshot::Snapshot;
use crate::snapshot::watch::CacheAges;

/// Time at which every record was checked.
const NOON: &str = "2026-11-23T12:00:00Z";

/// Ages of caches that were never heard, and so are never stale.
pub fn ages() -> Arc<CacheAges> {
    Arc::new(CacheAges::new(Heard::default()))
}

/// Cluster with the namespaces `on` and `audit`, and the objects that a test adds.
pub struct Cluster {
    /// State that the events of a test made.
    pub snapshot: Snapshot,
    /// Settings; the defaults until a test changes them.
    pub policy: Policy,
    /// Time of every decision.
    pub now: Timestamp,
}

/// Parses an object.
pub fn parse<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Parses a pod.
pub fn pod(value: Value) -> Pod {
    parse(value)
}

/// Pod with one container.
pub fn pod_of(image: &str) -> Pod {
    pod(
        json!({"metadata": {"generateName": "app-"}, "spec": {"containers": [{"name": "app", "image": image}]}}),
    )
}

fn source_digest(source: &str) -> Digest {
    let reference: Reference = source.parse().unwrap();
    reference.digest().cloned().unwrap_or_else(|| Digest::sha256_of(source.as_bytes()))
}

/// Reference of the variant in the [`record`] of `source`.
pub fn variant_of(source: &str) -> String {
    let reference: Reference = source.parse().unwrap();
    let variant = Digest::sha256_of(b"variant");
    let content = ContentHash::of([&variant], "v1;level=3");
    let tag = VariantNames::of(&reference, &source_digest(source)).tag(&content);
    reference.with_tag_and_digest(tag, variant).to_string()
}

/// Ready record for `linux/amd64`.
pub fn record(source: &str) -> Value {
    let reference: Reference = source.parse().unwrap();
    let digest = source_digest(source);
    json!({
        "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion",
        "metadata": {"name": record_name(&reference)},
        "spec": {"source": reference.identity().to_string()},
        "status": {
            "source": {"digest": digest, "checkedAt": NOON},
            "variant": {
                "sourceDigest": digest, "reference": variant_of(source), "settings": "v1;level=3",
                "platforms": [{"platform": "linux/amd64", "sourceBytes": 2, "variantBytes": 1, "layers": 1,
                    "convertedLayers": 1}],
                "verifiedAt": NOON, "durationMilliseconds": 1,
            },
            "conditions": [{"type": "Ready", "status": "True", "reason": "Verified", "message": "",
                "lastTransitionTime": NOON}],
        },
    })
}

/// Node that can start zstd images.
pub fn node(name: &str, architecture: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/arch": architecture, "kubernetes.io/os": "linux",
        }},
        "status": {"nodeInfo": {
            "architecture": architecture, "operatingSystem": "linux",
            "containerRuntimeVersion": "containerd://2.1.6", "bootID": "", "kernelVersion": "",
            "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "osImage": "", "systemUUID": "",
        }},
    })
}

impl Cluster {
    /// Cluster without records and nodes.
    pub fn empty() -> Self {
        let snapshot = Snapshot::default();
        let list = |modes: [(&str, &str); 2]| {
            snapshot.apply_namespace(Event::Init);
            for (name, value) in modes {
                let namespace = json!({"metadata": {"name": name, "labels": {"zstart.dev/rewrite": value}}});
                let namespace: PartialObjectMeta<Namespace> = parse(namespace);
                snapshot.apply_namespace(Event::InitApply(namespace));
            }
            snapshot.apply_namespace(Event::InitDone);
        };
        list([("on", "enabled"), ("audit", "audit")]);
        for done in [Event::Init, Event::InitDone] {
            snapshot.apply_record(done);
        }
        snapshot.apply_sweep(Event::InitDone);
        for done in [Event::Init, Event::InitDone] {
            snapshot.apply_node(done);
        }
        snapshot.apply_replica_set(Event::InitDone);
        snapshot.apply_revision(Event::InitDone);
        snapshot.apply_hold(Event::InitDone);
        let policy = Config::parse(std::path::Path::new("config.yaml"), "").unwrap().policy;
        Self { snapshot, policy, now: NOON.parse().unwrap() }
    }

    /// Cluster with one amd64 node and a ready record of each source.
    pub fn with_records(sources: &[&str]) -> Self {
        let cluster = Self::empty().with_node(node("a", "amd64"));
        sources.iter().fold(cluster, |cluster, source| cluster.with_record(record(source)))
    }

    /// Adds or replaces a record.
    #[must_use]
    pub fn with_record(self, record: Value) -> Self {
        self.snapshot.apply_record(Event::Apply(parse(record)));
        self
    }

    /// Adds or replaces the sweep.
    #[must_use]
    pub fn with_sweep(self, sweep: FreshnessSweep) -> Self {
        self.snapshot.apply_sweep(Event::Apply(DeserializeGuard(Ok(sweep))));
        self
    }

    /// Adds or replaces a node.
    #[must_use]
    pub fn with_node(self, node: Value) -> Self {
        self.snapshot.apply_node(Event::Apply(parse(node)));
        self
    }

    /// Input of a decision.
    pub fn context(&self) -> Context<'_> {
        Context { snapshot: &self.snapshot, policy: &self.policy, now: self.now, stale_cache: None }
    }

    /// Returns the decisions about every image of the pod in the namespace `on`.
    pub fn decide(&self, pod: &Pod) -> Vec<Decision> {
        self.decide_in("on", pod)
    }

    /// Returns the decisions about every image of the pod in `namespace`.
    pub fn decide_in(&self, namespace: &str, pod: &Pod) -> Vec<Decision> {
        decide(pod, namespace, images(pod), &self.context()).images
    }
}
