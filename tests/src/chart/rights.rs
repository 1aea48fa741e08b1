//! Grants the chart's rights to zstart's service accounts, for tests that run the programs without the chart.
//! A right missing from the chart fails those tests.

use anyhow::{Context as _, Result};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Helm, NAMESPACE, find};

/// Grants a service account (`zstart-controller`, `zstart-webhook`) its rights in a cluster that has the
/// namespace [`NAMESPACE`]. Returns the account's user name for the API server.
pub async fn grant(admin: &Client, account: &str) -> Result<String> {
    grant_with(admin, account, &[]).await
}

/// Grants like [`grant`] the rights of an installation with `--set` values.
pub async fn grant_with(admin: &Client, account: &str, sets: &[&str]) -> Result<String> {
    let objects = Helm::find().await?.render("zstart", sets).await?;
    create::<ClusterRole>(Api::all(admin.clone()), &objects, account).await?;
    create::<ClusterRoleBinding>(Api::all(admin.clone()), &objects, account).await?;
    create::<Role>(Api::namespaced(admin.clone(), NAMESPACE), &objects, account).await?;
    create::<RoleBinding>(Api::namespaced(admin.clone(), NAMESPACE), &objects, account).await?;
    Ok(format!("system:serviceaccount:{NAMESPACE}:{account}"))
}

async fn create<K>(api: Api<K>, objects: &[serde_json::Value], name: &str) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let kind = K::kind(&());
    let object = serde_json::from_value(find(objects, &kind, name)?.clone())?;
    let made = api.create(&PostParams::default(), &object).await;
    made.with_context(|| format!("failed to create the {kind} {name}"))?;
    Ok(())
}
