//! Platforms that join a cluster, and conversions for them that fail.

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use zstart_core::record::{CONVERTED, ImageConversionStatus, READY, RecordReason, Variant};
use zstart_tests::images::{Fixture, Index};
use zstart_tests::registry::gateway::Fault;
use zstart_tests::registry::repository_reader::text;

use crate::lab::Lab;
use crate::records::condition_of;

/// Pushes an index for amd64 and arm64.
async fn push_index(lab: &Lab, name: &str) -> Result<()> {
    let of = |architecture: &str| {
        let content = format!("{name} for {architecture}");
        Fixture::new().platform("linux", architecture).layer(&[("etc/app", content.as_bytes())])
    };
    let index = Index::new().image(&of("amd64"))?.image(&of("arm64"))?;
    index.prepare()?.push(&lab.registry.host(), name).await?;
    Ok(())
}

fn serves(platforms: usize) -> impl Fn(&ImageConversionStatus) -> bool {
    move |status| {
        condition_of(status, READY).0 == "True"
            && status.variant.as_ref().is_some_and(|variant| variant.platforms.len() == platforms)
    }
}

async fn serving(lab: &Lab, image: &str, platforms: usize) -> Result<Variant> {
    let status = lab.wait_for(image, &format!("ready for {platforms} platforms"), serves(platforms)).await?;
    status.variant.context("no variant")
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_addition_of_a_platform_keeps_the_variant() -> Result<()> {
    let lab = Lab::start().await?;
    let refuse = |status, body| Fault::Respond(status, vec![], body);
    let mut cases = vec![
        (
            "denied",
            (Method::POST, "/v2/denied/blobs/uploads/".to_owned()),
            refuse(StatusCode::FORBIDDEN, r#"{"errors":[{"code":"DENIED"}]}"#),
            RecordReason::PushDenied,
        ),
        (
            "immutable",
            (Method::PUT, "/v2/immutable/manifests/v1-zstd-".to_owned()),
            refuse(StatusCode::BAD_REQUEST, r#"{"errors":[{"code":"TAG_INVALID"}]}"#),
            RecordReason::VariantConflict,
        ),
    ];
    for (name, ..) in &cases {
        push_index(&lab, &format!("{name}:v1")).await?;
    }
    push_index(&lab, "damaged:v1").await?;
    let joining = lab.stored("damaged").manifest_for("v1", "arm64").await?;
    let layer = (Method::GET, text(&joining["layers"][0]["digest"])?.to_owned());
    cases.push(("damaged", layer, Fault::FlipBytes, RecordReason::ContentMismatch));
    let image = |name: &str| lab.image(&format!("{name}:v1"));
    for (name, ..) in &cases {
        lab.deploy("on", name, &image(name)).await?;
    }
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    let mut before = Vec::new();
    for (name, ..) in &cases {
        before.push(serving(&lab, &image(name), 1).await?);
    }

    for (_, (method, path), fault, _) in &cases {
        lab.gateway.fault(method.clone(), path, fault.clone());
    }
    lab.node("graviton", "arm64").await?;
    for ((name, _, _, reason), before) in cases.iter().zip(&before) {
        let failed = |status: &ImageConversionStatus| condition_of(status, CONVERTED).1 == reason.as_str();
        let status = lab.wait_for(&image(name), &format!("reported as {reason}"), failed).await?;
        assert_eq!(status.variant.as_ref(), Some(before), "{name}");
        let ready = condition_of(&status, READY);
        assert_eq!((ready.0, ready.1), ("True", "Verified"), "{name}: {ready:?}");
        let message = condition_of(&status, CONVERTED).2;
        assert!(message.starts_with("failed to add linux/arm64 to the variant: "), "{name}: {message}");
        let variant = before.reference.digest().context("no digest")?;
        assert_eq!(&lab.stored(name).digest(variant.as_str()).await?, variant, "pods pull it");
    }

    lab.gateway.clear_faults();
    for (name, ..) in &cases {
        serving(&lab, &image(name), 2).await?;
    }
    Ok(())
}
