//! Kinds on an API server: zstart's own, and those of other products.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
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

/// Creates the definition in a file.
pub(crate) async fn create_file(client: &Client, file: &Path) -> Result<CustomResourceDefinition> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("failed to read {}", file.display()))?;
    let definition: CustomResourceDefinition =
        serde_saphyr::from_str(&text).with_context(|| format!("failed to parse {}", file.display()))?;
    Ok(Api::all(client.clone()).create(&PostParams::default(), &definition).await?)
}

/// Creates the definition in a file, and waits until the API server serves its kind.
pub async fn define_file(client: &Client, file: &Path) -> Result<()> {
    let definition = create_file(client, file).await?;
    let spec = &definition.spec;
    let version = spec.versions.iter().find(|version| version.served).context("no version is served")?;
    let kind = GroupVersionKind::gvk(&spec.group, &version.name, &spec.names.kind);
    let objects: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    wait::until(format!("{} to be served", kind.kind), WITHIN, || async {
        objects.list(&ListParams::default()).await?;
        Ok(Some(()))
    })
    .await
}
