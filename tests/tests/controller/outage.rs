//! A registry or an API server that is unreachable, fails, or asks for a pause.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use jiff::Timestamp;
use kube::Api;
use zstart_core::FreshnessSweep;
use zstart_core::record::{READY, RESOLVED, RecordReason};
use zstart_core::sweep::SWEEP;
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::{Fault, Gateway};
use zstart_tests::tcp_proxy::TcpProxy;
use zstart_tests::wait;

use crate::lab::{Lab, WITHIN, start_controller_at};
use crate::records::{condition_of, is_upload, record_name_of, variant_tag};
use crate::request_gate::RequestGate;
use crate::write_refusal::WriteRefusal;

fn small() -> Fixture {
    Fixture::new().layer(&[("etc/app", b"configuration")])
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_registry_is_retried_until_it_recovers() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &small()).await?;
    let image = lab.image("app:v1");
    let trouble = Fault::Respond(StatusCode::INTERNAL_SERVER_ERROR, vec![], "out of order");
    for method in [Method::GET, Method::HEAD] {
        lab.gateway.fault_at(method, "/v2/app/manifests/v1", trouble.clone());
    }
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let message = lab.not_ready(&image, RecordReason::RegistryUnavailable).await?;
    assert!(message.contains("pull image v1") && message.contains(&lab.image("app")), "{message}");
    assert!(message.contains("HTTP 500 out of order"), "{message}");
    assert!(lab.warning("web", RecordReason::RegistryUnavailable).await?.contains(&image));
    lab.gateway.clear_faults();
    lab.ready(&image).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_of_a_registry_is_honoured() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &small()).await?;
    let image = lab.image("app:v1");
    // Longer than a worker waits.
    let patience = vec![("retry-after", "11".to_owned())];
    let patience = Fault::Respond(StatusCode::TOO_MANY_REQUESTS, patience, "slow down");
    lab.gateway.fault_times(1, Method::HEAD, "/manifests/v1", patience);
    let started = Instant::now();
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let message = lab.not_ready(&image, RecordReason::RateLimited).await?;
    assert!(message.contains("resolve image v1") && message.contains(&lab.image("app")), "{message}");
    assert!(message.contains("HTTP 429"), "{message}");
    lab.ready(&image).await?;
    // Without Retry-After the controller would wait for half a minute.
    let took = started.elapsed();
    assert!(took > Duration::from_secs(11) && took < Duration::from_secs(25), "{took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_retry_after_blocks_no_other_image() -> Result<()> {
    let lab = Lab::start().await?;
    let (endless, image) = (lab.image("endless:v1"), lab.image("app:v1"));
    let pause = vec![("retry-after", u64::MAX.to_string())];
    let pause = Fault::Respond(StatusCode::TOO_MANY_REQUESTS, pause, "never again");
    lab.gateway.fault(Method::GET, "/endless/", pause);
    lab.deploy("on", "endless", &endless).await?;
    let controller = lab.start_controller().await?;
    lab.not_ready(&endless, RecordReason::RateLimited).await?;
    lab.push("app:v1", &small()).await?;
    lab.deploy("on", "web", &image).await?;
    lab.ready(&image).await?;
    controller.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_registry_is_named_and_found_again() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &small()).await?;
    let mut proxy = TcpProxy::start(lab.registry.host()).await?;
    proxy.stop().await;
    let image = format!("{}/app:v1", proxy.host());
    lab.deploy("on", "web", &image).await?;
    let _controller = start_controller_at(lab.plane.config().await?, &[&proxy.host()], "")?;
    let message = lab.not_ready(&image, RecordReason::RegistryUnavailable).await?;
    assert!(message.contains(&format!("{}/app", proxy.host())), "{message}");
    assert!(message.to_lowercase().contains("connection refused"), "{message}");
    proxy.restart().await?;
    lab.ready(&image).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn variant_keeps_serving_during_a_registry_outage() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &small()).await?;
    let mut proxy = TcpProxy::start(lab.registry.host()).await?;
    let image = format!("{}/app:v1", proxy.host());
    lab.deploy("on", "web", &image).await?;
    let _controller =
        start_controller_at(lab.plane.config().await?, &[&proxy.host()], "recheckInterval: 1s")?;
    let before = lab.ready(&image).await?;

    proxy.stop().await;
    let away =
        lab.wait_for(&image, "unresolved", |status| condition_of(status, RESOLVED).0 == "False").await?;
    let (_, reason, message) = condition_of(&away, RESOLVED);
    assert_eq!(reason, "RegistryUnavailable");
    assert!(message.contains(&format!("{}/app", proxy.host())), "{message}");
    assert_eq!(condition_of(&away, READY), condition_of(&before, READY));
    let (old, now) = (before.variant.context("no variant")?, away.variant.context("no variant")?);
    assert_eq!(now, old);
    assert!(lab.warning("web", RecordReason::RegistryUnavailable).await?.contains(&image));

    proxy.restart().await?;
    let back = lab.wait_for(&image, "resolved", |status| condition_of(status, RESOLVED).0 == "True").await?;
    assert_eq!(condition_of(&back, READY).0, "True");
    assert_eq!(back.variant.context("no variant")?.reference, old.reference);
    let (away, back) = (away.source.context("no source")?, back.source.context("no source")?);
    assert!(back.checked_at > away.checked_at, "checkedAt advances only with successful checks");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_registry_blocks_no_other_registry() -> Result<()> {
    let lab = Lab::start().await?;
    let silent = Gateway::start(&lab.registry.host()).await?;
    let gate = RequestGate::default();
    silent.fault(Method::GET, "/v2/", gate.fault());
    // More than the concurrent lookups.
    for number in 0..12 {
        let image = format!("{}/app:v{number}", silent.host());
        lab.deploy("on", &format!("silent-{number}"), &image).await?;
    }
    let _controller =
        start_controller_at(lab.plane.config().await?, &[&silent.host(), &lab.gateway.host()], "")?;
    gate.wait_for_request("look an image up").await?;
    lab.push("app:v1", &small()).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let started = Instant::now();
    lab.ready(&image).await?;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_image_stops_serving() -> Result<()> {
    let lab = Lab::start().await?;
    let (source, image) = (lab.push("app:v1", &small()).await?, lab.image("app:v1"));
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    lab.ready(&image).await?;
    lab.stored("app").delete_manifest(source.as_str()).await?;
    lab.not_ready(&image, RecordReason::SourceNotFound).await?;
    lab.push("app:v1", &small()).await?;
    lab.ready(&image).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn record_survives_a_connection_that_loses_packets() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &small()).await?;
    let image = lab.image("app:v1");
    let proxy = TcpProxy::start(lab.api_server().await?).await?;
    let mut config = lab.plane.config().await?;
    config.cluster_url = format!("https://{}", proxy.host()).parse()?;
    lab.deploy("on", "web", &image).await?;
    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "/blobs/uploads/", gate.fault());
    let controller = start_controller_at(config, &[&lab.gateway.host()], "")?;
    gate.wait_for_request("upload a layer").await?;
    // The connections of all watches, and the one on which the result is written next, are dead. New ones work.
    proxy.lose_connections();
    gate.open();
    // Two events precede the status, each on a dead connection: 20 seconds each. The kernel gives a connection up
    // after 15 minutes.
    wait::until("the record to be ready", 2 * WITHIN, || async {
        let record = lab.records().get(&record_name_of(&image)?).await?;
        Ok(record.status.filter(|status| condition_of(status, READY).0 == "True"))
    })
    .await?;
    controller.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_registry_is_probed_by_one_source_at_a_time() -> Result<()> {
    const SOURCES: usize = 40;
    let lab = Lab::start().await?;
    let trouble = Fault::Respond(StatusCode::SERVICE_UNAVAILABLE, vec![], "out of order");
    for method in [Method::GET, Method::HEAD, Method::POST] {
        lab.gateway.fault(method, "/v2/", trouble.clone());
    }
    let names: Vec<String> = (0..SOURCES).map(|number| format!("app{number}")).collect();
    let image = |name: &String| lab.image(&format!("{name}:v1"));
    for name in &names {
        lab.push(&format!("{name}:v1"), &small()).await?;
        lab.deploy("on", name, &image(name)).await?;
    }
    let _controller = lab.start_controller().await?;
    for name in &names {
        lab.not_ready(&image(name), RecordReason::RegistryUnavailable).await?;
    }
    let calls = lab.gateway.calls();
    let asked =
        names.iter().filter(|name| calls.iter().any(|call| call.contains(&format!("/{name}/")))).count();
    let mut reported = 0;
    for name in &names {
        let events = lab.events("on", "Deployment", name).await?;
        assert!(events.len() <= 1, "{events:?}");
        reported += events.len();
    }
    // Eight looks begin at once, and probes follow.
    assert!(asked <= 14 && reported <= 14, "{asked} asked, {reported} reported: {calls:?}");
    lab.gateway.clear_faults();
    for name in &names {
        lab.ready(&image(name)).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_are_left_alone_while_no_status_is_accepted() -> Result<()> {
    let lab = Lab::start().await?;
    let images = ["app:v1", "other:v1"].map(|name| lab.image(name));
    for name in ["app", "other"] {
        lab.push(&format!("{name}:v1"), &small()).await?;
        lab.deploy("on", name, &lab.image(&format!("{name}:v1"))).await?;
    }
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    for image in &images {
        lab.ready(image).await?;
    }
    // An update is refused, and not the creation.
    let sweeps = Api::<FreshnessSweep>::all(lab.admin.clone());
    wait::until("the first sweep", WITHIN, || async { Ok(sweeps.get_opt(SWEEP).await?.map(drop)) }).await?;
    let refusal = WriteRefusal::start(&lab, &["freshnesssweeps", "imageconversions/status"]).await?;
    wait::until("a refused write", WITHIN, || async { Ok((refusal.count().await? > 0).then_some(())) })
        .await?;

    let (recording, before) = (lab.gateway.record(), refusal.count().await?);
    let more = || async { Ok((refusal.count().await? >= before + 3).then_some(())) };
    wait::until("further refused writes", WITHIN, more).await?;
    let calls = recording.calls();
    // Three refusals take 15 s, with a look under way and two probes of two calls each. Without the pause, both images
    // would be looked at each second: 60 calls.
    assert!(calls.len() <= 8, "{calls:?}");

    refusal.end().await?;
    for image in &images {
        let since = Timestamp::now();
        lab.wait_for(image, "looked at again", |status| {
            status.source.as_ref().is_some_and(|source| source.checked_at.0 > since)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn api_server_outage_loses_no_work() -> Result<()> {
    let lab = Lab::start().await?;
    for name in ["app:v1", "app:v2"] {
        let content = name.as_bytes();
        lab.push(name, &Fixture::new().layer(&[("etc/app", content)])).await?;
    }
    let mut config = lab.plane.config().await?;
    let server = config.cluster_url.authority().context("no address")?.to_string();
    let mut proxy = TcpProxy::start(server).await?;
    config.cluster_url = format!("https://{}", proxy.host()).parse()?;
    let (first, second) = (lab.image("app:v1"), lab.image("app:v2"));
    lab.deploy("on", "first", &first).await?;
    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "/blobs/uploads/", gate.fault());
    let controller = start_controller_at(config, &[&lab.gateway.host()], "")?;
    gate.wait_for_request("upload a layer").await?;

    // The API server goes away during a conversion, so the result can't be written.
    proxy.stop().await;
    gate.open();
    let (stored, source) = (lab.stored("app"), lab.stored("app").digest("v1").await?);
    wait::until("the variant", WITHIN, || async { variant_tag(&stored, &first, &source).await.map(Some) })
        .await?;
    lab.deploy("on", "second", &second).await?;
    proxy.restart().await?;
    lab.ready(&first).await?;
    lab.ready(&second).await?;
    let uploads = lab.gateway.calls().iter().filter(|call| is_upload(call)).count();
    assert_eq!(uploads, 2, "finished variants are found: {:?}", lab.gateway.calls());
    controller.stop().await
}
