//! Events tell a tenant nothing about images that the tenant's credentials can't see.

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use zstart_core::record::RecordReason;
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::images::Fixture;
use zstart_tests::wait;

use crate::access::{deploy_with_secrets, lab_with_login, pull_secret};
use crate::lab::{Lab, WITHIN};
use crate::records::{ReportedEvent, record_name_of};

impl Lab {
    /// Waits until the result of an image's last look is published: the next look is over.
    async fn looked_at_again(&self, image: &str) -> Result<()> {
        self.retry(image).await?;
        self.answered(image).await?;
        Ok(())
    }
}

fn reasons(events: &[ReportedEvent]) -> Vec<&str> {
    events.iter().map(|event| event.reason.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn namespace_without_the_login_reads_no_size() -> Result<()> {
    let (lab, image) = lab_with_login(ControlPlane::with_definitions()).await?;
    let right = pull_secret("right", &lab.gateway.host(), "user", "right");
    lab.create(&lab.namespaced::<Secret>("on"), right).await?;
    deploy_with_secrets(&lab, "audit", &image, &[]).await?;
    deploy_with_secrets(&lab, "on", &image, &["right"]).await?;
    let _controller = lab.start_controller().await?;
    lab.ready(&image).await?;
    lab.looked_at_again(&image).await?;
    assert_eq!(reasons(&lab.events("on", "Deployment", "web").await?), ["Converted"]);
    assert_eq!(reasons(&lab.events("audit", "Deployment", "web").await?), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_pull_secret_count_in_each_namespace() -> Result<()> {
    let (lab, image) = lab_with_login(ControlPlane::with_definitions()).await?;
    for namespace in ["audit", "on"] {
        let right = pull_secret("right", &lab.gateway.host(), "user", "right");
        lab.create(&lab.namespaced::<Secret>(namespace), right).await?;
        deploy_with_secrets(&lab, namespace, &image, &["right"]).await?;
    }
    let _controller = lab.start_controller().await?;
    lab.ready(&image).await?;
    lab.looked_at_again(&image).await?;
    for namespace in ["audit", "on"] {
        assert_eq!(reasons(&lab.events(namespace, "Deployment", "web").await?), ["Converted"], "{namespace}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_own_login_tells_tenants_nothing() -> Result<()> {
    let (lab, image) = lab_with_login(ControlPlane::with_definitions()).await?;
    let login = json!({"username": "user", "password": "right"});
    let file = lab.plane.folder().join("credentials.json");
    std::fs::write(&file, json!({"auths": {lab.gateway.host(): login}}).to_string())?;
    let absent = lab.image("app:v2");
    lab.deploy("on", "web", &image).await?;
    lab.deploy("on", "absent", &absent).await?;
    let _controller = lab.start_controller_with(&format!("credentialsFile: {}", file.display())).await?;
    lab.ready(&image).await?;
    lab.not_ready(&absent, RecordReason::SourceNotFound).await?;
    lab.push("app:v2", &Fixture::new().layer(&[("etc/more", b"more")])).await?;
    lab.retry(&absent).await?;
    lab.ready(&absent).await?;
    for (name, image) in [("web", &image), ("absent", &absent)] {
        lab.looked_at_again(image).await?;
        assert_eq!(reasons(&lab.events("on", "Deployment", name).await?), [""; 0], "{name}");
    }

    // Administrators read the events of the record, which aren't in a namespace of tenants.
    let record = record_name_of(&absent)?;
    let own = lab.events("kube-system", "ImageConversion", &record).await?;
    assert_eq!(reasons(&own), ["SourceNotFound", "Converted"], "{own:?}");
    assert_eq!(reasons(&lab.events("default", "ImageConversion", &record).await?), [""; 0]);
    let described = lab.kubectl(&["describe", "imgconv", &record]).await?;
    assert!(described.contains("SourceNotFound") && described.contains("Converted"), "{described}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_pull_is_told_to_the_workload() -> Result<()> {
    let (lab, image) = lab_with_login(ControlPlane::with_definitions()).await?;
    deploy_with_secrets(&lab, "on", &image, &[]).await?;
    let _controller = lab.start_controller().await?;
    lab.not_ready(&image, RecordReason::PullDenied).await?;
    wait::until("the event on the workload", WITHIN, || async {
        let events = lab.events("on", "Deployment", "web").await?;
        Ok(events.iter().any(|event| event.reason == "PullDenied").then_some(()))
    })
    .await
}
