//! `AdmissionReview` v1, limited to the fields that the webhook reads and writes.
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

#[cfg(test)]
mod tests;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// Request of an `AdmissionReview`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewRequest {
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
         not {KIND:?} of {API_VERSION:?}"
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
    api_version: &'static str,
    kind: &'static str,
    response: &'a ReviewResponse,
}

impl ReviewRequest {
    /// Parses an `AdmissionReview` and returns its request.
    pub fn parse(body: &[u8]) -> Result<Self, ReviewError> {
        let IncomingReview { api_version, kind, request } =
            serde_json::from_slice(body).map_err(|source| ReviewError::Parse { source })?;
        if api_version != API_VERSION || kind != KIND {
            return Err(ReviewError::Type { api_version, kind });
        }
        request.ok_or(ReviewError::Empty)
    }
}

impl ReviewResponse {
    /// Admits the object unchanged.
    pub fn admit(uid: String) -> Self {
        Self { uid, allowed: true, ..Self::default() }
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
        serde_json::to_vec(&OutgoingReview { api_version: API_VERSION, kind: KIND, response: self })
    }
}
