//! Upgrade from a former chart, rollback and uninstall, as the API server's objects show them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{DynamicObject, ListParams};
use kube::discovery::{Discovery, verbs};
use serde_json::Value;
use zstart_tests::chart::{NAMESPACE, chart, set_arguments};

use super::Installation;
use crate::settings::former_chart;

/// Objects of the cluster by kind, namespace and name, without what the API server changes.
async fn objects(zstart: &Installation) -> Result<BTreeMap<String, Value>> {
    let discovery = Discovery::new(zstart.client().clone()).run_aggregated().await?;
    let mut objects = BTreeMap::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            // Events and Leases come and go. Secrets of Helm are its history.
            if !capabilities.supports_operation(verbs::LIST)
                || ["Event", "Lease"].contains(&resource.kind.as_str())
            {
                continue;
            }
            let api: Api<DynamicObject> = Api::all_with(zstart.client().clone(), &resource);
            for object in api.list(&ListParams::default()).await?.items {
                let namespace = object.namespace().unwrap_or_default();
                let key = format!("{} {namespace}/{}", resource.kind, object.name_any());
                let mut content = object.data;
                if let Some(members) = content.as_object_mut() {
                    members.remove("status");
                }
                if !key.contains("sh.helm.release") {
                    objects.insert(key, content);
                }
            }
        }
    }
    Ok(objects)
}

fn is_definition(key: &str) -> bool {
    key.starts_with("CustomResourceDefinition ") && key.ends_with(".zstart.dev")
}

#[tokio::test]
async fn release_is_upgraded_with_old_values_rolled_back_and_removed() -> Result<()> {
    let zstart = Installation::start(&[]).await?;
    let client = zstart.helm_client();
    let namespace = ["--namespace", NAMESPACE];
    client.run(["uninstall", "zstart"], namespace).await?;
    let empty = objects(&zstart).await?;

    let former = former_chart()?;
    let old = former.path().display().to_string();
    client.run(["install", "zstart", &old, "--set", "webhook.replicas=3"], namespace).await?;
    let installed = objects(&zstart).await?;

    let new = chart().display().to_string();
    let sets = [
        "controller.executor=jobs",
        "caBundle.configMap=authorities",
        "webhook.objectSelector[0].key=a",
        "webhook.objectSelector[0].operator=Exists",
    ];
    let mut more: Vec<&std::ffi::OsStr> = namespace.iter().map(std::ffi::OsStr::new).collect();
    more.extend(set_arguments(&sets));
    client.run(["upgrade", "zstart", &new, "--reuse-values"], more).await?;
    let upgraded = objects(&zstart).await?;
    let webhook = upgraded.get(&format!("Deployment {NAMESPACE}/zstart-webhook")).context("no webhook")?;
    assert_eq!(webhook["spec"]["replicas"], 3, "the value of the old release");
    assert!(upgraded.contains_key(&format!("ServiceAccount {NAMESPACE}/zstart-converter")));

    client.run(["rollback", "zstart"], namespace).await?;
    let rolled_back = objects(&zstart).await?;
    assert_eq!(rolled_back.keys().collect::<Vec<_>>(), installed.keys().collect::<Vec<_>>());
    for (key, object) in &installed {
        assert_eq!(&rolled_back[key], object, "{key}");
    }

    client.run(["uninstall", "zstart"], namespace).await?;
    let left = objects(&zstart).await?;
    assert_eq!(left.keys().collect::<Vec<_>>(), empty.keys().collect::<Vec<_>>());
    let definitions = left.keys().filter(|key| is_definition(key)).count();
    assert_eq!(definitions, 3, "definitions are kept: {left:#?}");
    Ok(())
}
