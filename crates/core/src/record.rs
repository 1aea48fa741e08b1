//! The conversion record: the cluster's memory of one source, as an `ImageConversion` object.
#![expect(clippy::duplicated_attributes, reason = "printer columns share a type")]
#![allow(unreachable_pub, reason = "the derive repeats the spec's visibility in a private scope")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::platform::Platform;
use crate::reference::Reference;

mod condition;
mod name;
#[cfg(test)]
mod tests;

pub use condition::{CONVERTED, READY, RESOLVED, RecordReason, condition, set_condition};
pub use name::record_name;

/// What the controller is asked to do: one source, for ever the same.
///
/// Only zstart's controller and cluster administrators may write it: whoever could forge a record
/// could point pods at any image.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "zstart.dev",
    version = "v1alpha1",
    kind = "ImageConversion",
    plural = "imageconversions",
    shortname = "imgconv",
    category = "zstart",
    status = "ImageConversionStatus",
    derive = "PartialEq",
    doc = "What zstart knows of one container image: the digest it means now, and the zstd variant made of it.",
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.source"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Gzip", type_ = "string", json_path = ".status.summary.sourceSize"),
    printcolumn(name = "Zstd", type_ = "string", json_path = ".status.summary.variantSize"),
    printcolumn(name = "Saved", type_ = "string", json_path = ".status.summary.saved"),
    printcolumn(name = "Took", type_ = "string", json_path = ".status.summary.took"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Variant", type_ = "string", json_path = ".status.variant.reference", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct ImageConversionSpec {
    /// The normalised source reference: repository and tag, or repository and digest.
    #[x_kube(validation = ("self == oldSelf", "source can't be changed: delete this record and make another"))]
    pub source: Reference,
}

/// What has been found out and done so far.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageConversionStatus {
    /// The generation of the record that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the source reference meant when it was last looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ResolvedSource>,
    /// The variant that pods may be pointed at; absent until one was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<Variant>,
    /// The same numbers for people, as `kubectl get` prints them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// `Resolved`, `Converted` and `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A source reference, looked up.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedSource {
    /// The digest of the manifest or index that the reference meant.
    pub digest: Digest,
    /// When that was last seen to be so. A tag older than `maxStaleness` isn't trusted.
    pub checked_at: Time,
}

/// A finished, verified variant.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// The source digest that this variant was made of. It serves only while
    /// [`ResolvedSource::digest`] is the same.
    pub source_digest: Digest,
    /// `repository:tag@digest`, ready to stand in a pod.
    pub reference: Reference,
    /// The settings it was made with, as its manifests say it.
    pub settings: String,
    /// What was converted, one entry a platform. Other platforms are listed in the variant's index
    /// as they were in the source's.
    pub platforms: Vec<PlatformVariant>,
    /// When it was verified.
    pub verified_at: Time,
    /// How long making the variant took, in milliseconds: from when a worker was free until the
    /// variant was verified. 0 where somebody else made it.
    pub duration_milliseconds: i64,
}

/// One platform of a variant.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformVariant {
    /// E.g. `linux/amd64`.
    pub platform: Platform,
    /// Sum of the source's compressed layers, in bytes.
    pub source_bytes: i64,
    /// Sum of the variant's compressed layers, in bytes.
    pub variant_bytes: i64,
    /// How many layers the image has.
    pub layers: i32,
    /// How many of them were encoded anew; the others already were zstd.
    pub converted_layers: i32,
}

/// Sizes and times as people read them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Compressed size of the source's converted platforms.
    pub source_size: String,
    /// Compressed size of the variant's.
    pub variant_size: String,
    /// How much smaller that is.
    pub saved: String,
    /// How long making the variant took, from when a worker was free until it was verified. Empty
    /// where somebody else made it.
    pub took: String,
}
