//! The kubelet's pull time of an image, on a node without any of its content.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use zstart_core::units;

use super::Cluster;
use crate::wait;

/// Namespace of measured pods. It isn't opted in: the webhook leaves its pods unchanged.
pub(crate) const NAMESPACE: &str = "measure";
const WITHIN: Duration = Duration::from_mins(5);

/// Pulls each image `pulls` times, in turns, each time from a clean content store. No container may use one of the
/// images. Returns the times of each image.
pub(crate) async fn pull_times(
    cluster: &Cluster,
    images: &[&str],
    pulls: usize,
) -> Result<Vec<Vec<Duration>>> {
    create_namespace(cluster).await?;
    let mut times = vec![Vec::new(); images.len()];
    for round in 0..pulls {
        for (index, (image, times)) in images.iter().zip(&mut times).enumerate() {
            times.push(pull_and_remove(cluster, &format!("pull-{round}-{index}"), image).await?);
        }
    }
    Ok(times)
}

/// Creates the namespace of measured pods.
pub(crate) async fn create_namespace(cluster: &Cluster) -> Result<()> {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::all(cluster.client()).create(&PostParams::default(), &namespace).await?;
    Ok(())
}

/// Deletes a measured pod, and waits until it is gone.
pub(crate) async fn remove_pod(pods: &Api<Pod>, name: &str) -> Result<()> {
    // No forced deletion: the pod object must outlive its containers.
    pods.delete(name, &DeleteParams::default()).await?;
    wait::until("the pod to be gone", WITHIN, || async {
        Ok(pods.get_opt(name).await?.is_none().then_some(()))
    })
    .await
}

/// Shortest and longest duration, as text.
pub(crate) fn range(times: &[Duration]) -> [String; 2] {
    [times.iter().min(), times.iter().max()]
        .map(|time| time.map_or(String::new(), |time| units::duration(*time)))
}

/// Median of the durations.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Pulls an image for a pod that ends at once, then removes the image from the node.
async fn pull_and_remove(cluster: &Cluster, name: &str, image: &str) -> Result<Duration> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "app", "image": image, "command": ["/bin/true"], "imagePullPolicy": "Always"}],
        },
    }))?;
    pods.create(&PostParams::default(), &pod).await?;
    let pulled = wait::until(format!("the kubelet to pull {image}"), WITHIN, || async {
        Ok(cluster.pulls(NAMESPACE, name).await?.into_iter().next())
    });
    let pulled = pulled.await.with_context(|| cluster.pod_diagnostics(NAMESPACE))?;
    remove_pod(&pods, name).await?;
    cluster.remove_image(image).await?;
    Ok(pulled.duration)
}
