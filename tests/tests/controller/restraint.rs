//! Requests that the controller saves a registry: verdicts are remembered, and the right to push is asked first.

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use jiff::Timestamp;
use zstart_core::record::{ImageConversionStatus, RecordReason};
use zstart_tests::images::{Compression, Fixture};
use zstart_tests::registry::gateway::Fault;
use zstart_tests::wait;

use crate::lab::{Lab, WITHIN};
use crate::records::{condition_of, record_name_of};

fn small(content: &[u8]) -> Fixture {
    Fixture::new().layer(&[("etc/app", content)])
}

fn denied(status: StatusCode) -> Fault {
    Fault::Respond(status, vec![], r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#)
}

/// Requests that a registry may count as pulls, or that move layers.
fn pulls(calls: &[String]) -> Vec<&String> {
    let counts = |call: &&String| call.contains("/manifests/") || call.contains("/blobs/");
    calls.iter().filter(|call| call.starts_with("GET ")).filter(counts).collect()
}

fn checked_at(status: &ImageConversionStatus) -> Option<Timestamp> {
    status.source.as_ref().map(|source| source.checked_at.0)
}

/// Waits for looks at two later seconds.
async fn looked_at_twice(lab: &Lab, image: &str) -> Result<()> {
    let status = lab.wait_for(image, "looked at", |status| status.source.is_some()).await?;
    let from = checked_at(&status).context("no look")?.as_second();
    lab.wait_for(image, "looked at twice more", |status| {
        checked_at(status).is_some_and(|at| at.as_second() >= from + 2)
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_push_costs_no_pull() -> Result<()> {
    for status in [StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED] {
        let lab = Lab::start().await?;
        lab.gateway.fault(Method::POST, "/blobs/uploads/", denied(status));
        for tag in ["v1", "v2"] {
            lab.push(&format!("app:{tag}"), &small(tag.as_bytes())).await?;
        }
        let (first, second) = (lab.image("app:v1"), lab.image("app:v2"));
        lab.deploy("on", "first", &first).await?;
        let _controller = lab.start_controller().await?;
        let message = lab.not_ready(&first, RecordReason::PushDenied).await?;
        assert!(message.contains("read only") && message.contains(&lab.image("app")), "{message}");
        // The denial holds for every tag of the repository.
        lab.deploy("on", "second", &second).await?;
        lab.not_ready(&second, RecordReason::PushDenied).await?;
        let calls = lab.gateway.calls();
        assert!(pulls(&calls).is_empty(), "{calls:?}");
        let posts = calls.iter().filter(|call| call.starts_with("POST ")).count();
        assert_eq!(posts, 1, "{calls:?}");

        // A user who granted the right asks for a new look.
        lab.gateway.clear_faults();
        lab.retry(&first).await?;
        lab.ready(&first).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn variant_of_another_client_is_used_without_the_right_to_push() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &small(b"app")).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let controller = lab.start_controller().await?;
    let made = lab.ready(&image).await?.variant.context("no variant")?;
    controller.stop().await?;
    lab.records().delete(&record_name_of(&image)?, &kube::api::DeleteParams::default()).await?;

    lab.gateway.fault(Method::POST, "/blobs/uploads/", denied(StatusCode::FORBIDDEN));
    let _controller = lab.start_controller().await?;
    assert_eq!(lab.ready(&image).await?.variant.context("no variant")?.reference, made.reference);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_images_cost_one_head_a_look() -> Result<()> {
    let lab = Lab::start().await?;
    let layers = small(b"one").layer(&[("etc/wrong", b"wrong")]);
    lab.push("damaged:v1", &layers.with_wrong_diff_id()).await?;
    lab.push("windows:v1", &small(b"app").platform("windows", "amd64")).await?;
    let zstd = Fixture::new().oci().layer_as(Compression::Zstd, &[("etc/app", b"zstd")]);
    lab.push("zstd:v1", &zstd).await?;
    let cases = [
        ("damaged", RecordReason::ContentMismatch),
        ("windows", RecordReason::NotConvertible),
        ("zstd", RecordReason::AlreadyZstd),
    ];
    for (name, _) in &cases {
        lab.deploy("on", name, &lab.image(&format!("{name}:v1"))).await?;
    }
    let controller = lab.start_controller_with("recheckInterval: 1s").await?;
    for (name, reason) in &cases {
        lab.not_ready(&lab.image(&format!("{name}:v1")), *reason).await?;
    }
    let recording = lab.gateway.record();
    for (name, _) in &cases {
        looked_at_twice(&lab, &lab.image(&format!("{name}:v1"))).await?;
    }
    let calls = recording.calls();
    assert!(calls.iter().all(|call| call.starts_with("HEAD ")), "{calls:?}");
    controller.stop().await?;

    // The records remember for the next process.
    let recording = lab.gateway.record();
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    for (name, reason) in &cases {
        let image = lab.image(&format!("{name}:v1"));
        looked_at_twice(&lab, &image).await?;
        lab.not_ready(&image, *reason).await?;
        let events = lab.events("on", "Deployment", name).await?;
        let reported = events.iter().filter(|event| event.reason == reason.as_str()).count();
        let expected = usize::from(*reason != RecordReason::AlreadyZstd);
        assert_eq!(reported, expected, "{name}: {events:?}");
    }
    let calls = recording.calls();
    assert!(calls.iter().all(|call| call.starts_with("HEAD ") || call.ends_with("/v2/")), "{calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_costs_no_pull() -> Result<()> {
    let lab = Lab::start().await?;
    let mut images = Vec::new();
    for number in 0..5 {
        let name = format!("app{number}:v1");
        lab.push(&name, &small(name.as_bytes())).await?;
        images.push(lab.image(&name));
        lab.deploy("on", &format!("app{number}"), &images[number]).await?;
    }
    let controller = lab.start_controller().await?;
    for image in &images {
        lab.ready(image).await?;
    }
    controller.stop().await?;
    let recording = lab.gateway.record();
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    let heads = || async {
        let heads = recording.calls().iter().filter(|call| call.starts_with("HEAD ")).count();
        Ok((heads >= 2 * images.len()).then_some(heads))
    };
    wait::until("a pair of HEADs a record", WITHIN, heads).await?;
    let calls = recording.calls();
    assert!(pulls(&calls).is_empty(), "{calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_conversion_gives_its_worker_back() -> Result<()> {
    let lab = Lab::start().await?;
    for name in ["slow:v1", "app:v1"] {
        lab.push(name, &small(name.as_bytes())).await?;
    }
    let gate = crate::request_gate::RequestGate::default();
    lab.gateway.fault(Method::PUT, "/slow/blobs/uploads/", gate.fault());
    let (slow, image) = (lab.image("slow:v1"), lab.image("app:v1"));
    lab.deploy("on", "slow", &slow).await?;
    let _controller = lab.start_controller_with("workers: 1\nconversionTimeout: 2s").await?;
    gate.wait_for_request("upload a layer").await?;
    lab.deploy("on", "web", &image).await?;
    lab.ready(&image).await?;
    let message = lab.not_ready(&slow, RecordReason::Failed).await?;
    assert!(message.contains("controller.conversionTimeout"), "{message}");
    let status = lab.records().get(&record_name_of(&slow)?).await?.status.context("no status")?;
    assert_eq!(condition_of(&status, zstart_core::record::CONVERTED).1, "Failed");
    Ok(())
}
