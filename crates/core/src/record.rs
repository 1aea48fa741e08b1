//! Conversion record: the cluster's state of one source, as an `ImageConversion` object.
#![expect(clippy::duplicated_attributes, reason = "printer columns share a type")]
#![allow(unreachable_pub, reason = "the derive repeats the spec's visibility in a private scope")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::schema;

mod condition;
mod name;
mod pulls;
mod requests;
#[cfg(test)]
mod tests;

pub use condition::{CONVERTED, HEALTHY, READY, RESOLVED, RecordReason, condition, set_condition};
pub use name::record_name;
pub use pulls::{MIN_COMPARED_PULLS, MeasuredPulls, PullFigures, PullSummary};
pub use requests::Requests;

/// Source to convert. The source of a record never changes.
///
/// Only zstart's controller and cluster administrators may write records: a forged record could point
/// pods at any image.
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
    doc = "State of one container image: the digest that its reference resolves to, and its zstd variant.",
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
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Healthy\")].status"
    ),
    printcolumn(name = "Gzip", type_ = "string", json_path = ".status.summary.sourceSize"),
    printcolumn(name = "Zstd", type_ = "string", json_path = ".status.summary.variantSize"),
    printcolumn(name = "Saved", type_ = "string", json_path = ".status.summary.saved"),
    printcolumn(name = "Took", type_ = "string", json_path = ".status.summary.took"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Gzip Pull",
        type_ = "string",
        json_path = ".status.pulls.summary.original",
        priority = 1
    ),
    printcolumn(
        name = "Zstd Pull",
        type_ = "string",
        json_path = ".status.pulls.summary.variant",
        priority = 1
    ),
    printcolumn(
        name = "Pull Saved",
        type_ = "string",
        json_path = ".status.pulls.summary.saved",
        priority = 1
    ),
    printcolumn(name = "Variant", type_ = "string", json_path = ".status.variant.reference", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ImageConversionSpec {
    /// Normalised source reference: repository and tag, or repository and digest.
    #[x_kube(validation = ("self == oldSelf", "source can't be changed: delete this record and make another"))]
    pub source: Reference,
}

/// Observed state of the source and its variant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageConversionStatus {
    /// Generation of the record that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Result of the last check of the source reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ResolvedSource>,
    /// Platforms that the last complete look took into account: the platforms of the nodes, or those of the
    /// setting. Absent: all platforms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platforms: Option<Vec<Platform>>,
    /// Requests of users that the last complete look has answered. After a restart, the controller answers others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Requests>,
    /// Variant that pods may be rewritten to; absent until a variant was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<Variant>,
    /// Sizes and times in readable form, as `kubectl get` prints them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Pulls of the source and of its variant that kubelets reported. Absent until the first one. The controller
    /// applies this member under a field manager of its own, at most every ten minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulls: Option<MeasuredPulls>,
    /// Conditions: `Resolved`, `Converted`, `Ready`, and `Healthy` while there is a variant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        with = "Vec<schema::Condition>",
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// Resolved source reference.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedSource {
    /// Digest of the manifest or index that the reference resolved to.
    pub digest: Digest,
    /// Time of the request in answer to which the registry last confirmed the digest. A push or a pod
    /// template of the same second or later is newer than the answer. A tag that was checked longer ago than
    /// `maxStaleness` isn't trusted.
    #[schemars(with = "schema::Time")]
    pub checked_at: Time,
    /// The tag can't move: the registry says so, or the setting `records.immutableTags`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub immutable: bool,
}

/// Verified variant.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// Source digest that this variant was made from. The variant is used only while
    /// `status.source.digest` is equal.
    pub source_digest: Digest,
    /// Image reference for pods: `repository:tag@digest`.
    pub reference: Reference,
    /// Conversion settings, as the variant's manifests state them.
    pub settings: String,
    /// Converted platforms. The variant's index lists the source's other platforms unchanged.
    pub platforms: Vec<PlatformVariant>,
    /// Time of the verification.
    #[schemars(with = "schema::Time")]
    pub verified_at: Time,
    /// Duration of the conversion in milliseconds, from a free worker to the verified variant. 0 if
    /// another program made the variant.
    pub duration_milliseconds: i64,
}

/// Converted platform of a variant.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformVariant {
    /// Platform, e.g. `linux/amd64`.
    pub platform: Platform,
    /// Sum of the source's compressed layer sizes, in bytes.
    pub source_bytes: i64,
    /// Sum of the variant's compressed layer sizes, in bytes.
    pub variant_bytes: i64,
    /// Number of layers of the image.
    pub layers: i32,
    /// Number of layers that were encoded as zstd; the others already were zstd.
    pub converted_layers: i32,
}

/// Sizes and times in readable form.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Compressed size of the source's converted platforms.
    pub source_size: String,
    /// Compressed size of the variant's converted platforms.
    pub variant_size: String,
    /// Size reduction from source to variant, in percent.
    pub saved: String,
    /// Duration of the conversion, from a free worker to the verified variant. Empty if another
    /// program made the variant.
    pub took: String,
}
