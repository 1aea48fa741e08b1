//! The condition `Healthy` of a record that no pod has failed to pull.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt as _;
use http::Method;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::json;
use tokio::process::Command;
use zstart_core::keys;
use zstart_core::record::{HEALTHY, ImageConversionStatus, READY, RecordReason};
use zstart_tests::images::Fixture;
use zstart_tests::tools::{self, Tool};

use crate::lab::Lab;
use crate::records::{condition_of, record_name_of};
use crate::request_gate::RequestGate;

fn small() -> Fixture {
    Fixture::new().layer(&[("etc/app", b"app")])
}

impl Lab {
    /// Runs kubectl and returns its output.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(tools::find(Tool::Kubectl).await?);
        command.env("KUBECONFIG", self.plane.kubeconfig()).env("HOME", self.plane.folder());
        let output = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn record_becomes_ready_and_healthy_in_one_write() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &small()).await?;
    let (image, records) = (lab.image("app:v1"), lab.records());
    let gate = RequestGate::default();
    lab.gateway.fault(Method::POST, "/blobs/uploads/", gate.fault());
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    gate.wait_for_request("push").await?;
    let name = record_name_of(&image)?;
    let waiting = lab.wait_for(&image, "waiting", |status| condition_of(status, READY).0 == "False").await?;
    assert_eq!(condition_of(&waiting, HEALTHY), ("", "", ""), "there is no variant yet");
    let shown = lab.kubectl(&["get", "imgconv", "-o", "wide"]).await?;
    let columns = ["READY", "REASON", "HEALTHY", "MESSAGE", "Pending", "the source waits for its first look"];
    assert!(columns.iter().all(|column| shown.contains(column)), "{shown}");

    let version = records.get(&name).await?.metadata.resource_version.context("no version")?;
    gate.open();
    let resource = format!("imgconv/{name}");
    lab.kubectl(&["wait", "--for=condition=Healthy", "--timeout=60s", &resource]).await?;
    lab.ready(&image).await?;
    let mut versions = std::pin::pin!(records.watch(&WatchParams::default(), &version).await?);
    loop {
        let Some(WatchEvent::Modified(record)) = versions.try_next().await? else { continue };
        let status = record.status.context("no status")?;
        let (ready, health) = (condition_of(&status, READY).0, condition_of(&status, HEALTHY));
        if ready == "True" {
            assert_eq!((health.0, health.1), ("True", "NoFailedPull"));
            break;
        }
        assert_eq!(health.0, "", "{status:#?}");
    }
    let shown = lab.kubectl(&["get", "imgconv"]).await?;
    let row: Vec<&str> = shown.lines().nth(1).context("no row")?.split_whitespace().collect();
    assert_eq!(row[2..5], ["True", "Verified", "True"], "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn verdict_of_the_healer_survives_a_look_under_way() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &small()).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let is_healthy = |status: &ImageConversionStatus| condition_of(status, HEALTHY).0 == "True";
    lab.wait_for(&image, "healthy", is_healthy).await?;

    let gate = RequestGate::default();
    lab.gateway.fault(Method::HEAD, "/manifests/v1", gate.fault());
    lab.retry(&image).await?;
    gate.wait_for_request("look at the tag").await?;
    let name = record_name_of(&image)?;
    let verdict = json!({"type": HEALTHY, "status": "False", "reason": RecordReason::PullsKeepFailing.as_str(),
        "message": "denied", "lastTransitionTime": Timestamp::now()});
    let patch = json!({"apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion",
        "status": {"conditions": [verdict]}});
    let parameters = PatchParams::apply(keys::HEALER).force();
    lab.records().patch_status(&name, &parameters, &Patch::Apply(&patch)).await?;
    gate.open();
    let status = lab.answered(&image).await?;
    let expected = ("False", "PullsKeepFailing", "denied");
    assert_eq!(condition_of(&status, HEALTHY), expected);
    assert_eq!(condition_of(&status, READY).0, "True");
    // The next write leaves it alone too.
    lab.retry(&image).await?;
    assert_eq!(condition_of(&lab.answered(&image).await?, HEALTHY), expected);
    Ok(())
}
