//! From a Deployment to a serving variant, and the events about it.

use anyhow::{Context as _, Result};
use zstart_core::record::{CONVERTED, READY, RESOLVED};
use zstart_core::{Reference, VariantNames, units};
use zstart_tests::images::{Fixture, Index};

use crate::lab::Lab;
use crate::records::{ReportedEvent, condition_of, record_name_of, variant_tag};
use zstart_tests::registry::repository_reader::{layers_size, text};

fn application() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 2 << 20).layer(&[("etc/app", b"configuration")])
}

#[tokio::test(flavor = "multi_thread")]
async fn deployment_image_is_converted_for_the_existing_nodes() -> Result<()> {
    let lab = Lab::start().await?;
    let arm = Fixture::new().platform("linux", "arm64").layer(&[("etc/app", b"for another node")]);
    let index = Index::new().image(&application())?.image(&arm)?.prepare()?;
    let source = index.push(&lab.registry.host(), "app:v1").await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;

    let status = lab.ready(&image).await?;
    let variant = status.variant.as_ref().context("no variant")?;
    assert_eq!((condition_of(&status, RESOLVED).0, condition_of(&status, CONVERTED).0), ("True", "True"));
    assert!(condition_of(&status, RESOLVED).2.contains(source.as_str()), "{status:?}");
    assert_eq!(status.source.as_ref().map(|resolved| &resolved.digest), Some(&source));
    assert_eq!(variant.source_digest, source);
    assert!(variant.duration_milliseconds > 0);

    // The reference can be pulled by tag and by digest, and has the source's files.
    let stored = lab.stored("app");
    let tag = variant_tag(&stored, &image, &source).await?;
    let digest = variant.reference.digest().context("no digest")?;
    assert_eq!(variant.reference.name(), image.parse::<Reference>()?.name());
    assert_eq!(variant.reference.tag().map(ToString::to_string).as_ref(), Some(&tag));
    assert_eq!(&stored.digest(&tag).await?, digest);
    let before = stored.manifest_for("v1", "amd64").await?;
    let after = stored.manifest_for(digest.as_str(), "amd64").await?;
    stored.require_same_files(&after, &before).await?;
    assert_eq!(
        stored.manifest_for(digest.as_str(), "arm64").await?,
        stored.manifest_for("v1", "arm64").await?,
        "no node runs that"
    );

    let [platform] = &variant.platforms[..] else { panic!("{:?}", variant.platforms) };
    assert_eq!(platform.platform.to_string(), "linux/amd64");
    assert_eq!(
        (platform.source_bytes, platform.variant_bytes),
        (layers_size(&before)?, layers_size(&after)?)
    );
    assert_eq!((platform.layers, platform.converted_layers), (2, 2));
    let summary = status.summary.as_ref().context("no summary")?;
    assert_eq!(summary.source_size, units::size(layers_size(&before)?.unsigned_abs()));
    assert_eq!(summary.variant_size, units::size(layers_size(&after)?.unsigned_abs()));

    assert_eq!(stored.digest("v1").await?, source, "the original is never touched");
    // The converted manifest of the index has a tag of its own.
    let child = VariantNames::new(None, &stored.child("v1", "amd64").await?);
    let tags = stored.tags().await?;
    let [child_tag, original, variant_tag] = &tags[..] else { panic!("{tags:?}") };
    assert!(child.contains(&child_tag.parse()?), "{tags:?}");
    assert_eq!((&**original, variant_tag), ("v1", &tag));
    assert_eq!(stored.digest(child_tag).await?, stored.child(&tag, "amd64").await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn conversion_events_reach_record_and_deployment() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &application()).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let status = lab.ready(&image).await?;
    let variant = status.variant.context("no variant")?.reference.to_string();
    let record = record_name_of(&image)?;
    let on_record = lab.events("kube-system", "ImageConversion", &record).await?;
    let on_deployment = lab.events("on", "Deployment", "web").await?;
    for told in [on_record, on_deployment] {
        let [ReportedEvent { type_, reason, note }] = &*told else { panic!("{told:?}") };
        assert_eq!((&**type_, &**reason), ("Normal", "Converted"));
        assert!(note.contains(&image) && note.contains(&variant), "{note}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_controller_converts_nothing_again() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &application()).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let first = lab.start_controller().await?;
    let before = lab.ready(&image).await?;
    first.stop().await?;

    let recording = lab.gateway.record();
    let checked = before.source.as_ref().map(|source| source.checked_at.clone());
    // Records have a resolution of seconds, and the second controller's first check may happen in the same
    // second.
    let second = lab.start_controller_with("recheckInterval: 1s").await?;
    let after = lab
        .wait_for(&image, "looked at again", |status| {
            status.source.as_ref().map(|source| source.checked_at.clone()) != checked
        })
        .await?;
    second.stop().await?;
    let calls = recording.calls();
    assert!(calls.iter().all(|call| call.starts_with("GET ") || call.starts_with("HEAD ")), "{calls:?}");
    assert!(!calls.iter().any(|call| call.contains("/tags/list")), "the record has the name: {calls:?}");
    assert_eq!(condition_of(&after, READY), condition_of(&before, READY));
    let (before, after) = (before.variant.context("no variant")?, after.variant.context("no variant")?);
    assert_eq!(after.reference, before.reference);
    assert_eq!(
        after.duration_milliseconds, before.duration_milliseconds,
        "the duration is that of the first conversion"
    );
    assert_eq!(lab.events("on", "Deployment", "web").await?.len(), 1, "no event is repeated");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn record_of_a_digest_reference_ignores_the_tag() -> Result<()> {
    let lab = Lab::start().await?;
    let source = lab.push("app:v1", &application()).await?;
    let image = format!("{}@{source}", lab.image("app"));
    // The tag of a reference with a digest has no meaning.
    let with_tag = format!("{}@{source}", lab.image("app:v1"));
    lab.deploy("on", "web", &with_tag).await?;
    let _controller = lab.start_controller().await?;
    let status = lab.ready(&image).await?;
    let variant = status.variant.context("no variant")?;
    let stored = lab.stored("app");
    let tag = variant_tag(&stored, &image, &source).await?;
    assert_eq!(variant.reference.tag().map(ToString::to_string).as_ref(), Some(&tag));
    let manifest = stored.manifest_for(&tag, "amd64").await?;
    let made_of = text(&manifest["annotations"]["dev.zstart.source.digest"])?;
    assert_eq!(made_of, source.as_str());
    assert_eq!(lab.records().list(&kube::api::ListParams::default()).await?.items.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn platform_of_a_new_node_is_converted_too() -> Result<()> {
    let lab = Lab::start().await?;
    let arm = Fixture::new().platform("linux", "arm64").layer(&[("etc/app", b"for another node")]);
    let index = Index::new().oci().image(&application())?.image(&arm)?.prepare()?;
    index.push(&lab.registry.host(), "app:v1").await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let first = lab.ready(&image).await?.variant.context("no variant")?;
    assert_eq!(first.platforms.len(), 1, "{first:?}");

    lab.node("other", "arm64").await?;
    let both = lab.wait_for(&image, "ready for both", |status| {
        condition_of(status, READY).0 == "True"
            && status.variant.as_ref().is_some_and(|variant| variant.platforms.len() == 2)
    });
    let second = both.await?.variant.context("no variant")?;
    let (stored, digest) = (lab.stored("app"), second.reference.digest().context("no digest")?);
    for architecture in ["amd64", "arm64"] {
        let after = stored.manifest_for(digest.as_str(), architecture).await?;
        stored.require_same_files(&after, &stored.manifest_for("v1", architecture).await?).await?;
    }
    let old = first.reference.digest().context("no digest")?;
    assert_eq!(&stored.digest(old.as_str()).await?, old, "pods that run from it can still pull it");
    Ok(())
}
