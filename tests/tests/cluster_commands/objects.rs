//! Objects of a typical cluster.

use anyhow::Result;
use serde_json::{Value, json};
use zstart_core::record::record_name;
use zstart_core::variant::ContentHash;
use zstart_core::{Digest, Reference, VariantNames};
use zstart_tests::objects::node_info;

/// A node with a runtime.
pub(crate) fn node(name: &str, runtime: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}},
        "status": {"nodeInfo": node_info("linux", "amd64", runtime)},
    })
}

/// A pod with one container.
pub(crate) fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "app", "image": image}]},
    })
}

/// A ready record that was checked just now, and the reference of its variant.
pub(crate) fn record(source: &str) -> Result<(Value, String)> {
    let reference: Reference = source.parse()?;
    let (digest, now) = (Digest::sha256_of(source.as_bytes()), jiff::Timestamp::now());
    let variant = Digest::sha256_of(b"variant");
    let tag = VariantNames::of(&reference, &digest).tag(&ContentHash::of([&variant], "v1;level=3"));
    let name = record_name(&reference);
    let written = reference.to_string();
    let variant = reference.with_tag_and_digest(tag, variant).to_string();
    let record = json!({
        "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion", "metadata": {"name": name},
        "spec": {"source": written},
        "status": {
            "source": {"digest": digest, "checkedAt": now},
            "variant": {
                "sourceDigest": digest, "reference": variant, "settings": "v1;level=3",
                "platforms": [{"platform": "linux/amd64", "sourceBytes": 2, "variantBytes": 1, "layers": 1,
                    "convertedLayers": 1}],
                "verifiedAt": now, "durationMilliseconds": 1,
            },
            "conditions": [{"type": "Ready", "status": "True", "reason": "Verified", "message": "",
                "lastTransitionTime": now}],
        },
    });
    Ok((record, variant))
}

/// Definition of Kyverno's policies, without a schema.
pub(crate) fn kyverno() -> Value {
    let any = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusterpolicies.kyverno.io"},
        "spec": {
            "group": "kyverno.io", "scope": "Cluster",
            "names": {"kind": "ClusterPolicy", "plural": "clusterpolicies", "singular": "clusterpolicy"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": any}],
        },
    })
}
