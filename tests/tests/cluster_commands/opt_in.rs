//! `zstart enable` and `zstart disable`, on a real API server.

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use zstart_core::keys;

use crate::lab::{Installation, Lab};
use crate::objects;

/// Value of the namespace's label.
async fn label(lab: &Lab, namespace: &str) -> Result<Option<String>> {
    let namespaces: Api<Namespace> = Api::all(lab.admin.clone());
    Ok(namespaces.get(namespace).await?.labels().get(keys::REWRITE).cloned())
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_opt_in_and_out_by_their_label() -> Result<()> {
    let zstart = Installation::start().await?;
    let lab = &zstart.lab;
    for name in ["shop", "bank"] {
        lab.create(None, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .await?;
    }
    let ended = lab.zstart(&["enable", "namespace", "shop", "bank", "--audit"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(
        ended.stdout.starts_with("namespace shop: zstart.dev/rewrite=audit\nnamespace bank: "),
        "{ended:#?}"
    );
    assert_eq!(label(lab, "bank").await?.as_deref(), Some("audit"));

    let ended = lab.zstart(&["enable", "ns", "shop"]).await?;
    assert!(
        ended.stdout.starts_with("namespace shop: zstart.dev/rewrite=enabled, formerly audit\n"),
        "{ended:#?}"
    );
    assert!(ended.stdout.contains("once the records are Ready"), "{ended:#?}");

    let mut pod = objects::pod("web", "r.example/app:v1");
    pod["metadata"]["annotations"] = json!({keys::ORIGINALS: "{}"});
    lab.create(
        Some("bank"),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}),
    )
    .await?;
    lab.create(Some("bank"), pod).await?;
    let ended = lab.zstart(&["disable", "namespace", "bank"]).await?;
    let expected = "namespace bank: no label, formerly audit\nnamespace bank: 1 pod still with a variant; replace with: ";
    assert!(ended.stdout.starts_with(expected), "{ended:#?}");
    assert_eq!(label(lab, "bank").await?, None);
    let ended = lab.zstart(&["disable", "namespace", "shop", "--json"]).await?;
    let expected = json!({"namespaces": [{"namespace": "shop", "former": "enabled", "label": null}]});
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout)?, expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn excluded_or_absent_namespace_changes_none() -> Result<()> {
    let mut zstart = Installation::start().await?;
    let lab = &zstart.lab;
    lab.namespace("shop", "audit").await?;
    for (namespace, code, said) in [
        ("kube-system", 1, "the namespaceSelector of the webhook configuration zstart excludes it"),
        ("zstart-system", 1, "excludes it"),
        ("absent", 3, "namespace absent doesn't exist; no namespace was changed"),
    ] {
        let ended = lab.zstart(&["enable", "namespace", "shop", namespace]).await?;
        assert_eq!(ended.code, Some(code), "{ended:#?}");
        assert!(ended.stderr.contains(said), "{ended:#?}");
        assert_eq!(label(lab, "shop").await?.as_deref(), Some("audit"));
    }
    zstart.lab.impersonate("alice")?;
    let ended = zstart.lab.zstart(&["enable", "namespace", "shop"]).await?;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("failed to read namespace shop"), "{ended:#?}");
    Ok(())
}
