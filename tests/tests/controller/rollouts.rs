//! The event on the owner of rewritten pods.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use zstart_core::keys;
use zstart_tests::images::Fixture;
use zstart_tests::wait;

use crate::lab::{Lab, WITHIN, template};

/// Image, its variant, and the pods that run it.
struct Rollout {
    lab: Lab,
    original: String,
    variant: String,
}

impl Rollout {
    async fn start() -> Result<(Self, crate::lab::Controller)> {
        let lab = Lab::start().await?;
        lab.push("app:v1", &Fixture::new().layer(&[("etc/app", b"app")])).await?;
        let original = lab.image("app:v1");
        for namespace in ["on", "off"] {
            lab.deploy(namespace, "web", &original).await?;
        }
        let job = json!({"spec": {"template": template("nightly", &original)}});
        let mut cron =
            json!({"metadata": {"name": "nightly"}, "spec": {"schedule": "0 0 * * *", "jobTemplate": job}});
        cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
        lab.create::<CronJob>(&lab.namespaced("on"), cron).await?;
        let controller = lab.start_controller().await?;
        let variant = lab.ready(&original).await?.variant.map(|variant| variant.reference.to_string());
        Ok((Self { lab, original, variant: variant.unwrap_or_default() }, controller))
    }

    /// Creates a pod as the webhook rewrites it.
    async fn pod(&self, namespace: &str, name: &str, owner: (&str, &str, &str), hash: &str) -> Result<()> {
        let (version, kind, owner) = owner;
        let originals = json!({"containers/app": self.original}).to_string();
        let labels: Value = if hash.is_empty() { json!({}) } else { json!({"pod-template-hash": hash}) };
        let owner = json!({"apiVersion": version, "kind": kind, "name": owner, "uid": format!("{owner}-uid"),
            "controller": true});
        let pod = json!({
            "metadata": {"name": name, "labels": labels, "annotations": {keys::ORIGINALS: originals},
                "ownerReferences": [owner]},
            "spec": {"containers": [{"name": "app", "image": self.variant}]},
        });
        self.lab.create::<Pod>(&self.lab.namespaced(namespace), pod).await
    }

    async fn replica(&self, name: &str, hash: &str) -> Result<()> {
        self.pod("on", name, ("apps/v1", "ReplicaSet", &format!("web-{hash}")), hash).await
    }

    /// Texts of the events on an object.
    async fn told(&self, namespace: &str, kind: &str, name: &str) -> Result<Vec<String>> {
        let events = self.lab.events(namespace, kind, name).await?;
        Ok(events.into_iter().filter(|event| event.reason == "UsesVariant").map(|event| event.note).collect())
    }

    async fn wait_for(&self, kind: &str, name: &str, count: usize) -> Result<Vec<String>> {
        wait::until(format!("{count} events on {kind} {name}"), WITHIN, || async {
            let told = self.told("on", kind, name).await?;
            Ok((told.len() >= count).then_some(told))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deployment_gets_one_event_a_rollout() -> Result<()> {
    let (rollout, controller) = Rollout::start().await?;
    rollout.replica("web-aaa-1", "aaa").await?;
    let told = rollout.wait_for("Deployment", "web", 1).await?;
    assert!(told[0].contains(&rollout.variant) && told[0].contains(&rollout.original), "{told:?}");
    // Events are published in the order of the pods: after the second rollout's, the first one's are complete.
    rollout.replica("web-aaa-2", "aaa").await?;
    rollout.pod("off", "web-aaa-1", ("apps/v1", "ReplicaSet", "web-aaa"), "aaa").await?;
    rollout.replica("web-bbb-1", "bbb").await?;
    rollout.wait_for("Deployment", "web", 2).await?;

    // A new leader repeats nothing.
    controller.stop().await?;
    let _controller = rollout.lab.start_controller().await?;
    rollout.lab.retry(&rollout.original).await?;
    rollout.lab.answered(&rollout.original).await?;
    rollout.replica("web-bbb-2", "bbb").await?;
    rollout.replica("web-ccc-1", "ccc").await?;
    assert_eq!(rollout.wait_for("Deployment", "web", 3).await?.len(), 3);
    assert_eq!(rollout.told("off", "Deployment", "web").await?, [""; 0]);
    assert_eq!(rollout.told("on", "ReplicaSet", "web-aaa").await?, [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deployment_is_told_though_its_list_comes_late() -> Result<()> {
    let (rollout, controller) = Rollout::start().await?;
    controller.stop().await?;
    // A controller that may not list Deployments knows none, as before its first list.
    let roles: Api<ClusterRole> = Api::all(rollout.lab.admin.clone());
    let role = roles.get("zstart-controller").await?;
    let mut without = role.clone();
    let rules = without.rules.iter_mut().flatten();
    for resources in rules.filter_map(|rule| rule.resources.as_mut()) {
        resources.retain(|resource| resource != "deployments");
    }
    assert_ne!(without, role);
    let version = roles.replace(&role.name_any(), &PostParams::default(), &without).await?.resource_version();
    let _controller = rollout.lab.start_controller().await?;
    wait::until("a leader", WITHIN, || async {
        let lease = rollout.lab.lease().await?;
        Ok(lease.and_then(|lease| lease.holder_identity).filter(|holder| !holder.is_empty()))
    })
    .await?;
    rollout.replica("web-ddd-0", "ddd").await?;
    let role = ClusterRole { metadata: ObjectMeta { resource_version: version, ..role.metadata }, ..role };
    roles.replace("zstart-controller", &PostParams::default(), &role).await?;
    // The first pod may precede the second from which pods count.
    let pods = AtomicUsize::new(1);
    wait::until("an event on the Deployment", WITHIN, || async {
        rollout.replica(&format!("web-ddd-{}", pods.fetch_add(1, Ordering::Relaxed)), "ddd").await?;
        let told = rollout.told("on", "Deployment", "web").await?;
        Ok((!told.is_empty()).then_some(()))
    })
    .await?;
    assert_eq!(rollout.told("on", "ReplicaSet", "web-ddd").await?, [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_a_cron_job_are_one_rollout() -> Result<()> {
    let (rollout, _controller) = Rollout::start().await?;
    for run in ["nightly-29000001", "nightly-29000002"] {
        rollout.pod("on", &format!("{run}-x"), ("batch/v1", "Job", run), "").await?;
    }
    // Owners that no watch knows get the event themselves.
    rollout.pod("on", "clone-x", ("apps.kruise.io/v1alpha1", "CloneSet", "clone"), "").await?;
    rollout.wait_for("CloneSet", "clone", 1).await?;
    assert_eq!(rollout.told("on", "CronJob", "nightly").await?.len(), 1);
    Ok(())
}
