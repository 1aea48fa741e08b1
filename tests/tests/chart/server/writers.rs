//! Writers that the policy admits in addition to controller and administrators: of holds, and of unchanged
//! objects.

use anyhow::{Context as _, Result};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use zstart_core::owner_hold::{HoldReason, Owner, OwnerHold, OwnerHoldSpec, hold_name};

use super::*;

fn hold() -> OwnerHold {
    let owner = Owner {
        api_version: "apps/v1".to_owned(),
        kind: "StatefulSet".to_owned(),
        name: "db".to_owned(),
        uid: "0b0c5b3e-1111-4222-8333-944455556666".to_owned(),
    };
    let name = hold_name(&owner);
    let template = "controller-revision-hash=db-5d4f8c7b9".to_owned();
    let message = "pod db-0 was recreated three times".to_owned();
    OwnerHold::new(
        &name,
        OwnerHoldSpec { owner, template, reason: HoldReason::RecreatedAfterRewrite, message },
    )
}

#[tokio::test]
async fn holds_are_made_by_the_controller_and_deleted_by_right() -> Result<()> {
    let zstart = Installation::start(&[]).await?;
    zstart.grant_records("mallory").await?;
    let mallory = zstart.user("mallory", &["developers"]).await?;
    wait_for_policy(&mallory, &record("registry.example/team/app:v1")?).await?;
    let hers: Api<OwnerHold> = Api::namespaced(mallory, "default");
    let message = refusal(hers.create(&PostParams::default(), &hold()).await)?;
    assert!(message.contains("may create owner holds; mallory is neither"), "{message}");
    assert!(message.contains("zstart.dev/rewrite: disabled"), "{message}");

    let controller = zstart.user(CONTROLLER, &[]).await?;
    let controller: Api<OwnerHold> = Api::namespaced(controller, "default");
    let name = controller.create(&PostParams::default(), &hold()).await?.name_any();

    // The spec is immutable, also for administrators. Metadata isn't: the garbage collector writes it.
    let all: Api<OwnerHold> = Api::namespaced(zstart.client.clone(), "default");
    let merge = PatchParams::default();
    let change = Patch::Merge(json!({"spec": {"template": ""}}));
    let error = all.patch(&name, &merge, &change).await.err().context("the hold was changed")?;
    assert!(error.to_string().contains("delete the hold to lift it"), "{error}");
    hers.patch(&name, &merge, &Patch::Merge(json!({"metadata": {"finalizers": ["example.com/orphan"]}})))
        .await?;
    hers.patch(&name, &merge, &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await?;

    hers.delete(&name, &DeleteParams::default()).await?;
    assert_eq!(all.get_opt(&name).await?, None);
    Ok(())
}

/// The migrator of Kubernetes applies an empty object; `kube-storage-version-migrator` puts back what it read.
#[tokio::test]
async fn storage_version_migrator_may_write_unchanged_records() -> Result<()> {
    let zstart = Installation::start(&[]).await?;
    zstart.grant_records("migrator").await?;
    let migrator = zstart.user("migrator", &[]).await?;
    let record = record("registry.example/team/app:v1")?;
    wait_for_policy(&migrator, &record).await?;
    let all: Api<ImageConversion> = Api::all(zstart.client.clone());
    let name = all.create(&PostParams::default(), &record).await?.name_any();
    let status = Patch::Merge(json!({"status": {"observedGeneration": 1}}));
    all.patch_status(&name, &PatchParams::default(), &status).await?;

    let migrating: Api<ImageConversion> = Api::all(migrator);
    let read = migrating.get(&name).await?;
    migrating.replace(&name, &PostParams::default(), &read).await.context("the unchanged record")?;
    let identity = json!({
        "apiVersion": "zstart.dev/v1alpha1",
        "kind": "ImageConversion",
        "metadata": {"name": name, "uid": read.uid(), "resourceVersion": read.resource_version()},
    });
    let apply = PatchParams::apply("storage-version-migrator-controller");
    migrating.patch(&name, &apply, &Patch::Apply(&identity)).await.context("the empty apply")?;

    for change in [json!({"labels": {"a": "b"}}), json!({"annotations": {"a": "b"}})] {
        let change = Patch::Merge(json!({"metadata": change}));
        refusal(migrating.patch(&name, &PatchParams::default(), &change).await)?;
    }
    let forged = Patch::Merge(json!({"status": {"observedGeneration": 2}}));
    refusal(migrating.patch_status(&name, &PatchParams::default(), &forged).await)?;
    Ok(())
}
