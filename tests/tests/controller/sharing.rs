//! Several workloads that use one image, or several images at once.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use http::Method;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde_json::json;
use zstart_core::record::{CONVERTED, ImageConversionStatus, READY, RecordReason};
use zstart_tests::images::{Fixture, Index};
use zstart_tests::registry::repository_reader::text;

use crate::lab::{Lab, SYSTEM, USER};
use crate::records::{condition_of, is_upload};
use crate::request_gate::RequestGate;

/// Number of uploaded blobs.
fn uploads(lab: &Lab) -> usize {
    lab.gateway.calls().iter().filter(|call| is_upload(call)).count()
}

fn application() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 2 << 20).layer(&[("etc/app", b"configuration")])
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_and_digest_of_one_image_share_one_conversion() -> Result<()> {
    let lab = Lab::start().await?;
    let source = lab.push("app:v1", &application()).await?;
    assert_eq!(lab.push("app:latest", &application()).await?, source);
    let images = [lab.image("app:v1"), lab.image("app:latest"), format!("{}@{source}", lab.image("app"))];
    for (number, image) in images.iter().enumerate() {
        lab.deploy("on", &format!("web-{number}"), image).await?;
    }
    // All are due when the controller starts.
    let _controller = lab.start_controller_with("workers: 4").await?;
    let (mut digests, mut tags) = (BTreeSet::new(), BTreeSet::from(["v1".to_owned(), "latest".to_owned()]));
    for image in &images {
        let variant = lab.ready(image).await?.variant.context("no variant")?.reference;
        digests.insert(variant.digest().context("no digest")?.clone());
        assert!(tags.insert(variant.tag().context("no tag")?.to_string()), "each has its own tag");
    }
    assert_eq!(digests.len(), 1, "{digests:?}");
    assert_eq!(lab.stored("app").tags().await?, tags.into_iter().collect::<Vec<_>>());
    assert_eq!(uploads(&lab), 2, "each layer once: {:?}", lab.gateway.calls());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn image_of_many_deployments_has_one_record() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &application()).await?;
    let image = lab.image("app:v1");
    for name in ["one", "other", "third"] {
        lab.deploy("on", name, &image).await?;
    }
    let _controller = lab.start_controller().await?;
    lab.ready(&image).await?;
    assert_eq!(lab.records().list(&kube::api::ListParams::default()).await?.items.len(), 1);
    assert_eq!(uploads(&lab), 2, "{:?}", lab.gateway.calls());
    for name in ["one", "other", "third"] {
        let told = lab.events("on", "Deployment", name).await?;
        assert!(told.iter().any(|told| told.reason == "Converted"), "{name}: {told:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_images_at_once_are_each_converted_once() -> Result<()> {
    let lab = Lab::start().await?;
    let _controller = lab.start_controller().await?;
    let mut images = Vec::new();
    for number in 0..20_u8 {
        let name = format!("app-{}:v{number}", number % 4);
        lab.push(&name, &Fixture::new().layer(&[("etc/app", &[number])])).await?;
        images.push(lab.image(&name));
    }
    for (number, image) in images.iter().enumerate() {
        lab.deploy("on", &format!("web-{number}"), image).await?;
    }
    let mut variants = BTreeSet::new();
    for image in &images {
        variants.insert(lab.ready(image).await?.variant.context("no variant")?.reference);
    }
    assert_eq!((variants.len(), uploads(&lab)), (20, 20));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_base_is_read_and_sent_once() -> Result<()> {
    let lab = Lab::start().await?;
    let base = Fixture::new().large_layer("usr/lib/base", 2 << 20);
    let _controller = lab.start_controller().await?;
    for (number, name) in ["shop:v1", "shop:v2", "bank:v1"].into_iter().enumerate() {
        let top = [("etc/app", name.as_bytes())];
        lab.push(name, &base.clone().layer(&top)).await?;
        lab.deploy("on", &format!("web-{number}"), &lab.image(name)).await?;
        lab.ready(&lab.image(name)).await?;
    }
    let stored = lab.stored("shop").manifest("v1").await?.json;
    let base = text(&stored["layers"][0]["digest"])?;
    let calls = lab.gateway.calls();
    let reads = calls.iter().filter(|call| call.starts_with("GET ") && call.contains(base)).count();
    let mounts = calls.iter().filter(|call| call.contains("mount=")).count();
    let sent =
        calls.iter().filter(|call| call.starts_with("PUT ") && call.contains("/blobs/uploads/")).count();
    assert_eq!((reads, mounts, sent), (1, 1, 4), "the base, three tops, and a mount elsewhere: {calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_controllers_agree_on_the_variant() -> Result<()> {
    let lab = Lab::start().await?;
    let source = lab.push("app:v1", &application()).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    // Two controllers lead at once: one of them was paused, or is of a version without elections.
    let rule = json!({
        "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"],
    });
    let role = json!({"metadata": {"name": "second"}, "rules": [rule]});
    lab.create(&lab.namespaced::<Role>(SYSTEM), role).await?;
    let binding = json!({
        "metadata": {"name": "second"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "second"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
    });
    lab.create(&lab.namespaced::<RoleBinding>(SYSTEM), binding).await?;
    let controllers = [lab.start_controller().await?, lab.start_controller_with("lease: second").await?];
    let variant = lab.ready(&image).await?.variant.context("no variant")?;
    assert_eq!(variant.source_digest, source);
    for controller in controllers {
        controller.stop().await?;
    }
    let stored = lab.stored("app");
    let tag = variant.reference.tag().context("no tag")?.to_string();
    assert_eq!(Some(&stored.digest(&tag).await?), variant.reference.digest());
    let (after, before) =
        (stored.manifest_for(&tag, "amd64").await?, stored.manifest_for("v1", "amd64").await?);
    stored.require_same_files(&after, &before).await
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_record_is_pending() -> Result<()> {
    let lab = Lab::start().await?;
    for name in ["first:v1", "second:v1"] {
        lab.push(name, &Fixture::new().layer(&[("etc/app", name.as_bytes())])).await?;
    }
    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "/first/blobs/uploads/", gate.fault());
    lab.deploy("on", "first", &lab.image("first:v1")).await?;
    let _controller = lab.start_controller_with("workers: 1").await?;
    gate.wait_for_request("upload a layer").await?;
    lab.deploy("on", "second", &lab.image("second:v1")).await?;
    lab.wait_for(&lab.image("second:v1"), "waiting for a permit", |status| {
        let (_, reason, message) = condition_of(status, READY);
        reason == RecordReason::Pending.as_str() && message.contains("waiting to convert sha256:")
    })
    .await?;
    gate.open();
    lab.ready(&lab.image("second:v1")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn platform_of_a_new_node_is_added_while_serving() -> Result<()> {
    let lab = Lab::start().await?;
    let of = |architecture| {
        Fixture::new().platform("linux", architecture).layer(&[("etc/app", architecture.as_bytes())])
    };
    let index = Index::new().image(&of("amd64"))?.image(&of("arm64"))?;
    index.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let first = lab.ready(&image).await?.variant.context("no variant")?;
    assert_eq!(first.platforms.len(), 1);

    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "/blobs/uploads/", gate.fault());
    lab.node("graviton", "arm64").await?;
    gate.wait_for_request("upload the layer for arm64").await?;
    let between = lab
        .wait_for(&image, "converting", |status| condition_of(status, CONVERTED).1 == "Converting")
        .await?;
    assert_eq!((condition_of(&between, READY).0, &between.variant), ("True", &Some(first)));
    gate.open();
    let both = |status: &ImageConversionStatus| {
        status.variant.as_ref().is_some_and(|variant| variant.platforms.len() == 2)
    };
    let after = lab.wait_for(&image, "converted for both", both).await?;
    assert_eq!(condition_of(&after, READY).0, "True");
    Ok(())
}
