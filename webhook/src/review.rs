//! `AdmissionReview` v1 and v1beta1, limited to the fields that the webhook reads and writes.
//!
//! An API server sends the first version that the webhook configuration lists and that it knows, and decodes
//! the response as the same version (`CreateAdmissionObjects` in k8s.io/apiserver). The chart lists v1. The two
//! versions have equal fields, so a configuration that lists v1beta1 works as well.
//!
//! The types are zstart's own instead of kube's. They hold only the fields that decide, so that no review is
//! refused for an irrelevant field.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

pub(crate) mod pod;
#[cfg(test)]
mod tests;

const KIND: &str = "AdmissionReview";

/// Version of an `AdmissionReview`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum ReviewVersion {
    /// `admission.k8s.io/v1`
    #[default]
    #[serde(rename = "admission.k8s.io/v1")]
    V1,
    /// `admission.k8s.io/v1beta1`, for old webhook configurations.
    #[serde(rename = "admission.k8s.io/v1beta1")]
    V1Beta1,
}

impl ReviewVersion {
    fn from_api_version(text: &str) -> Option<Self> {
        match text {
            "admission.k8s.io/v1" => Some(Self::V1),
            "admission.k8s.io/v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }
}

/// Request of an `AdmissionReview`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewRequest {
    /// Version of the review. The response has the same version.
    #[serde(skip)]
    pub version: ReviewVersion,
    /// Identifier of the review. The response repeats the identifier.
    pub uid: String,
    /// Type of the object under review.
    pub resource: Resource,
    /// Subresource, e.g. `ephemeralcontainers`.
    #[serde(default)]
    pub sub_resource: Option<String>,
    /// Namespace of the object. The object's own metadata may lack the namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Name of the object; empty if the API server generates the name.
    #[serde(default)]
    pub name: String,
    /// The operation under review.
    pub operation: Operation,
    /// Object to be stored, unparsed: many reviews need no part of the object, and parsed values would
    /// take many times its size.
    #[serde(default)]
    pub object: Option<Box<RawValue>>,
    /// Stored object, for an update.
    #[serde(default)]
    pub old_object: Option<Box<RawValue>>,
    /// The API server will store no result of this request.
    #[serde(default)]
    pub dry_run: bool,
}

/// The operation under review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Operation {
    /// `CREATE`
    Create,
    /// `UPDATE`
    Update,
    /// `DELETE`, `CONNECT`, and the operations of a newer Kubernetes.
    Other,
}

impl From<String> for Operation {
    fn from(text: String) -> Self {
        match text.as_str() {
            "CREATE" => Self::Create,
            "UPDATE" => Self::Update,
            _ => Self::Other,
        }
    }
}

/// Type of an object, as URLs name it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Resource {
    /// API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// API version, e.g. `v1`.
    pub version: String,
    /// Plural name, e.g. `pods`.
    pub resource: String,
}

/// Response of an `AdmissionReview`. Every response admits the object.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewResponse {
    #[serde(skip)]
    version: ReviewVersion,
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Error for a request that isn't a review.
#[derive(Debug, Error)]
pub enum ReviewError {
    /// The body isn't JSON, or a field that decides is missing or has another type.
    #[error("failed to parse an AdmissionReview")]
    Parse {
        /// Position and cause.
        source: serde_json::Error,
    },
    /// The object has another kind or version.
    #[error(
        "failed to parse an AdmissionReview: the object is {kind:?} of {api_version:?}, \
         not {KIND:?} of \"admission.k8s.io/v1\" or \"admission.k8s.io/v1beta1\""
    )]
    Type {
        /// API version of the object.
        api_version: String,
        /// Kind of the object.
        kind: String,
    },
    /// The review has no request.
    #[error("failed to parse an AdmissionReview: the review has no request")]
    Empty,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IncomingReview {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    request: Option<ReviewRequest>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutgoingReview<'a> {
    api_version: ReviewVersion,
    kind: &'static str,
    response: &'a ReviewResponse,
}

impl ReviewRequest {
    /// Parses an `AdmissionReview` and returns its request.
    pub fn parse(body: &[u8]) -> Result<Self, ReviewError> {
        let IncomingReview { api_version, kind, request } =
            serde_json::from_slice(body).map_err(|source| ReviewError::Parse { source })?;
        match ReviewVersion::from_api_version(&api_version) {
            Some(version) if kind == KIND => Ok(Self { version, ..request.ok_or(ReviewError::Empty)? }),
            _ => Err(ReviewError::Type { api_version, kind }),
        }
    }
}

impl ReviewResponse {
    /// Admits the object unchanged.
    pub fn admit(uid: String, version: ReviewVersion) -> Self {
        Self { uid, version, allowed: true, ..Self::default() }
    }

    /// Adds a patch of the object.
    #[must_use]
    pub fn with_patch(self, patch: &Patch) -> Self {
        // A patch consists of strings and numbers, so its serialization never fails.
        let Ok(text) = serde_json::to_vec(patch) else { return self };
        Self { patch_type: Some("JSONPatch"), patch: Some(STANDARD.encode(text)), ..self }
    }

    /// Adds an annotation to the API server's audit log. The API server prefixes the key with the webhook's
    /// name.
    #[must_use]
    pub fn with_audit_annotation(mut self, key: &'static str, value: String) -> Self {
        self.audit_annotations.insert(key, value);
        self
    }

    /// Adds warnings, which the API server passes to its client. Clients cut a warning after 256 characters.
    #[must_use]
    pub fn with_warnings(self, warnings: Vec<String>) -> Self {
        Self { warnings, ..self }
    }

    /// Serializes the `AdmissionReview` that carries this response.
    pub fn to_review(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&OutgoingReview { api_version: self.version, kind: KIND, response: self })
    }
}
