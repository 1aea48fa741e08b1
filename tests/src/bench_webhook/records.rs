//! Records of a large cluster, as the controller writes them.

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};
use zstart_core::record::record_name;
use zstart_core::variant::ContentHash;
use zstart_core::{Digest, Reference, VariantNames};

/// Registries of ten successive images.
const REGISTRIES: [&str; 10] = [
    "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    "210987654321.dkr.ecr.eu-central-1.amazonaws.com",
    "210987654321.dkr.ecr.eu-central-1.amazonaws.com",
    "ghcr.io",
    "quay.io",
    "docker.io",
    "registry.gitlab.com",
];
/// Teams, each with repositories of its own.
const TEAMS: [&str; 8] = [
    "payments",
    "search",
    "checkout",
    "inventory",
    "recommendations",
    "platform",
    "identity",
    "data-science",
];
/// Tags of a repository.
const TAGS: usize = 10;

/// Reference of the image with this number: 50,000 images are 5,000 repositories with ten tags each.
pub(super) fn source(number: usize) -> String {
    let (repository, tag) = (number / TAGS, number % TAGS);
    let registry = REGISTRIES[repository % REGISTRIES.len()];
    let team = TEAMS[(repository / REGISTRIES.len()) % TEAMS.len()];
    let commit = Digest::sha256_of(number.to_string().as_bytes());
    format!("{registry}/{team}/service-{repository}:2.{tag}.{}-{}", number % 7, &commit.hex()[..7])
}

/// Reference of the variant in the record of `source`.
pub(super) fn variant_of(source: &str) -> Result<String> {
    let reference: Reference = source.parse()?;
    let digest = Digest::sha256_of(format!("variant of {source}").as_bytes());
    let content = ContentHash::of([&digest], "v1;level=3");
    let tag = VariantNames::of(&reference, &source_digest(source)).tag(&content);
    Ok(reference.with_tag_and_digest(tag, digest).to_string())
}

fn source_digest(source: &str) -> Digest {
    Digest::sha256_of(source.as_bytes())
}

/// Ready record that was checked just now. Every second image has the platforms linux/amd64 and linux/arm64,
/// the others have linux/amd64.
pub(super) fn record(number: usize) -> Result<Value> {
    let source = source(number);
    let (digest, variant, now) = (source_digest(&source), variant_of(&source)?, Timestamp::now());
    let architectures: &[&str] = if number.is_multiple_of(2) { &["amd64", "arm64"] } else { &["amd64"] };
    let platforms: Vec<Value> = architectures
        .iter()
        .map(|architecture| {
            json!({
                "platform": format!("linux/{architecture}"), "sourceBytes": 184_549_376 + number,
                "variantBytes": 158_334_976 + number, "layers": 9, "convertedLayers": 9,
            })
        })
        .collect();
    let condition = |name: &str, reason: &str, message: &str| {
        json!({"type": name, "status": "True", "reason": reason, "message": message, "observedGeneration": 1,
            "lastTransitionTime": now})
    };
    Ok(json!({
        "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion",
        "metadata": {"name": record_name(&source.parse()?)},
        "spec": {"source": source},
        "status": {
            "observedGeneration": 1,
            "source": {"digest": digest, "checkedAt": now},
            "variant": {
                "sourceDigest": digest, "reference": variant, "settings": "zstart/3;zstd=1.5.7;level=3",
                "platforms": platforms, "verifiedAt": now, "durationMilliseconds": 5_900,
            },
            "summary": {"sourceSize": "176 MiB", "variantSize": "151 MiB", "saved": "14.2%", "took": "5.9s"},
            "conditions": [
                condition("Resolved", "Resolved", &format!("the source resolves to {digest}")),
                condition("Converted", "Converted", &format!("made {variant}")),
                condition("Ready", "Verified",
                    "every layer equals its diff_id; new pods start from the variant"),
            ],
        },
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use zstart_core::ImageConversion;

    use super::*;

    #[test]
    fn records_are_distinct_and_offer_their_variants() {
        let mut names = BTreeSet::new();
        for number in 0..2_000 {
            let record: ImageConversion = serde_json::from_value(record(number).unwrap()).unwrap();
            let variant = record.status.unwrap().variant.unwrap();
            assert_eq!(variant.reference.to_string(), variant_of(&source(number)).unwrap());
            assert!(names.insert(record.metadata.name), "record {number} has the name of another");
        }
    }
}
