//! Freshness sweep: the last confirmations of all records, in one `FreshnessSweep` object.
//!
//! A look at a tag that finds nothing new changes no record. The controller writes it into this object, together with
//! the looks at all other sources: ten thousand records cost less than one write a second.
#![expect(clippy::duplicated_attributes, reason = "printer columns share a type")]
#![allow(unreachable_pub, reason = "the derive repeats the spec's visibility in a private scope")]

use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

mod confirmations;

pub use confirmations::{ConfirmationKey, Confirmations, UnreadableConfirmations};

/// Name of the one sweep of a cluster.
pub const SWEEP: &str = "zstart";

/// Last confirmations of the records.
///
/// A record whose status is newer needs no entry. A record that has neither a new status nor an entry isn't used.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "zstart.dev",
    version = "v1alpha1",
    kind = "FreshnessSweep",
    plural = "freshnesssweeps",
    shortname = "sweep",
    category = "zstart",
    derive = "PartialEq",
    doc = "Last looks at the sources of all conversion records, which the webhook reads. The controller replaces it.",
    printcolumn(name = "Swept", type_ = "date", json_path = ".spec.sweptAt"),
    printcolumn(name = "Confirmed", type_ = "integer", json_path = ".spec.confirmed"),
    printcolumn(name = "Unconfirmed", type_ = "integer", json_path = ".spec.unconfirmed"),
    printcolumn(
        name = "Unreachable",
        type_ = "string",
        json_path = ".spec.registries[?(@.reachable==false)].registry"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct FreshnessSweepSpec {
    /// Time of the sweep, on the API server's clock.
    #[schemars(with = "schema::Time")]
    pub swept_at: Time,
    /// Number of records that a registry confirmed at their last look.
    pub confirmed: i64,
    /// Number of records whose last look failed, or that wait for one since the controller started.
    pub unconfirmed: i64,
    /// Registries of the records, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["registry"]))]
    pub registries: Vec<SweptRegistry>,
    /// Confirmations, 16 bytes each: 6 bytes of the SHA-256 of the record's name, 6 bytes of the SHA-256 of the
    /// source's digest, and the time in seconds since 1970, with the highest byte first.
    // The API server refuses an empty text of the format "byte".
    #[schemars(with = "String")]
    pub confirmations: ByteString,
}

/// State of one registry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SweptRegistry {
    /// Host and port.
    #[schemars(length(max = 512))]
    pub registry: String,
    /// The registry answered the last looks. While it is false, the webhook leaves pods on originals that a candidate
    /// node has.
    pub reachable: bool,
    /// Number of records that the registry confirmed at their last look.
    pub confirmed: i64,
    /// Time of the least recent of these looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub confirmed_since: Option<Time>,
    /// Records whose last look failed, or that wait for one since the controller started: the first 20 names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<String>,
}

/// Sweep, reduced to the fields that decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepView {
    /// Last confirmations.
    pub confirmations: Confirmations,
    /// Registries that didn't answer the last looks.
    pub unreachable: BTreeSet<String>,
}

impl TryFrom<FreshnessSweep> for SweepView {
    type Error = UnreadableConfirmations;

    fn try_from(sweep: FreshnessSweep) -> Result<Self, Self::Error> {
        let FreshnessSweepSpec { confirmations, registries, .. } = sweep.spec;
        let unreachable = registries.into_iter().filter(|registry| !registry.reachable);
        Ok(Self {
            confirmations: Confirmations::from_bytes(&confirmations.0)?,
            unreachable: unreachable.map(|registry| registry.registry).collect(),
        })
    }
}
