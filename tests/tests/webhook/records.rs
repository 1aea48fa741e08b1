//! Records, pods and nodes of a typical cluster.
#![expect(clippy::unwrap_used, reason = "every text here is the tests' own")]

use serde_json::{Value, json};
use zstart_core::record::record_name;
use zstart_core::variant::ContentHash;
use zstart_core::{Digest, Reference, VariantNames};
use zstart_tests::objects::node_info;

/// The variant that [`record`] reports for `source`.
pub(crate) fn variant_of(source: &str) -> String {
    let reference: Reference = source.parse().unwrap();
    let variant = Digest::sha256_of(b"variant");
    let tag =
        VariantNames::of(&reference, &digest_of(source)).tag(&ContentHash::of([&variant], "v1;level=3"));
    reference.with_tag_and_digest(tag, variant).to_string()
}

fn digest_of(source: &str) -> Digest {
    Digest::sha256_of(source.as_bytes())
}

/// A ready record that was checked just now.
pub(crate) fn record(source: &str) -> Value {
    let reference: Reference = source.parse().unwrap();
    let (digest, now) = (digest_of(source), jiff::Timestamp::now());
    json!({
        "metadata": {"name": record_name(&reference)},
        "spec": {"source": reference.to_string()},
        "status": {
            "source": {"digest": digest, "checkedAt": now},
            "variant": {
                "sourceDigest": digest, "reference": variant_of(source), "settings": "v1;level=3",
                "platforms": [{"platform": "linux/amd64", "sourceBytes": 2, "variantBytes": 1, "layers": 1,
                    "convertedLayers": 1}],
                "verifiedAt": now, "durationMilliseconds": 1,
            },
            "conditions": [{"type": "Ready", "status": "True", "reason": "Verified", "message": "",
                "lastTransitionTime": now}],
        },
    })
}

/// A ready record with one field replaced.
pub(crate) fn record_with(source: &str, pointer: &str, value: Value) -> Value {
    let mut record = record(source);
    *record.pointer_mut(pointer).unwrap() = value;
    record
}

/// A pod with one container.
pub(crate) fn pod(image: &str) -> Value {
    json!({
        "metadata": {"generateName": "app-"},
        "spec": {"containers": [{"name": "app", "image": image}]},
    })
}

/// A node that can start zstd images.
pub(crate) fn node(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}},
        "status": {"nodeInfo": node_info("linux", "amd64", "containerd://2.1.6")},
    })
}
