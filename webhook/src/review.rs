//! `AdmissionReview` v1, as far as this webhook reads and writes it.
//!
//! Own types rather than kube's: only what decides is read, so that a review isn't refused for
//! something in it that doesn't matter here.

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

/// What the API server asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReviewRequest {
    /// Names the question; the answer repeats it.
    pub uid: String,
    /// What is asked about.
    pub resource: Resource,
    /// E.g. `ephemeralcontainers`.
    #[serde(default)]
    pub sub_resource: Option<String>,
    /// The object's namespace. The object itself may not say it.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The object's name; empty where the API server is to make one.
    #[serde(default)]
    pub name: String,
    /// The operation under review.
    pub operation: Operation,
    /// The object as it would be stored, unread: many reviews need none of it, and as values it would
    /// take many times its size.
    #[serde(default)]
    pub object: Option<Box<RawValue>>,
    /// The object as it is stored, for an update.
    #[serde(default)]
    pub old_object: Option<Box<RawValue>>,
    /// Nothing of it will be stored.
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

/// The type of an object, as URLs name it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Resource {
    /// E.g. empty for the core group.
    #[serde(default)]
    pub group: String,
    /// E.g. `v1`.
    pub version: String,
    /// E.g. `pods`.
    pub resource: String,
}

/// The answer. It always admits.
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
}

/// The bytes aren't a review that can be answered.
#[derive(Debug, Error)]
pub enum ReviewError {
    /// Not JSON, or a field that decides is missing or of another type.
    #[error("failed to parse an AdmissionReview")]
    Parse {
        /// Where, and what.
        source: serde_json::Error,
    },
    /// Another kind or version.
    #[error("failed to read a review: it is {kind:?} of {api_version:?}, not {KIND:?} of {API_VERSION:?}")]
    Type {
        /// What was sent.
        api_version: String,
        /// What was sent.
        kind: String,
    },
    /// A review that asks nothing.
    #[error("failed to read a review: it has no request")]
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
    /// Reads a review.
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
    /// Admits the object as it came.
    pub fn admit(uid: String) -> Self {
        Self { uid, allowed: true, ..Self::default() }
    }

    /// Admits it with changes.
    #[must_use]
    pub fn with_patch(self, patch: &Patch) -> Self {
        // A patch is made of strings and numbers: it always serializes.
        let Ok(text) = serde_json::to_vec(patch) else { return self };
        Self { patch_type: Some("JSONPatch"), patch: Some(STANDARD.encode(text)), ..self }
    }

    /// Adds a line to the API server's audit log; it puts the webhook's name in front of the key.
    #[must_use]
    pub fn with_audit_annotation(mut self, key: &'static str, value: String) -> Self {
        self.audit_annotations.insert(key, value);
        self
    }

    /// The review that carries this answer.
    pub fn to_review(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&OutgoingReview { api_version: API_VERSION, kind: KIND, response: self })
    }
}
