//! zstart's own kinds on an API server.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use zstart_core::{FreshnessSweep, ImageConversion, OwnerHold};

use crate::wait;

/// Time limit for the API server to serve the kinds.
const WITHIN: Duration = Duration::from_mins(1);

/// Creates zstart's definitions, and waits until the API server serves them.
pub async fn define(client: &Client) -> Result<()> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    for definition in zstart_core::custom_resources() {
        definitions.create(&PostParams::default(), &definition).await?;
    }
    let records = Api::<ImageConversion>::all(client.clone());
    let holds = Api::<OwnerHold>::all(client.clone());
    let sweeps = Api::<FreshnessSweep>::all(client.clone());
    wait::until("zstart's kinds to be served", WITHIN, || async {
        records.list(&ListParams::default()).await?;
        holds.list(&ListParams::default()).await?;
        sweeps.list(&ListParams::default()).await?;
        Ok(Some(()))
    })
    .await
}
