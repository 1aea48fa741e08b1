//! Several replicas, of which one leads: killed, terminated, paused, and cut off from the API server.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::Value;
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::Fault;
use zstart_tests::tcp_proxy::TcpProxy;
use zstart_tests::wait;

use crate::lab::{Lab, USER, WITHIN};
use crate::program::{Replica, signal};
use crate::records::record_name_of;
use crate::request_gate::RequestGate;

/// Promise of docs/install.md.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(20);

/// An image that shares no layer with one of other content.
fn application(content: &str) -> Fixture {
    let file = format!("usr/bin/{}", content.replace('/', "-"));
    Fixture::new().large_layer(&file, 2 << 20).layer(&[("etc/app", content.as_bytes())])
}

/// Name of the leader's pod.
async fn leader(lab: &Lab) -> Result<Option<String>> {
    let holder = lab.lease().await?.and_then(|lease| lease.holder_identity);
    Ok(holder.and_then(|holder| Some(holder.rsplit_once('_')?.0.to_owned())))
}

/// Waits until `name` leads. Returns the time that it took.
async fn wait_for_leader(lab: &Lab, name: &str) -> Result<Duration> {
    let start = Instant::now();
    wait::until(format!("{name} to lead"), WITHIN, || async {
        Ok((leader(lab).await?.as_deref() == Some(name)).then_some(()))
    })
    .await?;
    Ok(start.elapsed())
}

async fn is_leader(replica: &Replica) -> Result<bool> {
    let metrics = replica.get("metrics").await?.1;
    let line = |value: u8| format!("zstart_controller_leader {value}");
    let has = |value| metrics.lines().any(|other| other == line(value));
    ensure!(has(0) != has(1), "{metrics}");
    Ok(has(1))
}

/// Starts the replicas `first`, which leads, and `second`, which stands by.
async fn start_two(lab: &Lab) -> Result<(Replica, Replica)> {
    let server = lab.api_server().await?;
    let first = Replica::start(lab, "first", &server).await?;
    wait_for_leader(lab, "first").await?;
    Ok((first, Replica::start(lab, "second", &server).await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_leaders_work_is_taken_up_in_twenty_seconds() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &application("v1")).await?;
    let image = lab.image("app:v1");
    let (mut first, second) = start_two(&lab).await?;
    assert_eq!((is_leader(&first).await?, is_leader(&second).await?), (true, false));
    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "/blobs/uploads/", gate.fault());
    lab.deploy("on", "web", &image).await?;
    gate.wait_for_request("upload a layer").await?;

    first.child.kill().await?;
    let killed = Instant::now();
    lab.gateway.clear_faults();
    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "/blobs/uploads/", gate.fault());
    gate.wait_for_request("upload a layer again").await?;
    let took = killed.elapsed();
    println!("work of a killed leader is taken up after {:.1} s", took.as_secs_f64());
    assert!(took < TAKEOVER_LIMIT, "{took:?}");
    gate.open();
    lab.ready(&image).await?;
    assert!(is_leader(&second).await?);
    assert_eq!(lab.lease().await?.context("no Lease")?.lease_transitions, Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_leader_hands_over_at_once() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &application("v1")).await?;
    let image = lab.image("app:v1");
    let (mut first, second) = start_two(&lab).await?;
    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "/blobs/uploads/", gate.fault());
    lab.deploy("on", "web", &image).await?;
    gate.wait_for_request("upload a layer").await?;

    signal(&first.child, "TERM").await?;
    let took = wait_for_leader(&lab, "second").await?;
    println!("a terminated leader is replaced after {:.1} s", took.as_secs_f64());
    // The Lease of a killed leader lasts for 15 seconds.
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(first.exit_code().await?, Some(0), "{}", first.log());
    gate.open();
    lab.ready(&image).await?;
    assert!(is_leader(&second).await?);
    Ok(())
}

/// Requests of the first replica that would change an object, after the second one took the Lease.
fn late_writes(audit: &[Value], since: &str) -> Vec<String> {
    let by = |event: &Value| event["impersonatedUser"]["username"].as_str() == Some(USER);
    let is_read = |event: &Value| ["get", "list", "watch"].iter().any(|verb| event["verb"] == *verb);
    let is_late =
        |event: &Value| event["requestReceivedTimestamp"].as_str().is_some_and(|received| received > since);
    // The question for the time changes nothing.
    let is_review = |event: &Value| event["objectRef"]["resource"] == "selfsubjectreviews";
    let late =
        audit.iter().filter(|event| by(event) && !is_read(event) && !is_review(event) && is_late(event));
    late.map(|event| format!("{} {}", event["verb"], event["requestURI"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_leader_writes_nothing_after_its_return() -> Result<()> {
    let lab = Lab::start_on(ControlPlane::start_audited()).await?;
    lab.push("app:v1", &application("v1")).await?;
    let image = lab.image("app:v1");
    let server = lab.api_server().await?;
    let mut first = Replica::start(&lab, "first", &server).await?;
    wait_for_leader(&lab, "first").await?;
    // The audit log tells the replicas apart by their users.
    let second = Replica::start_as(&lab, "second", &server, None, "").await?;

    // The leader waits for the answer to its last request, and would then write that the record is Ready.
    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "-zstd-", gate.fault());
    lab.deploy("on", "web", &image).await?;
    gate.wait_for_request("push the variant").await?;
    signal(&first.child, "STOP").await?;
    lab.gateway.clear_faults();
    wait_for_leader(&lab, "second").await?;
    lab.ready(&image).await?;
    let audit = lab.plane.audit()?;
    let taken = audit.last().context("no request")?["requestReceivedTimestamp"].clone();
    let taken = taken.as_str().context("no time")?;
    let before = lab.records().get(&record_name_of(&image)?).await?.metadata.resource_version;

    // The answer arrives in the moment of the return.
    gate.open();
    signal(&first.child, "CONT").await?;
    assert_eq!(first.exit_code().await?, Some(1), "{}", first.log());
    assert!(first.log().contains("lost the leadership"), "{}", first.log());
    let late = late_writes(&lab.plane.audit()?, taken);
    assert!(late.is_empty(), "{late:#?}\n{}", first.log());
    let after = lab.records().get(&record_name_of(&image)?).await?.metadata.resource_version;
    assert_eq!(after, before);
    assert!(is_leader(&second).await?);
    assert_eq!(leader(&lab).await?.as_deref(), Some("second"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_without_api_server_ends_its_work() -> Result<()> {
    let lab = Lab::start().await?;
    let source = lab.push("app:v1", &application("v1")).await?;
    let image = lab.image("app:v1");
    let mut proxy = TcpProxy::start(lab.api_server().await?).await?;
    let mut first = Replica::start(&lab, "first", &proxy.host()).await?;
    wait_for_leader(&lab, "first").await?;
    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "/blobs/uploads/", gate.fault());
    lab.deploy("on", "web", &image).await?;
    gate.wait_for_request("upload a layer").await?;

    proxy.stop().await;
    let cut = Instant::now();
    assert_eq!(first.exit_code().await?, Some(1), "{}", first.log());
    let took = cut.elapsed();
    println!("a leader without API server ends after {:.1} s", took.as_secs_f64());
    // The last renewal is up to 2 seconds older than the cut.
    assert!(took > Duration::from_secs(7) && took < Duration::from_secs(14), "{took:?}");
    assert!(first.log().contains("failed to renew the Lease zstart-system/zstart-controller for 10 seconds"));
    gate.open();
    lab.gateway.clear_faults();
    assert_eq!(lab.stored("app").tags().await?, ["v1"]);

    let second = Replica::start(&lab, "second", &lab.api_server().await?).await?;
    let status = lab.ready(&image).await?;
    assert_eq!(status.variant.context("no variant")?.source_digest, source);
    assert!(is_leader(&second).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_killed_at_ten_moments_leaves_nothing_wrong() -> Result<()> {
    let lab = Lab::start().await?;
    let server = lab.api_server().await?;
    let mut leading = Replica::start(&lab, "r0", &server).await?;
    let names = ["r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10"];
    for (number, (name, (method, part, nth))) in names
        .into_iter()
        .zip([
            (Method::GET, "/manifests/v1", 1),
            (Method::GET, "/blobs/sha256:", 1),
            (Method::GET, "-zstd-", 1),
            (Method::GET, "/blobs/sha256:", 2),
            (Method::POST, "/blobs/uploads/", 1),
            (Method::PUT, "/blobs/uploads/", 1),
            (Method::PATCH, "/blobs/uploads/", 1),
            (Method::PUT, "/blobs/uploads/", 2),
            (Method::PUT, "/manifests/", 1),
            (Method::HEAD, "/blobs/sha256:", 1),
        ])
        .enumerate()
    {
        let moment = format!("{method} {part} number {nth}");
        let repository = format!("app{number}");
        let source = lab.push(&format!("{repository}:v1"), &application(&moment)).await?;
        let image = lab.image(&format!("{repository}:v1"));
        let standby = Replica::start(&lab, name, &server).await?;
        let gate = RequestGate::default();
        let path = if part.starts_with('/') { format!("/{repository}{part}") } else { part.to_owned() };
        lab.gateway.fault_times(nth - 1, method.clone(), &path, Fault::PassThrough);
        lab.gateway.fault(method, &path, gate.fault());
        lab.deploy("on", &repository, &image).await?;
        gate.wait_for_request(&moment).await?;
        leading.child.kill().await?;
        lab.gateway.clear_faults();
        let stored = lab.stored(&repository);
        let record = lab.records().get_opt(&record_name_of(&image)?).await?;
        let status = record.and_then(|record| record.status).unwrap_or_default();
        assert!(status.variant.is_none(), "{moment}: the variant wasn't verified yet");
        lab.forget_leader().await?;

        let variant = lab.ready(&image).await?.variant.context("no variant")?;
        assert_eq!(variant.source_digest, source, "{moment}");
        let tag = variant.reference.tag().context("no tag")?.to_string();
        assert_eq!(Some(&stored.digest(&tag).await?), variant.reference.digest(), "{moment}");
        let expected = BTreeSet::from(["v1".to_owned(), tag.clone()]);
        assert_eq!(stored.tags().await?.into_iter().collect::<BTreeSet<_>>(), expected, "{moment}");
        let (after, before) =
            (stored.manifest_for(&tag, "amd64").await?, stored.manifest_for("v1", "amd64").await?);
        stored.require_same_files(&after, &before).await.with_context(|| moment.clone())?;
        leading = standby;
    }
    Ok(())
}
