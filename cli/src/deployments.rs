//! Deployments of zstart's programs.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

/// Labels of everything that the chart creates.
pub(crate) const LABELS: &str = "app.kubernetes.io/name=zstart";
/// Label with the name of the program: `controller` or `webhook`.
pub(crate) const COMPONENT: &str = "app.kubernetes.io/component";
/// Label with the chart's version.
pub(crate) const CHART_VERSION: &str = "app.kubernetes.io/version";

/// Lists zstart's Deployments in a namespace.
pub(crate) async fn list(client: &Client, namespace: &str) -> Result<Vec<Deployment>, kube::Error> {
    let api = Api::<Deployment>::namespaced(client.clone(), namespace);
    Ok(api.list(&ListParams::default().labels(LABELS)).await?.items)
}

/// Returns the Deployment of a component.
pub(crate) fn find<'a>(deployments: &'a [Deployment], component: &str) -> Option<&'a Deployment> {
    let is_component =
        |deployment: &&Deployment| deployment.labels().get(COMPONENT).is_some_and(|label| label == component);
    deployments.iter().find(is_component)
}

/// Numbers of available and of wanted replicas.
pub(crate) fn replicas(deployment: &Deployment) -> (i32, i32) {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let available = deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
    (available, wanted)
}
