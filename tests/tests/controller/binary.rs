//! The program itself: killed during its work, and terminated.

use anyhow::{Context as _, Result};
use http::Method;
use tokio::process::Command;
use zstart_core::record::{READY, RecordReason};
use zstart_tests::cluster::built_binaries;
use zstart_tests::images::Fixture;
use zstart_tests::registry::ecr::{ENDPOINTS, FakeEcr, Identity, PRIVATE};
use zstart_tests::tcp_proxy::TcpProxy;
use zstart_tests::wait;

use crate::lab::{Lab, SYSTEM, WITHIN, configuration};
use crate::program::{command, start, start_as, terminate, write_config};
use crate::records::{condition_of, variant_tag};
use crate::request_gate::RequestGate;

fn application() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 6 << 20).layer(&[("etc/app", b"configuration")])
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_controller_leaves_no_tag_and_the_next_one_finishes() -> Result<()> {
    let lab = Lab::start().await?;
    let source = lab.push("app:v1", &application()).await?;
    let (image, config) = (lab.image("app:v1"), write_config(&lab)?);
    lab.deploy("on", "web", &image).await?;
    let stored = lab.stored("app");
    for (method, part) in [
        (Method::GET, "/blobs/sha256:"),
        (Method::PATCH, "/blobs/uploads/"),
        (Method::PUT, "/blobs/uploads/"),
        (Method::PUT, "/manifests/"),
    ] {
        let gate = RequestGate::default();
        lab.gateway.fault(method.clone(), part, gate.fault());
        let mut controller = start(&lab, &config)?;
        gate.wait_for_request(&format!("{method} {part}")).await?;
        controller.kill().await?;
        lab.gateway.clear_faults();
        lab.forget_leader().await?;
        assert_eq!(stored.tags().await?, ["v1"], "{method} {part}");
        let record = lab.records().get(&crate::records::record_name_of(&image)?).await?;
        assert_eq!(record.status.unwrap_or_default().variant, None, "{method} {part}");
    }
    // The record still reports the killed conversion.
    let message = lab.not_ready(&image, RecordReason::Converting).await?;
    assert!(message.contains(source.as_str()), "{message}");

    let mut controller = start(&lab, &config)?;
    let variant = lab.ready(&image).await?.variant.context("no variant")?;
    let tag = variant_tag(&stored, &image, &source).await?;
    assert_eq!(Some(&stored.digest(&tag).await?), variant.reference.digest());
    let (after, before) =
        (stored.manifest_for(&tag, "amd64").await?, stored.manifest_for("v1", "amd64").await?);
    stored.require_same_files(&after, &before).await?;
    assert_eq!(terminate(&mut controller).await?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_controller_and_leaves_no_tag() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &application()).await?;
    let (image, config) = (lab.image("app:v1"), write_config(&lab)?);
    lab.deploy("on", "web", &image).await?;
    let gate = RequestGate::default();
    lab.gateway.fault(Method::PUT, "/blobs/uploads/", gate.fault());
    let mut controller = start(&lab, &config)?;
    gate.wait_for_request("upload a layer").await?;
    // The request is held for longer than the controller waits.
    assert_eq!(terminate(&mut controller).await?, Some(0));
    assert_eq!(lab.stored("app").tags().await?, ["v1"]);
    let status =
        lab.records().get(&crate::records::record_name_of(&image)?).await?.status.context("no status")?;
    assert_eq!(condition_of(&status, READY).0, "False");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_identity_is_used_for_listed_ecr_registries_only() -> Result<()> {
    let lab = Lab::start().await?;
    let ecr = FakeEcr::start(&lab.registry.host(), &["app"]).await?;
    lab.push("app:v1", &application()).await?;
    let (listed, other) = (format!("{PRIVATE}/app:v1"), format!("{}/app:v1", ENDPOINTS[1].0));
    lab.deploy("on", "web", &listed).await?;
    lab.deploy("on", "other", &other).await?;
    let config = lab.plane.folder().join("controller.yaml");
    std::fs::write(&config, configuration(&[], &format!("ecrRegistries: [{PRIVATE}]")))?;
    let mut command = command(lab.plane.kubeconfig(), &config)?;
    command.envs(ecr.environment(&Identity::WebIdentity)?);
    let mut controller = command.spawn()?;
    lab.ready(&listed).await?;
    let message = lab.not_ready(&other, RecordReason::PullDenied).await?;
    assert!(message.contains(ENDPOINTS[1].0), "{message}");
    assert_eq!(ecr.count("POST", "eu-west-1.amazonaws.com/ GetAuthorizationToken"), 1, "{:#?}", ecr.calls());
    assert_eq!(ecr.count("POST", ENDPOINTS[1].1), 0, "{:#?}", ecr.calls());
    assert_eq!(terminate(&mut controller).await?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn immutable_ecr_repository_is_recorded() -> Result<()> {
    for (may_describe, expected) in [(true, true), (false, false)] {
        let lab = Lab::start().await?;
        let ecr = FakeEcr::start(&lab.registry.host(), &["app"]).await?;
        ecr.make_tags_immutable();
        if !may_describe {
            ecr.deny_describe_repositories();
        }
        lab.push("app:v1", &application()).await?;
        let image = format!("{PRIVATE}/app:v1");
        lab.deploy("on", "web", &image).await?;
        let config = lab.plane.folder().join("controller.yaml");
        std::fs::write(
            &config,
            configuration(
                &[],
                &format!("ecrRegistries: [{PRIVATE}]\nrecheckInterval: 1s\nconfirmInterval: 1s"),
            ),
        )?;
        let mut command = command(lab.plane.kubeconfig(), &config)?;
        command.envs(ecr.environment(&Identity::WebIdentity)?);
        let mut controller = command.spawn()?;
        let first = lab.ready(&image).await?.source.context("no source")?;
        assert_eq!(first.immutable, expected);
        lab.wait_for(&image, "looked at again", |status| {
            status.source.as_ref().is_some_and(|source| source.checked_at > first.checked_at)
        })
        .await?;
        assert_eq!(ecr.count("POST", "DescribeRepositories"), 1, "{:#?}", ecr.calls());
        assert_eq!(terminate(&mut controller).await?, Some(0));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_port_serves_readiness_and_metrics() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &application()).await?;
    let (there, absent) = (lab.image("app:v1"), lab.image("app:v2"));
    lab.deploy("on", "web", &there).await?;
    lab.deploy("on", "absent", &absent).await?;
    let [port] = zstart_tests::ports::free_ports()?;
    let health = format!("127.0.0.1:{port}");
    let config = lab.plane.folder().join("controller.yaml");
    let text = configuration(&[&lab.gateway.host()], "");
    std::fs::write(&config, text.replace("127.0.0.1:0", &health))?;
    let get = |path: &'static str| {
        let url = format!("http://{health}{path}");
        async move {
            let answer = reqwest::get(url).await?;
            anyhow::Ok((answer.status().as_u16(), answer.text().await?))
        }
    };

    // The controller can't list pods, so it is alive but not ready.
    let server = lab.plane.config().await?.cluster_url.authority().context("no address")?.to_string();
    let mut proxy = TcpProxy::start(server.clone()).await?;
    proxy.stop().await;
    let kubeconfig = lab.plane.folder().join("proxy.kubeconfig");
    std::fs::write(
        &kubeconfig,
        std::fs::read_to_string(lab.plane.kubeconfig())?.replace(&server, &proxy.host()),
    )?;
    let mut controller = start_as(&kubeconfig, &config)?;
    wait::until("the controller to be alive", WITHIN, || async {
        Ok((get("/livez").await?.0 == 200).then_some(()))
    })
    .await?;
    let (status, why) = get("/readyz").await?;
    assert_eq!(status, 503);
    assert!(why.contains("first list"), "{why}");

    proxy.restart().await?;
    lab.ready(&there).await?;
    lab.not_ready(&absent, RecordReason::SourceNotFound).await?;
    assert_eq!(get("/readyz").await?.0, 200);
    let (_, metrics) = get("/metrics").await?;
    for line in [
        "zstart_controller_attempts_total{reason=\"Verified\"} 1",
        "zstart_controller_sources 2",
        "zstart_controller_conversion_seconds_count 1",
        "zstart_controller_conversions_running 0",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} is missing:\n{metrics}");
    }
    // The controller may have checked the image more than once.
    let not_found = "zstart_controller_attempts_total{reason=\"SourceNotFound\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(not_found));
    assert!(count.is_some_and(|count| count != "0"), "{metrics}");
    assert_eq!(terminate(&mut controller).await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn invalid_configuration_is_reported_and_exits_1() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("controller.yaml");
    std::fs::write(&config, "recheckInterval: soon\n")?;
    let program = built_binaries()?.join("zstart-controller");
    let ended = Command::new(&program).arg("--config").arg(&config).args(["--namespace", SYSTEM]).output();
    let ended = tokio::time::timeout(WITHIN, ended).await??;
    let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("controller.yaml") && said.contains("recheckInterval"), "{said}");
    Ok(())
}

#[tokio::test]
async fn json_log_reports_the_startup_error() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("controller.yaml");
    std::fs::write(&config, "recheckInterval: soon\n")?;
    let mut command = Command::new(built_binaries()?.join("zstart-controller"));
    command.arg("--config").arg(&config).args(["--namespace", SYSTEM]).env("ZSTART_LOG_FORMAT", "json");
    let ended = tokio::time::timeout(WITHIN, command.output()).await??;
    let line: serde_json::Value = serde_json::from_slice(&ended.stdout)?;
    assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &"the program failed".into()), "{line}");
    assert!(line["error"].as_str().is_some_and(|error| error.contains("recheckInterval")), "{line}");
    Ok(())
}
