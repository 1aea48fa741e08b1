//! Tags that move: a pod never gets a variant of an image that the tag pointed to before.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use http::Method;
use zstart_core::record::{READY, RecordReason};
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::Fault;
use zstart_tests::registry::repository_reader::{layers, text};

use crate::lab::Lab;
use crate::records::{condition_of, is_upload, variant_tag};
use crate::request_gate::RequestGate;

fn release(content: &[u8]) -> Fixture {
    Fixture::new().layer(&[("etc/app", content)])
}

#[tokio::test(flavor = "multi_thread")]
async fn tag_moved_during_conversion_serves_the_new_image() -> Result<()> {
    let lab = Lab::start().await?;
    let old = lab.push("app:v1", &release(b"old")).await?;
    let next = release(b"new");
    let (new, host, image) = (next.prepare()?.digest, lab.registry.host(), lab.image("app:v1"));
    let push = move || -> BoxFuture<'static, ()> {
        let (host, next) = (host.clone(), next.clone());
        Box::pin(async move { drop(next.push(&host, "app:v1").await.expect("the image is pushed")) })
    };
    lab.gateway.fault_times(1, Method::PUT, "/blobs/uploads/", Fault::RunFirst(Arc::new(push)));
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;

    let status = lab.ready(&image).await?;
    assert_eq!(status.source.context("no source")?.digest, new);
    let variant = status.variant.context("no variant")?;
    assert_eq!(variant.source_digest, new);
    let stored = lab.stored("app");
    let tag = variant_tag(&stored, &image, &new).await?;
    assert_eq!(variant.reference.tag().map(ToString::to_string).as_ref(), Some(&tag));
    assert_eq!(stored.tags().await?, ["v1", &tag]);
    let warning = lab.warning("web", RecordReason::SourceMoved).await?;
    assert!(warning.contains(old.as_str()) && warning.contains(new.as_str()), "{warning}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_tag_stops_serving_until_converted() -> Result<()> {
    let lab = Lab::start().await?;
    let (old, image) = (lab.push("app:v1", &release(b"old")).await?, lab.image("app:v1"));
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    lab.ready(&image).await?;

    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "/blobs/uploads/", gate.fault());
    let new = lab.push("app:v1", &release(b"new")).await?;
    gate.wait_for_request("upload a layer of the new image").await?;
    let between =
        lab.records().get(&crate::records::record_name_of(&image)?).await?.status.context("no status")?;
    assert_eq!(between.source.as_ref().map(|source| &source.digest), Some(&new));
    assert_eq!((condition_of(&between, READY).0, &between.variant), ("False", &None));
    gate.open();

    let status = lab.ready(&image).await?;
    let variant = status.variant.context("no variant")?;
    assert_eq!(variant.source_digest, new);
    let stored = lab.stored("app");
    let (was, is) = (variant_tag(&stored, &image, &old).await?, variant_tag(&stored, &image, &new).await?);
    assert_eq!(variant.reference.tag().map(ToString::to_string).as_ref(), Some(&is));
    let mut tags = vec!["v1".to_owned(), was, is];
    tags.sort();
    assert_eq!(stored.tags().await?, tags, "pods that run from the old variant can still pull it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tag_moved_back_reuses_its_first_variant() -> Result<()> {
    let lab = Lab::start().await?;
    let (old, image) = (lab.push("app:v1", &release(b"old")).await?, lab.image("app:v1"));
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    let first = lab.ready(&image).await?.variant.context("no variant")?;
    let new = lab.push("app:v1", &release(b"new")).await?;
    let made_of = |digest: &zstart_core::Digest| {
        let digest = digest.clone();
        move |status: &zstart_core::record::ImageConversionStatus| {
            condition_of(status, READY).0 == "True"
                && status.variant.as_ref().is_some_and(|variant| variant.source_digest == digest)
        }
    };
    lab.wait_for(&image, "ready for the new image", made_of(&new)).await?;
    let recording = lab.gateway.record();
    lab.push("app:v1", &release(b"old")).await?;
    let status = lab.wait_for(&image, "ready for the old image", made_of(&old)).await?;
    assert_eq!(status.variant.context("no variant")?.reference, first.reference);
    let calls = recording.calls();
    assert!(!calls.iter().any(|call| is_upload(call)), "nothing was converted: {calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_variant_is_rebuilt() -> Result<()> {
    let lab = Lab::start().await?;
    let (_, image) = (lab.push("app:v1", &release(b"app")).await?, lab.image("app:v1"));
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    let first = lab.ready(&image).await?.variant.context("no variant")?;
    let (stored, tag) = (lab.stored("app"), first.reference.tag().context("no tag")?.to_string());
    let digest = first.reference.digest().context("no digest")?;
    stored.delete_manifest(digest.as_str()).await?;
    zstart_tests::wait::until("the variant to exist again", crate::lab::WITHIN, || async {
        Ok((stored.digest(&tag).await? == *digest).then_some(()))
    })
    .await?;
    assert_eq!(lab.ready(&image).await?.variant.context("no variant")?.reference, first.reference);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn variant_missing_a_layer_is_rebuilt() -> Result<()> {
    let lab = Lab::start().await?;
    let (_, image) = (lab.push("app:v1", &release(b"app")).await?, lab.image("app:v1"));
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let first = lab.ready(&image).await?.variant.context("no variant")?;
    let stored = lab.stored("app");
    let variant = stored.manifest(first.reference.tag().context("no tag")?.as_str()).await?.json;
    let layer = text(&layers(&variant)?[0]["digest"])?;
    stored.delete_blob(layer).await?;
    lab.retry(&image).await?;
    zstart_tests::wait::until("the layer to exist again", crate::lab::WITHIN, || async {
        Ok(stored.has_blob(layer).await?.then_some(()))
    })
    .await?;
    assert_eq!(lab.ready(&image).await?.variant.context("no variant")?.reference, first.reference);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_source_is_checked_without_a_pull() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &release(b"app")).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    let ready = lab.ready(&image).await?.source.context("no source")?.checked_at;
    let recording = lab.gateway.record();
    lab.wait_for(&image, "looked up again", |status| {
        let checked_at = status.source.as_ref().map(|source| &source.checked_at);
        checked_at.is_some_and(|at| at.0.duration_since(ready.0).as_secs() >= 3)
    })
    .await?;
    let calls = recording.calls();
    assert!(!calls.iter().any(|call| call.starts_with("GET /v2/app/")), "registries count pulls: {calls:?}");
    Ok(())
}
