//! How soon a tag is looked at again, and with which requests.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use zstart_controller::api_clock::ApiClock;
use zstart_core::Digest;
use zstart_core::record::{ImageConversionStatus, RESOLVED, RecordReason};
use zstart_core::sync::lock;
use zstart_tests::images::{Compression, Fixture};
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::wait;

use crate::lab::{Lab, USER, WITHIN, template};
use crate::records::condition_of;

fn release(content: &[u8]) -> Fixture {
    Fixture::new().layer(&[("etc/app", content)])
}

/// `kubectl rollout restart`.
async fn restart(lab: &Lab, name: &str) -> Result<()> {
    let annotation = json!({"kubectl.kubernetes.io/restartedAt": Timestamp::now().to_string()});
    let restart = json!({"spec": {"template": {"metadata": {"annotations": annotation}}}});
    let deployments = lab.namespaced::<Deployment>("on");
    deployments.patch(name, &PatchParams::default(), &Patch::Merge(restart)).await?;
    Ok(())
}

fn is_at(digest: &Digest) -> impl Fn(&ImageConversionStatus) -> bool {
    move |status| status.source.as_ref().is_some_and(|source| source.digest == *digest)
}

fn checked_at(status: &ImageConversionStatus) -> Result<Timestamp> {
    Ok(status.source.as_ref().context("no source")?.checked_at.0)
}

/// Waits until the tag was looked at in `seconds` later than in `status`.
async fn looked_at_again(lab: &Lab, image: &str, status: &ImageConversionStatus, seconds: i64) -> Result<()> {
    let from = checked_at(status)?.as_second();
    lab.wait_for(image, "looked at again", |status| {
        checked_at(status).is_ok_and(|at| at.as_second() >= from + seconds)
    })
    .await?;
    Ok(())
}

/// Waits until the look has happened that a Deployment asks for when it is created or restarted.
async fn settled(lab: &Lab, image: &str) -> Result<ImageConversionStatus> {
    let created = Timestamp::now().as_second();
    lab.wait_for(image, "looked at after the change", |status| {
        checked_at(status).is_ok_and(|at| at.as_second() > created)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_workload_is_looked_at_within_seconds() -> Result<()> {
    let lab = Lab::start().await?;
    let (_, image) = (lab.push("app:v1", &release(b"old")).await?, lab.image("app:v1"));
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    lab.ready(&image).await?;
    for content in [&b"new"[..], b"newer"] {
        let new = lab.push("app:v1", &release(content)).await?;
        let restarted = Timestamp::now().as_second();
        restart(&lab, "web").await?;
        let status = lab.wait_for(&image, "moved", is_at(&new)).await?;
        let at = checked_at(&status)?.as_second();
        assert!(at > restarted, "a look in the second of the restart counts as an earlier one");
        assert!(at <= restarted + 20, "looked at {} s after the restart", at - restarted);
        let status = lab.ready(&image).await?;
        assert_eq!(status.variant.context("no variant")?.source_digest, new);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn first_pod_of_a_late_replica_set_is_looked_at() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &release(b"old")).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    lab.ready(&image).await?;
    let new = lab.push("app:v1", &release(b"new")).await?;
    // The lab has no controller manager, so the test makes the pod.
    let mut pod = template("web", &image);
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "1", "controller": true});
    pod["metadata"] =
        json!({"name": "web-1-a", "ownerReferences": [owner], "labels": {"pod-template-hash": "1"}});
    lab.create::<Pod>(&lab.namespaced("on"), pod).await?;
    lab.wait_for(&image, "moved", is_at(&new)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn checked_at_precedes_the_request() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &release(b"app")).await?;
    let image = lab.image("app:v1");
    // The registry answers only two seconds after each request.
    let arrivals: Arc<std::sync::Mutex<Vec<Timestamp>>> = Arc::default();
    let log = Arc::clone(&arrivals);
    let slow = Fault::RunFirst(Arc::new(move || -> BoxFuture<'static, ()> {
        let arrived = Timestamp::now();
        lock(&log).push(arrived);
        Box::pin(async move {
            let passed =
                || async { Ok((Timestamp::now().as_second() > arrived.as_second() + 1).then_some(())) };
            wait::until("two seconds to pass", WITHIN, passed).await.expect("the clock runs");
        })
    }));
    for method in [Method::GET, Method::HEAD] {
        lab.gateway.fault_at(method, "/v2/app/manifests/v1", slow.clone());
    }
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let status = lab.ready(&image).await?;
    // The controller reads the tag before the conversion, and looks again after it.
    let (at, arrivals) = (checked_at(&status)?, lock(&arrivals).clone());
    let last = arrivals.last().context("no request")?;
    assert!(at.as_second() <= last.as_second(), "{at} is later than each request: {arrivals:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_tag_costs_one_head_a_look() -> Result<()> {
    let mut lab = Lab::start().await?;
    // The registry asks for tokens, as Docker Hub does.
    lab.gateway = Gateway::start_with(&lab.registry.host(), Some(TokenLogin::anonymous())).await?;
    lab.push("app:v1", &release(b"app")).await?;
    let image = lab.image("app:v1");
    let pulled = json!({"containers": [{"name": "app", "image": image, "imagePullPolicy": "Always"}]});
    lab.deploy_with("on", "web", &image, &pulled).await?;
    let _controller = lab.start_controller_with("recheckIntervalAlways: 1s").await?;
    let status = lab.ready(&image).await?;
    let recording = lab.gateway.record();
    looked_at_again(&lab, &image, &status, 4).await?;
    let calls = recording.calls();
    assert!(calls.len() >= 3, "{calls:?}");
    assert!(calls.iter().all(|call| call == "HEAD /v2/app/manifests/v1"), "{calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn zstd_image_and_digest_cost_no_pull_a_look() -> Result<()> {
    let lab = Lab::start().await?;
    let zstd = Fixture::new().oci().layer_as(Compression::Zstd, &[("etc/app", b"zstd")]);
    lab.push("zstd:v1", &zstd).await?;
    let source = lab.push("app:v1", &release(b"app")).await?;
    let (zstd, pinned) = (lab.image("zstd:v1"), format!("{}@{source}", lab.image("app")));
    lab.deploy("on", "zstd", &zstd).await?;
    lab.deploy("on", "pinned", &pinned).await?;
    let _controller = lab.start_controller_with("recheckInterval: 1s\nconfirmInterval: 1s").await?;
    lab.not_ready(&zstd, RecordReason::AlreadyZstd).await?;
    let status = lab.ready(&pinned).await?;
    let recording = lab.gateway.record();
    looked_at_again(&lab, &pinned, &status, 4).await?;
    let calls = recording.calls();
    assert!(calls.len() >= 4 && calls.iter().all(|call| call.starts_with("HEAD ")), "{calls:?}");
    assert!(calls.iter().any(|call| call.contains("/zstd/")), "{calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cron_job_that_always_pulls_stays_fresh_without_pods() -> Result<()> {
    let lab = Lab::start().await?;
    for name in ["app:v1", "other:v1"] {
        lab.push(name, &release(b"old")).await?;
    }
    let (image, other) = (lab.image("app:v1"), lab.image("other:v1"));
    let cron_job = |name: &str, image: &str, policy: &str| -> Value {
        let mut template = template(name, image);
        template["spec"]["restartPolicy"] = json!("Never");
        template["spec"]["containers"][0]["imagePullPolicy"] = json!(policy);
        let spec = json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    lab.create::<CronJob>(&lab.namespaced("on"), cron_job("app", &image, "Always")).await?;
    lab.create::<CronJob>(&lab.namespaced("on"), cron_job("other", &other, "IfNotPresent")).await?;
    let _controller = lab.start_controller_with("recheckIntervalAlways: 2s").await?;
    lab.settled_after_list(&lab.namespaced::<CronJob>("on").get("other").await?, &other).await?;
    let status = lab.ready(&image).await?;
    let recording = lab.gateway.record();
    looked_at_again(&lab, &image, &status, 6).await?;
    let new = lab.push("app:v1", &release(b"new")).await?;
    lab.wait_for(&image, "moved", is_at(&new)).await?;
    let calls = recording.calls();
    assert!(!calls.iter().any(|call| call.contains("/other/")), "the policy decides: {calls:?}");
    assert!(lab.namespaced::<Pod>("on").list(&ListParams::default()).await?.items.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_consumer_of_a_ready_image_costs_heads_alone() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &release(b"app")).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    lab.ready(&image).await?;
    let recording = lab.gateway.record();
    let account = json!({"serviceAccountName": "other"});
    lab.deploy_with("audit", "web", &image, &account).await?;
    settled(&lab, &image).await?;
    let calls = recording.calls();
    assert!(calls.iter().all(|call| call == "HEAD /v2/app/manifests/v1"), "{calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limited_registry_is_left_alone_despite_a_restart() -> Result<()> {
    let lab = Lab::start().await?;
    for name in ["limited:v1", "other:v1"] {
        lab.push(name, &release(b"old")).await?;
    }
    let (limited, other) = (lab.image("limited:v1"), lab.image("other:v1"));
    lab.deploy("on", "limited", &limited).await?;
    lab.deploy("on", "other", &other).await?;
    let _controller = lab.start_controller().await?;
    lab.ready(&limited).await?;
    lab.ready(&other).await?;
    let pause = vec![("retry-after", "3600".to_owned())];
    let pause = Fault::Respond(StatusCode::TOO_MANY_REQUESTS, pause, "slow down");
    for method in [Method::GET, Method::HEAD] {
        lab.gateway.fault(method, "/limited/", pause.clone());
    }
    let recording = lab.gateway.record();
    restart(&lab, "limited").await?;
    let status = lab.wait_for(&limited, "unresolved", |status| condition_of(status, RESOLVED).0 == "False");
    let status = status.await?;
    assert_eq!(condition_of(&status, RESOLVED).1, "RateLimited");
    restart(&lab, "limited").await?;
    let new = lab.push("other:v1", &release(b"new")).await?;
    restart(&lab, "other").await?;
    lab.wait_for(&other, "moved", is_at(&new)).await?;
    let calls = recording.calls();
    let limited: Vec<_> = calls.iter().filter(|call| call.contains("/limited/")).collect();
    // A GET would count as a pull.
    assert_eq!(limited, ["HEAD /v2/limited/manifests/v1"], "{calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_tag_is_immutable_and_not_looked_at_after_a_restart() -> Result<()> {
    let lab = Lab::start().await?;
    for name in ["app:v1", "app:latest"] {
        lab.push(name, &release(name.as_bytes())).await?;
    }
    let (fixed, moving) = (lab.image("app:v1"), lab.image("app:latest"));
    lab.deploy("on", "fixed", &fixed).await?;
    lab.deploy("on", "moving", &moving).await?;
    let _controller = lab.start_controller_with("immutableTags: ['*/app:v*']").await?;
    let is_immutable = |status: ImageConversionStatus| status.source.is_some_and(|source| source.immutable);
    assert!(is_immutable(lab.ready(&fixed).await?));
    assert!(!is_immutable(lab.ready(&moving).await?));
    let recording = lab.gateway.record();
    restart(&lab, "fixed").await?;
    let new = lab.push("app:latest", &release(b"new")).await?;
    restart(&lab, "moving").await?;
    lab.wait_for(&moving, "moved", is_at(&new)).await?;
    let calls = recording.calls();
    assert!(!calls.iter().any(|call| call.ends_with("/manifests/v1")), "{calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn api_server_tells_the_controller_its_time() -> Result<()> {
    let lab = Lab::start().await?;
    let mut config = lab.plane.config().await?;
    config.auth_info.impersonate = Some(USER.to_owned());
    let before = Timestamp::now().as_second();
    let stamp = ApiClock::default().compare(&Client::try_from(config)?).await?.context("no time")?;
    let range = before..=Timestamp::now().as_second();
    assert!(range.contains(&stamp.as_second()), "{stamp} is not in {range:?}");
    Ok(())
}
