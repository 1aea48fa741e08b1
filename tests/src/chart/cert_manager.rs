//! cert-manager's kinds without its programs: tests play them.

use anyhow::Result;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::json;

use super::NAMESPACE;
use crate::wait;

/// Group of the kinds.
pub const GROUP: &str = "cert-manager.io";

/// Objects of one of cert-manager's kinds in the namespace of the installation.
pub fn objects(client: &Client, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", kind));
    Api::namespaced_with(client.clone(), NAMESPACE, &resource)
}

/// Installs definitions that accept every field, and waits until the API server serves them.
pub async fn define(client: &Client) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (kind, plural, singular) in
        [("Certificate", "certificates", "certificate"), ("Issuer", "issuers", "issuer")]
    {
        let definition = serde_json::from_value(json!({
            "metadata": {"name": format!("{plural}.{GROUP}")},
            "spec": {
                "group": GROUP, "scope": "Namespaced",
                "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": singular},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }}}],
            },
        }))?;
        definitions.create(&PostParams::default(), &definition).await?;
    }
    for kind in ["Certificate", "Issuer"] {
        wait::until("cert-manager's kinds to be served", std::time::Duration::from_mins(1), || async {
            objects(client, kind).list(&ListParams::default()).await?;
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}
