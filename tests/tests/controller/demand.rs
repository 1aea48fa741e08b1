//! Images that get converted.

use std::collections::BTreeSet;

use anyhow::Result;
use http::Method;
use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use zstart_core::record::ImageConversionSpec;
use zstart_core::{ImageConversion, keys};
use zstart_tests::images::Fixture;

use crate::lab::{Lab, WITHIN, template};
use crate::records::{is_upload, record_name_of};
use crate::request_gate::RequestGate;

fn small(content: &[u8]) -> Fixture {
    Fixture::new().layer(&[("etc/app", content)])
}

async fn sources(lab: &Lab) -> Result<BTreeSet<String>> {
    let records = lab.records().list(&ListParams::default()).await?;
    Ok(records.into_iter().map(|record| record.spec.source.to_string()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn namespace_gets_records_once_opted_in() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("theirs:v1", &small(b"theirs")).await?;
    lab.push("ours:v1", &small(b"ours")).await?;
    let (theirs, ours) = (lab.image("theirs:v1"), lab.image("ours:v1"));
    lab.deploy("off", "web", &theirs).await?;
    let _controller = lab.start_controller().await?;
    // Created after the other one, so the controller has seen both when this one is ready.
    lab.deploy("on", "web", &ours).await?;
    lab.ready(&ours).await?;
    assert_eq!(sources(&lab).await?, BTreeSet::from([ours.clone()]));
    let asked = |path: &str| lab.gateway.calls().iter().any(|call| call.contains(path));
    assert!(asked("/v2/ours/") && !asked("/v2/theirs/"), "{:?}", lab.gateway.calls());

    let label = json!({"metadata": {"labels": {"zstart.dev/rewrite": "enabled"}}});
    let namespaces: Api<Namespace> = Api::all(lab.admin.clone());
    namespaces.patch("off", &PatchParams::default(), &Patch::Merge(label)).await?;
    lab.ready(&theirs).await?;

    // Auditing reports what would happen: without a variant, nothing.
    lab.push("audited:v1", &small(b"audited")).await?;
    lab.deploy("audit", "web", &lab.image("audited:v1")).await?;
    lab.ready(&lab.image("audited:v1")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn excluded_namespaces_and_opted_out_pods_get_no_records() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("ours:v1", &small(b"ours")).await?;
    let theirs = lab.image("theirs:v1");
    let mut template = template("opted-out", &theirs);
    template["metadata"]["labels"]["zstart.dev/rewrite"] = json!("disabled");
    let selector = json!({"matchLabels": {"app": "opted-out"}});
    let metadata = json!({"name": "opted-out"});
    let spec = json!({"selector": selector, "template": template});
    lab.create::<DaemonSet>(&lab.namespaced("on"), json!({"metadata": metadata, "spec": spec})).await?;
    lab.deploy("audit", "web", &theirs).await?;
    let _controller = lab.start_controller_with("excludedNamespaces: [audit]").await?;
    // Created after the others, so the controller has seen them when this one is ready.
    lab.deploy("on", "web", &lab.image("ours:v1")).await?;
    lab.ready(&lab.image("ours:v1")).await?;
    assert_eq!(sources(&lab).await?, BTreeSet::from([lab.image("ours:v1")]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn workloads_of_every_kind_get_records() -> Result<()> {
    let lab = Lab::start().await?;
    let images: Vec<String> =
        (0..6).map(|number| lab.image(&format!("app:v{number}"))).collect::<Vec<String>>();
    for number in 0..6_u8 {
        lab.push(&format!("app:v{number}"), &small(&[number])).await?;
    }
    let _controller = lab.start_controller().await?;
    let metadata = json!({"name": "app"});
    let pods = |image: &str| template("app", image);
    let jobs = |image: &str| {
        let mut template = template("app", image);
        template["spec"]["restartPolicy"] = json!("Never");
        json!({"template": template})
    };
    let selector = json!({"matchLabels": {"app": "app"}});

    let mut pod = pods(&images[0]);
    pod["metadata"] = metadata.clone();
    pod["spec"]["initContainers"] = json!([{"name": "init", "image": images[1]}]);
    lab.create::<Pod>(&lab.namespaced("on"), pod).await?;
    let spec = json!({"selector": selector, "serviceName": "app", "template": pods(&images[2])});
    lab.create::<StatefulSet>(&lab.namespaced("on"), json!({"metadata": metadata, "spec": spec})).await?;
    let spec = json!({"selector": selector, "template": pods(&images[3])});
    lab.create::<DaemonSet>(&lab.namespaced("on"), json!({"metadata": metadata, "spec": spec})).await?;
    lab.create::<Job>(&lab.namespaced("on"), json!({"metadata": metadata, "spec": jobs(&images[4])})).await?;
    let spec = json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": jobs(&images[5])}});
    lab.create::<CronJob>(&lab.namespaced("on"), json!({"metadata": metadata, "spec": spec})).await?;
    for image in &images {
        lab.ready(image).await?;
    }
    assert_eq!(sources(&lab).await?, images.into_iter().collect());
    for kind in ["Pod", "StatefulSet", "DaemonSet", "Job", "CronJob"] {
        assert!(!lab.events("on", kind, "app").await?.is_empty(), "nothing on the {kind}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_record_of_a_used_image_is_recreated() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &small(b"app")).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let (name, mut before) = (record_name_of(&image)?, lab.ready(&image).await?);
    // Three times: an unrelated event could trigger a check by chance.
    for _ in 0..3 {
        let old = lab.records().get(&name).await?.uid();
        lab.records().delete(&name, &DeleteParams::default()).await?;
        let after = lab.ready(&image).await?;
        assert_ne!(lab.records().get(&name).await?.uid(), old);
        let reference = |status: zstart_core::record::ImageConversionStatus| {
            status.variant.map(|variant| variant.reference)
        };
        assert_eq!(reference(after.clone()), reference(before), "the variant has its former reference");
        before = after;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn record_deleted_during_conversion_is_recreated() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &small(b"app")).await?;
    let (image, gate) = (lab.image("app:v1"), RequestGate::default());
    lab.deploy("on", "web", &image).await?;
    lab.gateway.fault(Method::PUT, "/blobs/uploads/", gate.fault());
    let _controller = lab.start_controller().await?;
    gate.wait_for_request("upload a layer").await?;
    let name = record_name_of(&image)?;
    let old = lab.records().get(&name).await?.uid();
    lab.records().delete(&name, &DeleteParams::default()).await?;
    zstart_tests::wait::until("a new record", WITHIN, || async {
        Ok(lab.records().get_opt(&name).await?.filter(|record| record.uid() != old))
    })
    .await?;
    gate.open();
    lab.ready(&image).await?;
    let uploads = lab.gateway.calls().iter().filter(|call| is_upload(call)).count();
    assert_eq!(uploads, 1, "the second record uses the first one's variant: {:?}", lab.gateway.calls());
    Ok(())
}

/// The controller of an earlier version, or one that was killed, left records without a result.
#[tokio::test(flavor = "multi_thread")]
async fn pending_record_without_consumers_is_left_alone() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("theirs:v1", &small(b"theirs")).await?;
    lab.push("ours:v1", &small(b"ours")).await?;
    let (theirs, ours) = (lab.image("theirs:v1"), lab.image("ours:v1"));
    let name = record_name_of(&theirs)?;
    let record = ImageConversion::new(&name, ImageConversionSpec { source: theirs.parse()? });
    let apply = PatchParams::apply(keys::CONTROLLER);
    lab.records().patch(&name, &apply, &Patch::Apply(&record)).await?;
    lab.deploy("off", "web", &theirs).await?;
    lab.deploy("on", "web", &ours).await?;
    let _controller = lab.start_controller().await?;
    // The record of the other image is created later than this one is reconciled.
    lab.ready(&ours).await?;
    assert!(
        !lab.gateway.calls().iter().any(|call| call.contains("/v2/theirs/")),
        "{:?}",
        lab.gateway.calls()
    );
    let status = lab.records().get(&name).await?.status;
    assert_eq!(status.map(|status| status.conditions).unwrap_or_default(), []);

    let label = json!({"metadata": {"labels": {"zstart.dev/rewrite": "enabled"}}});
    let namespaces: Api<Namespace> = Api::all(lab.admin.clone());
    namespaces.patch("off", &PatchParams::default(), &Patch::Merge(label)).await?;
    lab.ready(&theirs).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_pods_and_jobs_get_no_records() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("ours:v1", &small(b"ours")).await?;
    for phase in ["Succeeded", "Failed"] {
        let mut pod = template("pod", &lab.image(&format!("pod-{phase}:v1").to_lowercase()));
        pod["metadata"]["name"] = json!(phase.to_lowercase());
        lab.create::<Pod>(&lab.namespaced("on"), pod).await?;
        let status = Patch::Merge(json!({"status": {"phase": phase}}));
        let pods = lab.namespaced::<Pod>("on");
        pods.patch_status(&phase.to_lowercase(), &PatchParams::default(), &status).await?;
    }
    let mut pods = template("job", &lab.image("job:v1"));
    pods["spec"]["restartPolicy"] = json!("Never");
    lab.create::<Job>(
        &lab.namespaced("on"),
        json!({"metadata": {"name": "job"}, "spec": {"template": pods}}),
    )
    .await?;
    let time = "2026-01-01T00:00:00Z";
    let condition = |type_: &str| json!({"type": type_, "status": "True", "lastTransitionTime": time});
    let status = json!({"status": {
        "startTime": time, "completionTime": time, "succeeded": 1,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    }});
    let jobs = lab.namespaced::<Job>("on");
    jobs.patch_status("job", &PatchParams::default(), &Patch::Merge(status)).await?;
    lab.deploy("on", "web", &lab.image("ours:v1")).await?;
    let _controller = lab.start_controller().await?;
    lab.ready(&lab.image("ours:v1")).await?;
    assert_eq!(sources(&lab).await?, BTreeSet::from([lab.image("ours:v1")]));
    Ok(())
}
