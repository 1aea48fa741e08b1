//! Images of the random pods, their records, and the platforms that sources and variants really have.
#![expect(clippy::unwrap_used, reason = "every text here is the tests' own")]

use serde_json::{Value, json};
use zstart_core::record::record_name;
use zstart_core::variant::ContentHash;
use zstart_core::{Digest, Reference, VariantNames};

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64";
const WINDOWS: &str = "windows/amd64";

/// Image of a random pod.
#[derive(Debug)]
pub(crate) struct Image {
    /// Reference as a pod's author writes it.
    pub(crate) reference: &'static str,
    /// Platforms of the source.
    pub(crate) platforms: &'static [&'static str],
    /// Platforms that the variant has with zstd layers; it lists the others as the source has them. Without
    /// any, no record exists.
    pub(crate) converted: &'static [&'static str],
}

/// The last image has a variant for every node that runs Linux on amd64.
pub(crate) const IMAGES: [Image; 9] = [
    Image { reference: "r.example/unheard-of:v1", platforms: &[AMD64, ARM64], converted: &[] },
    Image { reference: "r.example/multi:v1", platforms: &[AMD64, ARM64], converted: &[AMD64, ARM64] },
    Image { reference: "r.example/half:v1", platforms: &[AMD64, ARM64], converted: &[AMD64] },
    Image { reference: "r.example/other-half:v1", platforms: &[AMD64, ARM64], converted: &[ARM64] },
    Image { reference: "r.example/arm:v1", platforms: &[ARM64], converted: &[ARM64] },
    Image { reference: "r.example/any:v1", platforms: &[AMD64, ARM64, WINDOWS], converted: &[AMD64, ARM64] },
    Image { reference: "team/short:v1", platforms: &[AMD64, ARM64], converted: &[AMD64, ARM64] },
    Image {
        reference: "r.example/pinned@sha256:5ac1ed5ac1ed5ac1ed5ac1ed5ac1ed5ac1ed5ac1ed5ac1ed5ac1ed5ac1ed5ac1",
        platforms: &[AMD64, ARM64],
        converted: &[AMD64, ARM64],
    },
    Image { reference: LAST, platforms: &[AMD64], converted: &[AMD64] },
];

/// Image whose record is created last.
pub(crate) const LAST: &str = "r.example/app:v1";

impl Image {
    /// Image of a reference in a pod, as its author wrote it.
    pub(crate) fn find(reference: &str) -> Option<&'static Self> {
        IMAGES.iter().find(|image| image.reference == reference)
    }

    /// Returns whether a runtime adds a registry of its own choice to the name: CRI-O's `unqualified-search-registries`.
    pub(crate) fn is_short(&self) -> bool {
        !self.reference.split('/').next().unwrap_or_default().contains(['.', ':'])
    }

    /// Digest of the variant, which no other image has.
    pub(crate) fn variant_digest(&self) -> Digest {
        Digest::sha256_of(format!("variant of {}", self.reference).as_bytes())
    }

    /// Ready record that was checked now; `None` if the image has no variant.
    pub(crate) fn record(&self) -> Option<Value> {
        if self.converted.is_empty() {
            return None;
        }
        let reference: Reference = self.reference.parse().unwrap();
        let digest = reference.digest().cloned();
        let digest = digest.unwrap_or_else(|| Digest::sha256_of(self.reference.as_bytes()));
        let content = ContentHash::of([&self.variant_digest()], "v1;level=3");
        let tag = VariantNames::of(&reference, &digest).tag(&content);
        let variant = reference.with_tag_and_digest(tag, self.variant_digest());
        let converted = self.converted.iter().map(|platform| {
            json!({"platform": platform, "sourceBytes": 2_000_000, "variantBytes": 1_000_000, "layers": 1,
                "convertedLayers": 1})
        });
        let now = jiff::Timestamp::now();
        Some(json!({
            "metadata": {"name": record_name(&reference)},
            "spec": {"source": reference.identity().to_string()},
            "status": {
                "source": {"digest": digest, "checkedAt": now},
                "variant": {
                    "sourceDigest": digest, "reference": variant.to_string(), "settings": "v1;level=3",
                    "platforms": converted.collect::<Vec<_>>(), "verifiedAt": now, "durationMilliseconds": 1,
                },
                "conditions": [{"type": "Ready", "status": "True", "reason": "Verified", "message": "",
                    "lastTransitionTime": now}],
            },
        }))
    }
}
