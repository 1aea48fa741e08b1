//! Bytes that don't match their digest or `diff_id`: never tagged, never served.

use anyhow::Result;
use http::Method;
use zstart_core::record::RecordReason;
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::Fault;

use crate::lab::Lab;
use crate::records::{is_upload, variant_tag};
use zstart_tests::registry::repository_reader::{layers, text};

#[tokio::test(flavor = "multi_thread")]
async fn corrupted_blob_is_named_and_nothing_is_tagged() -> Result<()> {
    let lab = Lab::start().await?;
    let image = Fixture::new().layer(&[("etc/app", b"configuration")]).large_layer("usr/bin/app", 1 << 20);
    let mut cases = Vec::new();
    for part in ["layer", "config"] {
        let source = lab.push(&format!("{part}:v1"), &image).await?;
        let manifest = lab.stored(part).manifest_for("v1", "amd64").await?;
        let descriptor = if part == "layer" { &layers(&manifest)?[1] } else { &manifest["config"] };
        let blob = text(&descriptor["digest"])?.to_owned();
        lab.gateway.fault(Method::GET, &format!("/v2/{part}/blobs/{blob}"), Fault::FlipBytes);
        let reference = lab.image(&format!("{part}:v1"));
        lab.deploy("on", part, &reference).await?;
        cases.push((part, reference, source, blob));
    }
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    for (part, reference, _, blob) in &cases {
        let message = lab.not_ready(reference, RecordReason::ContentMismatch).await?;
        assert!(message.contains(blob), "{part} {blob}: {message}");
        assert!(lab.warning(part, RecordReason::ContentMismatch).await?.contains(reference));
        assert_eq!(lab.stored(part).tags().await?, ["v1"]);
        let manifests = format!("PUT /v2/{part}/manifests/");
        assert!(!lab.gateway.calls().iter().any(|call| call.starts_with(&manifests)), "{part}");
    }
    // The damage may be repaired later.
    lab.gateway.clear_faults();
    for (part, reference, source, _) in &cases {
        lab.ready(reference).await?;
        let stored = lab.stored(part);
        assert_eq!(stored.tags().await?, ["v1", &variant_tag(&stored, reference, source).await?]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn layer_with_wrong_diff_id_is_named_and_not_tagged() -> Result<()> {
    let lab = Lab::start().await?;
    let image = Fixture::new().layer(&[("etc/app", b"configuration")]).layer(&[("etc/wrong", b"wrong")]);
    lab.push("app:v1", &image.clone().with_wrong_diff_id()).await?;
    let source = lab.stored("app").manifest_for("v1", "amd64").await?;
    let layer = text(&layers(&source)?[1]["digest"])?.to_owned();
    let reference = lab.image("app:v1");
    lab.deploy("on", "web", &reference).await?;
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    let message = lab.not_ready(&reference, RecordReason::ContentMismatch).await?;
    assert!(message.contains(&layer) && message.contains("diff_id"), "{layer}: {message}");
    assert!(lab.warning("web", RecordReason::ContentMismatch).await?.contains(&layer));
    assert_eq!(lab.stored("app").tags().await?, ["v1"]);
    let calls = lab.gateway.calls();
    assert!(!calls.iter().any(|call| call.starts_with("PUT /v2/app/manifests/")), "{calls:?}");
    let uploads = calls.iter().filter(|call| is_upload(call)).count();
    assert!(uploads <= 1, "the wrong layer isn't stored: {calls:?}");

    // A correct build under the same tag.
    lab.push("app:v1", &image).await?;
    lab.ready(&reference).await?;
    Ok(())
}
