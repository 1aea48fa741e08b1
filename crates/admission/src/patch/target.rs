//! The parts of a pod that patches touch. A webhook that reads only them a second time allocates less than one
//! that reads the whole pod.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Pod with its annotations and image references only.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Target {
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<Spec>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<Vec<Container>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_containers: Option<Vec<Container>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ephemeral_containers: Option<Vec<Container>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<Vec<Volume>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Container {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Volume {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<ImageVolume>,
}

#[derive(Debug, Deserialize, Serialize)]
struct ImageVolume {
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}
