//! Kinds of the Prometheus Operator, without the operator.

use anyhow::Result;
use kube::Client;

use crate::definitions;
use crate::tools;

/// Module with the definitions, and the folder under `tests/tools/` that pins it.
const MODULE: (&str, &str) = ("prometheus-operator", "github.com/prometheus-operator/prometheus-operator");

/// Creates the operator's own definitions of the kinds that the chart renders, and waits until they are served.
pub async fn define(client: &Client) -> Result<()> {
    let folder = tools::module_source(MODULE.0, MODULE.1).await?.join("example/prometheus-operator-crd");
    for plural in ["servicemonitors", "podmonitors", "prometheusrules"] {
        definitions::define_file(client, &folder.join(format!("monitoring.coreos.com_{plural}.yaml")))
            .await?;
    }
    Ok(())
}
