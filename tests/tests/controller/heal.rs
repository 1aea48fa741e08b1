//! Pods that can't pull their variant. The test writes their states as a kubelet does.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use zstart_core::owner_hold::HoldReason;
use zstart_core::record::{HEALTHY, ImageConversionStatus, RecordReason, condition};
use zstart_core::{OwnerHold, keys};
use zstart_tests::images::Fixture;
use zstart_tests::wait;

use crate::lab::{Lab, SYSTEM, WITHIN};
use crate::records::{condition_of, record_name_of};

/// Longest time from the first failing state to the original.
const HEALED_WITHIN: Duration = Duration::from_secs(10);
const NOT_FOUND: &str = "failed to pull and unpack image: failed to resolve image: X: not found";
const REFUSED: &str = "failed to resolve image: failed to do request: Head \"https://r/v2/\": dial tcp: connect: connection refused";
const NO_DECODER: &str = "failed to extract layer: failed to get stream processor for \
     application/vnd.oci.image.layer.v1.tar+zstd: no processor for media-type";

/// Image with a ready record: its name, and its variant's.
struct Ready {
    original: String,
    variant: String,
}

impl Lab {
    async fn converted(&self, name: &str) -> Result<Ready> {
        self.push(name, &Fixture::new().layer(&[("etc/app", name.as_bytes())])).await?;
        let original = self.image(name);
        let app = name.split(':').next().unwrap_or_default();
        self.deploy("on", app, &original).await?;
        let variant = self.ready(&original).await?.variant.context("no variant")?;
        Ok(Ready { original, variant: variant.reference.to_string() })
    }

    /// Creates a pod on the node `lab` that the webhook has rewritten.
    async fn rewritten(&self, name: &str, image: &Ready, more: &Value) -> Result<()> {
        let mut container = json!({"name": "app", "image": image.variant, "imagePullPolicy": "IfNotPresent"});
        for (key, value) in more.as_object().into_iter().flatten() {
            container[key] = value.clone();
        }
        let originals = json!({"containers/app": image.original}).to_string();
        let metadata = json!({"name": name, "annotations": {keys::ORIGINALS: originals}});
        let spec = json!({"nodeName": "lab", "containers": [container]});
        self.create::<Pod>(&self.namespaced("on"), json!({"metadata": metadata, "spec": spec})).await
    }

    /// Reports the state of a pod's container `app`, as a kubelet does. Without a reason the container runs.
    async fn report(&self, pod: &str, reason: &str, message: &str) -> Result<()> {
        let state = if reason.is_empty() {
            json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
        } else {
            json!({"waiting": {"reason": reason, "message": message}})
        };
        let container = json!({
            "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        });
        let status = json!({"status": {"phase": "Pending", "containerStatuses": [container]}});
        let pods = self.namespaced::<Pod>("on");
        pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    async fn pod(&self, name: &str) -> Result<Pod> {
        Ok(self.namespaced::<Pod>("on").get(name).await?)
    }

    /// Waits until a pod has its original back. Returns the time that this took.
    async fn healed(&self, pod: &str, image: &Ready) -> Result<Duration> {
        let started = Instant::now();
        wait::until(format!("pod {pod} to have its original"), HEALED_WITHIN, || async {
            Ok((image_of(&self.pod(pod).await?) == image.original).then_some(()))
        })
        .await?;
        Ok(started.elapsed())
    }

    /// Waits for an event on a pod.
    async fn pod_event(&self, pod: &str, reason: &str) -> Result<String> {
        wait::until(format!("a {reason} event on pod {pod}"), WITHIN, || async {
            let events = self.events("on", "Pod", pod).await?;
            Ok(events.into_iter().find(|event| event.reason == reason).map(|event| event.note))
        })
        .await
    }

    async fn health(&self, image: &str, status: &str, reason: RecordReason) -> Result<ImageConversionStatus> {
        let what = format!("Healthy={status} ({reason})");
        self.wait_for(image, &what, |record| {
            let (is, because, _) = condition_of(record, HEALTHY);
            (is, because) == (status, reason.as_str())
        })
        .await
    }

    /// Reports images of the node `lab`, as its kubelet does.
    async fn node_has(&self, images: &[&str]) -> Result<()> {
        let images: Vec<Value> = images.iter().map(|image| json!({"names": [image]})).collect();
        let info = json!({
            "architecture": "amd64", "operatingSystem": "linux", "containerRuntimeVersion": "containerd://2.1.6",
            "bootID": "", "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "",
            "osImage": "", "systemUUID": "",
        });
        let status = json!({"status": {"images": images, "nodeInfo": info}});
        let nodes: Api<Node> = Api::all(self.admin.clone());
        nodes.patch_status("lab", &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }
}

fn last_transition(status: &ImageConversionStatus) -> Result<jiff::Timestamp> {
    Ok(condition(status, HEALTHY).context("the record has no health")?.last_transition_time.0)
}

fn image_of(pod: &Pod) -> &str {
    let containers = pod.spec.as_ref().map(|spec| &*spec.containers).unwrap_or_default();
    containers.first().and_then(|container| container.image.as_deref()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_variant_is_put_back_and_made_again() -> Result<()> {
    let lab = Lab::start().await?;
    let _controller = lab.start_controller().await?;
    let app = lab.converted("app:v1").await?;
    let reference: zstart_core::Reference = app.variant.parse()?;
    let digest = reference.digest().context("no digest")?;
    lab.stored("app").delete_manifest(digest.as_str()).await?;
    for pod in ["one", "two"] {
        lab.rewritten(pod, &app, &json!({})).await?;
        lab.report(pod, "ErrImagePull", NOT_FOUND).await?;
        let took = lab.healed(pod, &app).await?;
        assert!(took < HEALED_WITHIN, "{took:?}");
        let pod = lab.pod(pod).await?;
        assert_eq!(pod.annotations().get(keys::ORIGINALS), None, "the annotation is true");
    }
    let note = lab.pod_event("one", "PutBackOnOriginal").await?;
    assert!(note.contains(&app.original) && note.contains("not found"), "{note}");

    let record = lab.records().get(&record_name_of(&app.original)?).await?;
    assert!(record.annotations().contains_key(keys::RETRY), "a verification in full was requested");

    // The registry has the variant again.
    lab.health(&app.original, "True", RecordReason::Verified).await?;
    assert_eq!(lab.stored("app").digest(digest.as_str()).await?, *digest);
    let status = lab.ready(&app.original).await?;
    assert_eq!(status.variant.context("no variant")?.reference, reference);
    // The loop guard doesn't take the controller for an operator that undoes rewrites.
    assert_eq!(lab.namespaced::<OwnerHold>("on").list(&ListParams::default()).await?.items, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_outage_puts_back_what_the_node_has() -> Result<()> {
    let lab = Lab::start().await?;
    let _controller = lab.start_controller().await?;
    let (app, other) = (lab.converted("app:v1").await?, lab.converted("other:v1").await?);
    lab.node_has(&[&app.original]).await?;
    lab.rewritten("absent", &other, &json!({})).await?;
    lab.rewritten("always", &app, &json!({"imagePullPolicy": "Always"})).await?;
    lab.rewritten("present", &app, &json!({})).await?;
    for pod in ["absent", "always", "present"] {
        lab.report(pod, "ErrImagePull", REFUSED).await?;
    }
    lab.healed("present", &app).await?;
    for (pod, image) in [("absent", &other), ("always", &app)] {
        let note = lab.pod_event(pod, "VariantNotPulled").await?;
        assert!(note.contains("the registry is away"), "{note}");
        assert_eq!(image_of(&lab.pod(pod).await?), image.variant, "{pod}");
    }
    let status = lab.ready(&app.original).await?;
    assert_eq!(condition_of(&status, HEALTHY).1, "NoFailedPull", "the variant isn't at fault");

    // The node has the original by now.
    lab.node_has(&[&app.original, &other.original]).await?;
    wait::until("pod absent to have its original", WITHIN, || async {
        lab.report("absent", "ImagePullBackOff", "Back-off pulling image \"x\"").await?;
        lab.report("absent", "ErrImagePull", REFUSED).await?;
        Ok((image_of(&lab.pod("absent").await?) == other.original).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_cannot_unpack_zstd_is_put_on_hold() -> Result<()> {
    let lab = Lab::start().await?;
    let _controller = lab.start_controller().await?;
    let app = lab.converted("app:v1").await?;
    lab.node_has(&[]).await?;
    lab.rewritten("one", &app, &json!({})).await?;
    lab.report("one", "ErrImagePull", NO_DECODER).await?;
    lab.healed("one", &app).await?;
    let holds = lab.namespaced::<OwnerHold>(SYSTEM);
    let hold =
        wait::until("a hold", WITHIN, || async { Ok(holds.list(&ListParams::default()).await?.items.pop()) })
            .await?;
    let node = Api::<Node>::all(lab.admin.clone()).get("lab").await?;
    assert_eq!((hold.spec.node(), &*hold.spec.template), (Some("lab"), "containerd://2.1.6"));
    assert_eq!(hold.spec.reason, HoldReason::ZstdNotUnpacked);
    assert_eq!(Some(&hold.owner_references()[0].uid), node.metadata.uid.as_ref());
    let status = lab.ready(&app.original).await?;
    assert_eq!(condition_of(&status, HEALTHY).1, "NoFailedPull", "the variant isn't at fault");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn variant_that_only_nodes_cannot_pull_is_not_used() -> Result<()> {
    let lab = Lab::start().await?;
    let _controller = lab.start_controller().await?;
    let app = lab.converted("app:v1").await?;
    lab.node_has(&[]).await?;
    lab.rewritten("one", &app, &json!({})).await?;
    let denied =
        "failed to resolve image: unexpected status from HEAD request to https://r/v2/: 403 Forbidden";
    lab.report("one", "ErrImagePull", denied).await?;
    lab.healed("one", &app).await?;
    lab.report("one", "ContainerCreating", "").await?;
    lab.report("one", "", "").await?;
    lab.health(&app.original, "False", RecordReason::PullsKeepFailing).await?;

    // A pod whose original is denied too has no pull secret: nothing is proven, and nothing more is done.
    let other = lab.converted("other:v1").await?;
    lab.rewritten("two", &other, &json!({})).await?;
    lab.report("two", "ErrImagePull", denied).await?;
    lab.healed("two", &other).await?;
    lab.report("two", "ErrImagePull", "failed to resolve image: other:v1: 401 Unauthorized").await?;
    let note = lab.pod_event("two", "OriginalNotPulled").await?;
    assert!(note.contains("can't be pulled either") && note.contains("401"), "{note}");
    assert_eq!(image_of(&lab.pod("two").await?), other.original);
    let status = lab.ready(&other.original).await?;
    assert_eq!(condition_of(&status, HEALTHY).1, "NoFailedPull");
    Ok(())
}

/// The pods of a workload fail together, and the failure of the second arrives after the record has recovered.
#[tokio::test(flavor = "multi_thread")]
async fn failure_older_than_a_recovery_is_no_relapse() -> Result<()> {
    let lab = Lab::start().await?;
    let _controller = lab.start_controller().await?;
    let app = lab.converted("app:v1").await?;
    lab.node_has(&[]).await?;
    let fails_and_starts = async |pod: &str| {
        lab.report(pod, "ErrImagePull", NOT_FOUND).await?;
        lab.healed(pod, &app).await?;
        lab.report(pod, "ContainerCreating", "").await?;
        lab.report(pod, "", "").await
    };
    lab.rewritten("one", &app, &json!({})).await?;
    lab.rewritten("two", &app, &json!({})).await?;
    fails_and_starts("one").await?;
    let status = lab.health(&app.original, "True", RecordReason::Verified).await?;
    fails_and_starts("two").await?;

    // The healer works in the order of events: what it does for a later pod comes after what it did for pod two.
    let recovered = last_transition(&status)?;
    let later = wait::until("a pod that is younger than the recovery", WITHIN, || async {
        let name = format!("later-{}", jiff::Timestamp::now().as_millisecond());
        lab.rewritten(&name, &app, &json!({})).await?;
        let created = lab.pod(&name).await?.metadata.creation_timestamp.context("no time")?;
        Ok((created.0 > recovered).then_some(name))
    })
    .await?;
    fails_and_starts(&later).await?;
    let status = lab.health(&app.original, "False", RecordReason::PullsKeepFailing).await?;
    let (_, _, message) = condition_of(&status, HEALTHY);
    assert!(message.contains(&later), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn image_of_another_source_is_left_alone() -> Result<()> {
    let lab = Lab::start().await?;
    let _controller = lab.start_controller().await?;
    let app = lab.converted("app:v1").await?;
    for (pod, original) in [
        ("repository", lab.image("other:v1")),
        ("tag", lab.image("app:v2")),
        ("host", "evil.example/app:v1".into()),
    ] {
        let forged = Ready { original, variant: app.variant.clone() };
        lab.rewritten(pod, &forged, &json!({})).await?;
        lab.report(pod, "ErrImagePull", NOT_FOUND).await?;
    }
    lab.rewritten("true", &app, &json!({})).await?;
    lab.report("true", "ErrImagePull", NOT_FOUND).await?;
    lab.healed("true", &app).await?;
    for pod in ["repository", "tag", "host"] {
        assert_eq!(image_of(&lab.pod(pod).await?), app.variant, "{pod}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_with_a_failing_image_volume_is_evicted() -> Result<()> {
    let lab = Lab::start().await?;
    let _controller = lab.start_controller().await?;
    let data = lab.converted("data:v1").await?;
    let digest = data.variant.rsplit('@').next().unwrap_or_default();
    lab.stored("data").delete_manifest(digest).await?;
    let originals = json!({"volumes/data": data.original}).to_string();
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true,
    });
    let image = json!({"reference": data.variant, "pullPolicy": "IfNotPresent"});
    let spec = json!({
        "nodeName": "lab",
        "containers": [{"name": "app", "image": "r.example/app:v1"}],
        "volumes": [{"name": "data", "image": image}],
    });
    for (name, owners) in [("bare", json!([])), ("owned", json!([owner]))] {
        let metadata = json!({
            "name": name, "annotations": {keys::ORIGINALS: originals}, "ownerReferences": owners,
        });
        let pod = json!({"metadata": metadata, "spec": spec});
        lab.create::<Pod>(&lab.namespaced("on"), pod).await?;
        let message = format!("failed to pull and unpack image \"{}\": {NOT_FOUND}", data.variant);
        lab.report(name, "ErrImagePull", &message).await?;
    }
    let note = lab.pod_event("owned", "EvictedForOriginal").await?;
    assert!(note.contains(&data.variant), "{note}");
    let pods = lab.namespaced::<Pod>("on");
    let evicted = pods.get_opt("owned").await?;
    ensure!(evicted.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some()), "the pod wasn't evicted");
    let note = lab.pod_event("bare", "VariantNotPulled").await?;
    assert!(note.contains("an image volume can't be changed"), "{note}");
    assert_eq!(pods.get("bare").await?.metadata.deletion_timestamp, None);
    lab.health(&data.original, "True", RecordReason::Verified).await?;
    Ok(())
}

/// A cluster whose pods failed while the controller was away. The API server must not be flooded.
#[tokio::test(flavor = "multi_thread")]
async fn many_pods_are_put_back_at_a_bounded_rate() -> Result<()> {
    const PODS: usize = 60;
    let lab = Lab::start().await?;
    let controller = lab.start_controller().await?;
    let app = lab.converted("app:v1").await?;
    lab.node_has(&[&app.original]).await?;
    controller.stop().await?;
    for number in 0..PODS {
        let name = format!("web-{number}");
        lab.rewritten(&name, &app, &json!({})).await?;
        lab.report(&name, "ErrImagePull", REFUSED).await?;
    }
    let _controller = lab.start_controller().await?;
    let pods = lab.namespaced::<Pod>("on");
    let restored = async || {
        let pods = pods.list(&ListParams::default()).await?.items;
        anyhow::Ok(pods.iter().filter(|pod| image_of(pod) == app.original).count())
    };
    wait::until("the first pod", WITHIN, || async { Ok((restored().await? > 0).then_some(())) }).await?;
    let started = Instant::now();
    wait::until("all pods", WITHIN, || async { Ok((restored().await? == PODS).then_some(())) }).await?;
    // At most 20 a second, and some may have been put back before the clock started.
    let took = started.elapsed();
    assert!(took > Duration::from_millis(1500), "{took:?}");
    Ok(())
}
