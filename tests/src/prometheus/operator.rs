//! Kinds of the Prometheus Operator, without the operator.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};

use crate::tools;
use crate::wait;

/// Time limit for the API server to serve the kinds.
const WITHIN: Duration = Duration::from_mins(1);
/// Module with the definitions, and the folder under `tests/tools/` that pins it.
const MODULE: (&str, &str) = ("prometheus-operator", "github.com/prometheus-operator/prometheus-operator");

/// Creates the operator's own definitions of the kinds that the chart renders, and waits until they are served.
pub async fn define(client: &Client) -> Result<()> {
    let folder = tools::module_source(MODULE.0, MODULE.1).await?.join("example/prometheus-operator-crd");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (kind, plural) in [
        ("ServiceMonitor", "servicemonitors"),
        ("PodMonitor", "podmonitors"),
        ("PrometheusRule", "prometheusrules"),
    ] {
        let file = folder.join(format!("monitoring.coreos.com_{plural}.yaml"));
        let text = std::fs::read_to_string(&file);
        let text = text.with_context(|| format!("failed to read {}", file.display()))?;
        let definition = serde_saphyr::from_str(&text);
        let definition = definition.with_context(|| format!("failed to parse {}", file.display()))?;
        definitions.create(&PostParams::default(), &definition).await?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", kind));
        let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        wait::until(format!("{kind} to be served"), WITHIN, || async {
            objects.list(&ListParams::default()).await?;
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}
