//! Requests of users on records: a look in full, a variant of the current settings.

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use zstart_core::keys;
use zstart_core::record::{CONVERTED, ImageConversionStatus, READY, RESOLVED, RecordReason, Requests};
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::Fault;

use crate::lab::Lab;
use crate::records::{condition_of, record_name_of, recorded_tag};
use crate::request_gate::RequestGate;

fn small() -> Fixture {
    Fixture::new().layer(&[("etc/app", b"app")])
}

impl Lab {
    /// Asks for a variant of the current settings.
    async fn reconvert(&self, image: &str) -> Result<()> {
        let request = json!({"metadata": {"annotations": {keys::RECONVERT: Timestamp::now().to_string()}}});
        let (name, parameters) = (record_name_of(image)?, PatchParams::default());
        self.records().patch(&name, &parameters, &Patch::Merge(request)).await?;
        Ok(())
    }

    /// Converts `app:v1` at level 3, and returns the name of the image and the status of its record.
    async fn converted_at_level_3(&self) -> Result<(String, ImageConversionStatus)> {
        self.push("app:v1", &small()).await?;
        let image = self.image("app:v1");
        self.deploy("on", "web", &image).await?;
        let controller = self.start_controller().await?;
        let status = self.ready(&image).await?;
        controller.stop().await?;
        Ok((image, status))
    }

    /// Waits until the record of an image shows its requests as answered.
    pub(crate) async fn answered(&self, image: &str) -> Result<ImageConversionStatus> {
        let record = self.records().get(&record_name_of(image)?).await?;
        let requests = Requests::of(&record.metadata).into_some();
        self.wait_for(image, "answered", |status| status.answered == requests).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_without_a_controller_is_answered_once() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &small()).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let controller = lab.start_controller().await?;
    assert_eq!(lab.ready(&image).await?.answered, None);
    controller.stop().await?;

    lab.retry(&image).await?;
    let recording = lab.gateway.record();
    let controller = lab.start_controller_with("recheckInterval: 1s").await?;
    let status = lab.answered(&image).await?;
    let record = lab.records().get(&record_name_of(&image)?).await?;
    assert_eq!(status.answered.context("no request")?.retry, record.annotations().get(keys::RETRY).cloned());
    let reads = |calls: Vec<String>| {
        calls.iter().filter(|call| call.starts_with("GET ") && call.contains("/manifests/")).count()
    };
    assert!(reads(recording.calls()) > 0, "the variant is verified in full: {:?}", recording.calls());
    controller.stop().await?;

    let recording = lab.gateway.record();
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    let from = status.source.context("no source")?.checked_at.0.as_second();
    lab.wait_for(&image, "looked at again", |status| {
        status.source.as_ref().is_some_and(|source| source.checked_at.0.as_second() > from + 1)
    })
    .await?;
    assert_eq!(reads(recording.calls()), 0, "{:?}", recording.calls());
    Ok(())
}

fn settings(status: &ImageConversionStatus) -> &str {
    status.variant.as_ref().map_or("", |variant| &variant.settings)
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_level_is_applied_once_on_request() -> Result<()> {
    let lab = Lab::start().await?;
    let (image, before) = lab.converted_at_level_3().await?;
    assert!(settings(&before).contains("level=3"), "{before:#?}");
    let controller = lab.start_controller_with("level: 9").await?;
    // A verification in full accepts the variant.
    lab.retry(&image).await?;
    assert_eq!(
        lab.answered(&image).await?.variant.map(|variant| variant.reference),
        before.variant.as_ref().map(|variant| variant.reference.clone())
    );

    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "/manifests/", gate.fault());
    lab.reconvert(&image).await?;
    gate.wait_for_request("push a manifest").await?;
    let during = lab
        .wait_for(&image, "converting", |status| condition_of(status, CONVERTED).1 == "Converting")
        .await?;
    assert_eq!((condition_of(&during, READY).0, settings(&during)), ("True", settings(&before)), "it serves");
    gate.open();
    let after = lab.answered(&image).await?;
    assert!(settings(&after).contains("level=9"), "{after:#?}");
    let tags = lab.stored("app").tags().await?;
    for status in [&before, &after] {
        assert!(tags.contains(&recorded_tag(status)?), "{tags:?}");
    }
    controller.stop().await?;

    // The request is answered: another level needs another one.
    let controller = lab.start_controller_with("level: 1").await?;
    lab.retry(&image).await?;
    assert_eq!(settings(&lab.answered(&image).await?), settings(&after));
    assert_eq!(lab.stored("app").tags().await?, tags);
    controller.stop().await?;

    // A variant of the current level is found and not made again.
    let _controller = lab.start_controller().await?;
    let recording = lab.gateway.record();
    lab.reconvert(&image).await?;
    let status = lab.answered(&image).await?;
    assert_eq!(recorded_tag(&status)?, recorded_tag(&before)?);
    assert!(recording.calls().iter().all(|call| !call.starts_with("PUT ")), "{:?}", recording.calls());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reconversion_without_the_right_to_push_leaves_the_variant() -> Result<()> {
    let lab = Lab::start().await?;
    let (image, before) = lab.converted_at_level_3().await?;
    let body = r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#;
    lab.gateway.fault(Method::POST, "/blobs/uploads/", Fault::Respond(StatusCode::FORBIDDEN, vec![], body));
    let _controller = lab.start_controller_with("level: 9").await?;
    let recording = lab.gateway.record();
    lab.reconvert(&image).await?;
    let status =
        lab.wait_for(&image, "denied", |status| condition_of(status, CONVERTED).1 == "PushDenied").await?;
    assert_eq!((condition_of(&status, READY).0, settings(&status)), ("True", settings(&before)));
    assert!(condition_of(&status, CONVERTED).2.contains("read only"), "{status:#?}");
    assert_eq!(status.answered, None);
    let calls = recording.calls();
    let blobs: Vec<&String> =
        calls.iter().filter(|call| call.starts_with("GET ") && call.contains("/blobs/")).collect();
    assert_eq!(blobs.len(), 1, "the config, and no layer: {calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn request_outlives_a_failed_look_at_the_serving_variant() -> Result<()> {
    let lab = Lab::start().await?;
    let (image, before) = lab.converted_at_level_3().await?;
    let _controller = lab.start_controller_with("level: 9\nrecheckInterval: 1s").await?;
    let trouble = Fault::Respond(StatusCode::BAD_GATEWAY, vec![], "out of order");
    lab.gateway.fault(Method::PUT, "/manifests/", trouble);
    lab.reconvert(&image).await?;
    let unavailable = RecordReason::RegistryUnavailable.as_str();
    lab.wait_for(&image, "not reconverted", |status| condition_of(status, CONVERTED).1 == unavailable)
        .await?;
    // Until the next attempt, looks only confirm the variant that serves. One of them fails.
    let headers = vec![("retry-after", "11".to_owned())];
    let pause = Fault::Respond(StatusCode::TOO_MANY_REQUESTS, headers, "slow down");
    lab.gateway.fault(Method::HEAD, "/manifests/", pause);
    let limited = RecordReason::RateLimited.as_str();
    let status = lab.wait_for(&image, "paused", |status| condition_of(status, RESOLVED).1 == limited).await?;
    assert_eq!((condition_of(&status, READY).0, settings(&status)), ("True", settings(&before)));
    assert_eq!(status.answered, None);
    lab.gateway.clear_faults();
    let after = lab.answered(&image).await?;
    assert!(settings(&after).contains("level=9"), "{after:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_during_a_pause_asks_for_the_right_to_push_again() -> Result<()> {
    let lab = Lab::start().await?;
    let tags = ["v1", "v2", "v3", "v4"];
    for tag in tags {
        lab.push(&format!("app:{tag}"), &small()).await?;
    }
    let [image, others @ ..] = tags.map(|tag| lab.image(&format!("app:{tag}")));
    let body = r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#;
    lab.gateway.fault(Method::POST, "/blobs/uploads/", Fault::Respond(StatusCode::FORBIDDEN, vec![], body));
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    lab.not_ready(&image, RecordReason::PushDenied).await?;
    lab.gateway.clear_faults();

    // The answers to three looks ask for a pause of all repositories.
    let headers = vec![("retry-after", "11".to_owned())];
    let pause = Fault::Respond(StatusCode::TOO_MANY_REQUESTS, headers, "slow down");
    lab.gateway.fault(Method::HEAD, "/manifests/", pause);
    for (tag, other) in tags[1..].iter().zip(&others) {
        lab.deploy("on", tag, other).await?;
        lab.not_ready(other, RecordReason::RateLimited).await?;
    }
    lab.retry(&image).await?;
    lab.wait_for(&image, "held back", |status| {
        let (_, reason, message) = condition_of(status, READY);
        reason == RecordReason::RateLimited.as_str() && message.contains("asked for a pause")
    })
    .await?;
    lab.gateway.clear_faults();
    lab.ready(&image).await?;
    Ok(())
}
