//! Images that zstart refuses, and records with an invalid source.

use anyhow::Result;
use http::{Method, StatusCode};
use kube::Api;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject};
use serde_json::json;
use zstart_core::record::RecordReason;
use zstart_core::{ImageConversion, Reference};
use zstart_tests::images::{Compression, Fixture};
use zstart_tests::registry::gateway::Fault;

use crate::lab::Lab;
use crate::records::{record_name_of, recorded_tag};

#[tokio::test(flavor = "multi_thread")]
async fn unconvertible_images_are_reported_and_left_unchanged() -> Result<()> {
    let lab = Lab::start().await?;
    let files: &[(&str, &[u8])] = &[("etc/app", b"configuration")];
    let plain = Fixture::new().layer(files);
    lab.push("chart:v0", &plain).await?;
    let mut config = lab.stored("chart").manifest_for("v0", "amd64").await?["config"].take();
    config["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    let cases = [
        ("zstd", Fixture::new().oci().layer_as(Compression::Zstd, files), RecordReason::AlreadyZstd, "zstd"),
        (
            "artifact",
            plain.clone().oci().members(json!({"artifactType": "application/vnd.example"})),
            RecordReason::NotConvertible,
            "artifactType",
        ),
        (
            "chart",
            plain.clone().oci().members(json!({"config": config})),
            RecordReason::NotConvertible,
            "application/vnd.cncf.helm.config.v1+json",
        ),
        (
            "windows",
            plain.clone().platform("windows", "amd64"),
            RecordReason::NotConvertible,
            "the image is for Windows",
        ),
        (
            "arm",
            plain.clone().platform("linux", "arm64"),
            RecordReason::NotConvertible,
            "none of the selected platforms, only linux/arm64",
        ),
    ];
    for (name, image, _, _) in &cases {
        lab.push(&format!("{name}:v1"), image).await?;
        lab.deploy("on", name, &lab.image(&format!("{name}:v1"))).await?;
    }
    let _controller = lab.start_controller().await?;
    for (name, _, reason, said) in &cases {
        let message = lab.not_ready(&lab.image(&format!("{name}:v1")), *reason).await?;
        assert!(message.contains(said), "{name}: {message}");
    }
    // Whether it may push, the controller asks by an upload that it gives up.
    let writes =
        lab.gateway.calls().into_iter().filter(|call| call.starts_with("PU") || call.starts_with("PA"));
    assert_eq!(writes.collect::<Vec<_>>(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_image_under_the_variant_tag_is_reported() -> Result<()> {
    let lab = Lab::start().await?;
    let application = Fixture::new().layer(&[("etc/app", b"configuration")]);
    // The name follows from the content alone: another repository tells it.
    lab.push("twin:v1", &application).await?;
    lab.deploy("on", "twin", &lab.image("twin:v1")).await?;
    let controller = lab.start_controller().await?;
    let tag = recorded_tag(&lab.ready(&lab.image("twin:v1")).await?)?;
    controller.stop().await?;
    lab.push("app:v1", &application).await?;
    let image = lab.image("app:v1");
    let other = lab.push(&format!("app:{tag}"), &Fixture::new().layer(&[("etc/app", b"other")])).await?;
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let message = lab.not_ready(&image, RecordReason::VariantConflict).await?;
    assert!(message.contains(&format!("{}:{tag}", lab.image("app"))), "{message}");
    assert_eq!(lab.stored("app").digest(&tag).await?, other);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn overwritten_variant_tag_stops_serving() -> Result<()> {
    let lab = Lab::start().await?;
    let source = lab.push("app:v1", &Fixture::new().layer(&[("etc/app", b"configuration")])).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    let tag = recorded_tag(&lab.ready(&image).await?)?;
    let evil = Fixture::new().layer(&[("etc/app", b"evil")]);
    let evil = evil.members(json!({"annotations": {"dev.zstart.source.digest": source}}));
    let evil = lab.push(&format!("app:{tag}"), &evil).await?;
    let message = lab.not_ready(&image, RecordReason::VariantConflict).await?;
    assert!(message.contains(&format!("{}:{tag}", lab.image("app"))), "{message}");

    // zstart never removes an image that it didn't push.
    assert_eq!(lab.stored("app").digest(&tag).await?, evil);
    lab.stored("app").delete_manifest(evil.as_str()).await?;
    lab.ready(&image).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn variant_that_cannot_be_read_back_is_no_missing_source() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &Fixture::new().layer(&[("etc/app", b"configuration")])).await?;
    let image = lab.image("app:v1");
    let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;
    lab.gateway.fault(Method::GET, "-zstd-", Fault::Respond(StatusCode::NOT_FOUND, vec![], unknown));
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let message = lab.not_ready(&image, RecordReason::NotVerified).await?;
    assert!(message.contains("failed to verify the pushed variant"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tag_in_the_form_of_a_variants_is_decided_by_its_manifest() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &Fixture::new().layer(&[("etc/app", b"configuration")])).await?;
    lab.push("app:mine-zstd-0123456789ab", &Fixture::new().layer(&[("etc/app", b"mine")])).await?;
    let (source, own) = (lab.image("app:v1"), lab.image("app:mine-zstd-0123456789ab"));
    lab.deploy("on", "web", &source).await?;
    lab.deploy("on", "own", &own).await?;
    let _controller = lab.start_controller().await?;
    lab.ready(&own).await?;

    // A variant that a template names by hand is converted no further.
    let variant = lab.image(&format!("app:{}", recorded_tag(&lab.ready(&source).await?)?));
    lab.deploy("on", "by-hand", &variant).await?;
    let message = lab.not_ready(&variant, RecordReason::NotConvertible).await?;
    assert!(message.contains("already a variant made by zstart"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_records_name_the_expected_record() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &Fixture::new().layer(&[("etc/app", b"configuration")])).await?;
    let image = lab.image("app:v1");
    let expected = record_name_of(&image)?;
    let both = format!("{image}@sha256:{}", "0".repeat(64));
    let variant = lab.image("app:sha256-0123456789ab-zstd-01234567");
    let cases = [
        ("by-hand", image.clone(), expected.clone()),
        ("abnormal", both.clone(), both.parse::<Reference>()?.identity().to_string()),
        (&*record_name_of(&variant)?, variant.clone(), "already a variant".to_owned()),
    ];
    for (name, source, _) in &cases {
        let record = json!({"metadata": {"name": name}, "spec": {"source": source}});
        lab.create::<ImageConversion>(&lab.records(), record).await?;
    }
    let _controller = lab.start_controller().await?;
    for (name, source, said) in &cases {
        let message = lab.record_not_ready(name, RecordReason::NotConvertible).await?;
        assert!(message.contains(source) && message.contains(said), "{name}: {message}");
    }
    assert_eq!(lab.gateway.calls(), Vec::<String>::new(), "no registry is asked about any of them");

    // A valid record created by hand is treated like zstart's own.
    let record = json!({"metadata": {"name": expected}, "spec": {"source": image}});
    lab.create::<ImageConversion>(&lab.records(), record).await?;
    lab.ready(&image).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_record_stops_no_other() -> Result<()> {
    let lab = Lab::start().await?;
    let broken = json!({
        "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion",
        "metadata": {"name": "broken"}, "spec": {"source": "No Reference"},
    });
    let records =
        Api::<DynamicObject>::all_with(lab.admin.clone(), &ApiResource::erase::<ImageConversion>(&()));
    records.create(&PostParams::default(), &serde_json::from_value(broken)?).await?;
    let _controller = lab.start_controller().await?;
    lab.push("app:v1", &Fixture::new().layer(&[("etc/app", b"app")])).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    lab.ready(&image).await?;
    Ok(())
}
