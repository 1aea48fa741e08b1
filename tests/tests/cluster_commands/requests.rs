//! `zstart retry` and `zstart reconvert`: requests to the controller, on records of a real API server.

use anyhow::{Result, ensure};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use zstart_core::record::record_name;
use zstart_core::{ImageConversion, keys};
use zstart_tests::wait;

use crate::lab::{Installation, Lab, WITHIN};

const APP: &str = "r.example/app:v1";
const OTHER: &str = "r.example/other:v1";

/// Value of an annotation on the record of an image.
async fn annotation(lab: &Lab, image: &str, key: &str) -> Result<Option<String>> {
    let records: Api<ImageConversion> = Api::all(lab.admin.clone());
    let record = records.get(&record_name(&image.parse()?)).await?;
    Ok(record.annotations().get(key).cloned())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_annotate_the_selected_records_only() -> Result<()> {
    let zstart = Installation::start().await?;
    let lab = &zstart.lab;
    let ended = lab.zstart(&["retry", "--all"]).await?;
    assert_eq!((ended.code, ended.stdout.trim()), (Some(0), "the cluster has no record of zstart"));
    lab.record(APP).await?;
    lab.record(OTHER).await?;

    let ended = lab.zstart(&["retry", APP, "--output", "json"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let name = record_name(&APP.parse()?);
    let expected = json!({"records": [{"record": name, "source": APP}]});
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout)?, expected);
    let first = annotation(lab, APP, keys::RETRY).await?;
    assert!(first.is_some() && annotation(lab, OTHER, keys::RETRY).await?.is_none());

    // By the record's name, and by reason: each time with a new value.
    let ended = lab.zstart(&["retry", &name]).await?;
    assert!(ended.stdout.starts_with("asked the controller for a look at r.example/app:v1"), "{ended:#?}");
    let second = annotation(lab, APP, keys::RETRY).await?;
    assert_ne!(first, second);
    let ended = lab.zstart(&["retry", "--reason", "PushDenied"]).await?;
    assert_eq!(ended.stdout.trim(), "no record has the reason PushDenied");
    let ended = lab.zstart(&["retry", "--reason", "verified"]).await?;
    assert_eq!(ended.stdout.lines().count(), 2, "{ended:#?}");
    assert_ne!(annotation(lab, APP, keys::RETRY).await?, second);
    assert!(annotation(lab, OTHER, keys::RETRY).await?.is_some());

    let ended = lab.zstart(&["reconvert", APP]).await?;
    let expected = "asked the controller for a variant of its current settings of r.example/app:v1";
    assert!(ended.stdout.starts_with(expected), "{ended:#?}");
    assert!(annotation(lab, APP, keys::RECONVERT).await?.is_some());
    assert!(annotation(lab, OTHER, keys::RECONVERT).await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_request_says_what_to_do() -> Result<()> {
    let mut zstart = Installation::start().await?;
    let lab = &mut zstart.lab;
    lab.record(APP).await?;
    let ended = lab.zstart(&["retry", APP, "r.example/absent:v1"]).await?;
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(
        ended.stderr.contains("no record of r.example/absent:v1: the controller makes one"),
        "{ended:#?}"
    );
    assert_eq!(annotation(lab, APP, keys::RETRY).await?, None, "no record changes if one is missing");

    // The admission policy guards records from users with the RBAC right.
    let rule = json!({"apiGroups": ["zstart.dev"], "resources": ["imageconversions"], "verbs": ["get", "list", "patch"]});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "records"}, "rules": [rule]});
    lab.create(None, role).await?;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "records"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "records"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}]});
    lab.create(None, binding).await?;
    lab.impersonate("alice")?;
    // The API server applies a new role and a new policy with a delay.
    wait::until("the policy to refuse alice", WITHIN, || async {
        let ended = lab.zstart(&["retry", "--all"]).await?;
        let is_told =
            ["you may not change record", "records.writers"].iter().all(|text| ended.stderr.contains(text));
        ensure!(ended.code == Some(1) && is_told, "{ended:#?}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_without_zstart_has_no_records() -> Result<()> {
    let lab = Lab::start().await?;
    let ended = lab.zstart(&["retry", "--all"]).await?;
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(ended.stderr.contains("zstart isn't installed there"), "{ended:#?}");
    Ok(())
}
