//! Operators that undo a rewrite, replayed as small controllers: one deletes the pods of a `StatefulSet` whose
//! image differs, one changes images back, one deletes and creates bare pods.
//!
//! No other controller, kubelet or webhook runs, so the operators play those parts too: the webhook obeys the
//! holds as the real one does.

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams};
use serde_json::{Value, json};
use zstart_core::OwnerHold;
use zstart_core::owner_hold::HoldReason;
use zstart_tests::wait;

use crate::lab::{Lab, WITHIN};

const ORIGINAL: &str = "r.example/app:v1";
const VARIANT: &str = "r.example/app:v1-zstd-1a2b3c4d5e6f";

impl Lab {
    async fn holds(&self, namespace: &str) -> Result<Vec<OwnerHold>> {
        Ok(self.namespaced::<OwnerHold>(namespace).list(&ListParams::default()).await?.items)
    }

    /// Creates a pod, rewritten unless its owner is on hold.
    async fn admit(&self, namespace: &str, mut metadata: Value) -> Result<()> {
        let parsed: ObjectMeta = serde_json::from_value(metadata.clone())?;
        let is_held = self.holds(namespace).await?.iter().any(|hold| hold.spec.applies_to(&parsed));
        if !is_held {
            let originals = json!({"containers/app": ORIGINAL}).to_string();
            metadata["annotations"] = json!({"zstart.dev/originals": originals});
        }
        let image = if is_held { ORIGINAL } else { VARIANT };
        let spec = json!({"nodeName": "lab", "containers": [{"name": "app", "image": image}]});
        self.create::<Pod>(&self.namespaced(namespace), json!({"metadata": metadata, "spec": spec})).await
    }

    /// Acts as the kubelet: starts a new pod, and removes one that terminates. Returns whether the pod runs.
    async fn run_pod(&self, namespace: &str, pod: &Pod) -> Result<bool> {
        let (pods, name) = (self.namespaced::<Pod>(namespace), pod.name_any());
        if pod.metadata.deletion_timestamp.is_some() {
            pods.delete(&name, &DeleteParams::default().grace_period(0)).await?;
            return Ok(false);
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if phase == Some("Running") {
            return Ok(true);
        }
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let status = json!({"status": {"phase": "Running", "conditions": ready}});
        pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(status)).await?;
        Ok(false)
    }

    /// One step of an operator, kubelet and owner of the pod `name`: the pod is created, starts, is deleted
    /// because its image isn't the original, ends. Returns the pod once it runs the original.
    async fn replace_mismatch(&self, namespace: &str, name: &str, metadata: &Value) -> Result<Option<Pod>> {
        let pods = self.namespaced::<Pod>(namespace);
        let Some(pod) = pods.get_opt(name).await? else {
            self.admit(namespace, metadata.clone()).await?;
            return Ok(None);
        };
        if !self.run_pod(namespace, &pod).await? {
            return Ok(None);
        }
        if image(&pod) == ORIGINAL {
            return Ok(Some(pod));
        }
        pods.delete(name, &DeleteParams::default()).await?;
        Ok(None)
    }

    /// Waits for the hold of an owner, with `step` before each look.
    async fn wait_for_hold(&self, step: impl AsyncFn() -> Result<()>) -> Result<OwnerHold> {
        wait::until("a hold", WITHIN, || async {
            step().await?;
            Ok(self.holds("on").await?.pop())
        })
        .await
    }

    /// Writes the event of an API server that repairs the addresses of Services while this one is created.
    async fn report_unallocated_address(&self, service: &str) -> Result<()> {
        let event = json!({
            "metadata": {"name": format!("{service}.1"), "namespace": "on"},
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "regarding": {"apiVersion": "v1", "kind": "Service", "namespace": "on", "name": service},
            "type": "Warning", "reason": "IPAddressNotAllocated", "action": "IPAddressAllocation",
            "note": "IPAddress isn't allocated; repairing",
            "reportingController": "ipallocator-repair-controller", "reportingInstance": "lab",
        });
        self.create::<Event>(&self.namespaced("on"), event).await
    }

    /// Waits for the warning on a held owner.
    async fn hold_event(&self, kind: &str, name: &str, reason: HoldReason) -> Result<String> {
        wait::until(format!("a {reason} event on {kind} {name}"), WITHIN, || async {
            let events = self.events("on", kind, name).await?;
            let warning =
                events.into_iter().find(|event| event.type_ == "Warning" && event.reason == reason.as_str());
            Ok(warning.map(|event| event.note))
        })
        .await
    }
}

fn image(pod: &Pod) -> &str {
    let containers = pod.spec.as_ref().map(|spec| &*spec.containers).unwrap_or_default();
    containers.first().and_then(|container| container.image.as_deref()).unwrap_or_default()
}

/// Metadata of a pod of the `StatefulSet` `db`.
fn member(uid: &str, revision: &str) -> Value {
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": uid, "controller": true});
    let labels = json!({"app": "db", "controller-revision-hash": revision});
    json!({"name": "db-0", "labels": labels, "ownerReferences": [owner]})
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_that_compares_images_gets_its_owner_held() -> Result<()> {
    let lab = Lab::start().await?;
    let template = crate::lab::template("db", ORIGINAL);
    let spec = json!({"selector": {"matchLabels": {"app": "db"}}, "serviceName": "db", "template": template});
    lab.create::<StatefulSet>(&lab.namespaced("on"), json!({"metadata": {"name": "db"}, "spec": spec}))
        .await?;
    let uid = lab.namespaced::<StatefulSet>("on").get("db").await?.uid().context("no UID")?;
    let controller = lab.start_controller().await?;

    let metadata = member(&uid, "a");
    let hold =
        lab.wait_for_hold(async || lab.replace_mismatch("on", "db-0", &metadata).await.map(drop)).await?;
    assert_eq!(
        (&*hold.spec.owner.kind, &*hold.spec.owner.name, &*hold.spec.owner.uid),
        ("StatefulSet", "db", &*uid)
    );
    assert_eq!(hold.spec.reason, HoldReason::RecreatedAfterRewrite);
    assert_eq!(hold.spec.template, "controller-revision-hash=a");
    let owners = hold.owner_references();
    assert!(matches!(owners, [owner] if owner.uid == uid), "{owners:?}");
    let note = lab.hold_event("StatefulSet", "db", HoldReason::RecreatedAfterRewrite).await?;
    assert!(note.contains("db-0") && note.contains(&hold.name_any()), "{note}");

    // The operator deletes the last rewritten pod and is content with the next one.
    wait::until("a pod with the original image", WITHIN, || lab.replace_mismatch("on", "db-0", &metadata))
        .await?;

    // A new template ends the hold. The next controller sees it while another one leads, and lifts the hold when it
    // leads itself.
    controller.stop().await?;
    let pods = lab.namespaced::<Pod>("on");
    pods.delete("db-0", &DeleteParams::default().grace_period(0)).await?;
    lab.admit("on", member(&uid, "b")).await?;
    assert_eq!(image(&pods.get("db-0").await?), VARIANT, "the hold doesn't apply to the new template");
    lab.lead_as("another").await?;
    let _controller = lab.start_controller().await?;
    wait::until("the hold to be lifted", WITHIN, || async {
        Ok(lab.holds("on").await?.is_empty().then_some(()))
    })
    .await
}

/// vcluster's syncer changes the image of its pods. Their owner is a Service.
#[tokio::test(flavor = "multi_thread")]
async fn operator_that_changes_images_back_gets_its_owner_held() -> Result<()> {
    let lab = Lab::start().await?;
    let service = json!({"metadata": {"name": "vc"}, "spec": {"ports": [{"port": 443}]}});
    lab.create::<Service>(&lab.namespaced("on"), service).await?;
    let uid = lab.namespaced::<Service>("on").get("vc").await?.uid().context("no UID")?;
    lab.report_unallocated_address("vc").await?;
    let _controller = lab.start_controller().await?;
    let owner = json!({"apiVersion": "v1", "kind": "Service", "name": "vc", "uid": uid, "controller": true});
    let pods = lab.namespaced::<Pod>("on");
    let number = std::sync::atomic::AtomicU32::new(0);
    let sync = async || {
        for pod in pods.list(&ListParams::default()).await? {
            if lab.run_pod("on", &pod).await? && image(&pod) != ORIGINAL {
                let container = json!({"name": "app", "image": ORIGINAL});
                let patch = Patch::Strategic(json!({"spec": {"containers": [container]}}));
                pods.patch(&pod.name_any(), &PatchParams::default(), &patch).await?;
            }
        }
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("web-{number}-x-default-x-vc");
        lab.admit("on", json!({"name": name, "ownerReferences": [owner]})).await
    };
    let hold = lab.wait_for_hold(sync).await?;
    assert_eq!((&*hold.spec.owner.kind, hold.spec.reason), ("Service", HoldReason::ImagePatchedBack));
    assert_eq!(hold.spec.template, "", "the pods of a virtual cluster have many templates");
    let note = lab.hold_event("Service", "vc", HoldReason::ImagePatchedBack).await?;
    assert!(note.contains("changed back to the original"), "{note}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_that_recreates_bare_pods_gets_their_name_held() -> Result<()> {
    let lab = Lab::start().await?;
    let _controller = lab.start_controller().await?;
    let worker = json!({"name": "worker"});
    let step = async || {
        // The namespace that isn't opted in is always one step ahead.
        lab.replace_mismatch("off", "worker", &worker).await?;
        lab.replace_mismatch("on", "worker", &worker).await.map(drop)
    };
    let hold = lab.wait_for_hold(&step).await?;
    assert_eq!(
        (&*hold.spec.owner.kind, &*hold.spec.owner.name, &*hold.spec.owner.uid),
        ("Pod", "worker", "")
    );
    assert_eq!(lab.holds("off").await?, [], "the namespace isn't opted in");
    lab.hold_event("Pod", "worker", HoldReason::RecreatedAfterRewrite).await?;

    wait::until("a pod with the original image", WITHIN, || lab.replace_mismatch("on", "worker", &worker))
        .await?;

    // Lifted by an administrator, the guard needs new evidence: it counts from zero.
    let holds = lab.namespaced::<OwnerHold>("on");
    holds.delete(&hold.name_any(), &DeleteParams::default()).await?;
    lab.namespaced::<Pod>("on").delete("worker", &DeleteParams::default().grace_period(0)).await?;
    let again = lab.wait_for_hold(&step).await?;
    assert_eq!(again.name_any(), hold.name_any());
    assert_ne!(again.uid(), hold.uid());
    Ok(())
}

/// To the controller's watch of unfinished pods, both look alike: an event of a deletion, without a request before.
#[tokio::test(flavor = "multi_thread")]
async fn failed_pods_are_no_evidence_but_forced_deletions_are() -> Result<()> {
    let lab = Lab::start().await?;
    let _controller = lab.start_controller().await?;
    let (pods, force) = (lab.namespaced::<Pod>("on"), DeleteParams::default().grace_period(0));
    let failing = member("b2b1e9f0-0000-4000-8000-000000000000", "a");
    let run = async |name: &str, metadata: &Value| -> Result<()> {
        lab.admit("on", metadata.clone()).await?;
        let pod = pods.get(name).await?;
        lab.run_pod("on", &pod).await?;
        Ok(())
    };
    let hold = lab
        .wait_for_hold(async || {
            // The StatefulSet controller deletes a failed pod at once, and creates the next one. Twice as often as the
            // other pod is deleted: the controller may miss the first pods, because it starts at the same time.
            for _ in 0..2 {
                run("db-0", &failing).await?;
                let failed = Patch::Merge(json!({"status": {"phase": "Failed", "reason": "Evicted"}}));
                pods.patch_status("db-0", &PatchParams::default(), &failed).await?;
                pods.delete("db-0", &DeleteParams::default()).await?;
            }
            run("worker", &json!({"name": "worker"})).await?;
            pods.delete("worker", &force).await.map(drop)?;
            Ok(())
        })
        .await?;
    assert_eq!((&*hold.spec.owner.kind, &*hold.spec.owner.name), ("Pod", "worker"));
    assert_eq!(lab.holds("on").await?.len(), 1, "the StatefulSet's pods failed twice as often");
    Ok(())
}
