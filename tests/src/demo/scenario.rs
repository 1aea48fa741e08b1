//! The demo on a real cluster: from pushing an image to a pod that runs the variant.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use zstart_core::{Reference, keys, units};

use super::answers;
use super::application::{self, IMAGE, NAMESPACE, Ready};
use super::layer_check::{self, LayerCheck};
use crate::cluster::pull_times::{median, pull_times};
use crate::cluster::{Cluster, LOCAL_REGISTRY, REGISTRY};
use crate::steps::{print_below, print_block, step};
use crate::table::table;
use crate::{oracle, wait};

pub(super) const STARTED_WITHIN: Duration = Duration::from_mins(3);

/// Runs the demo with the image in a layout folder, and prints the table. Writes what zstart's commands say to the folder
/// `results`: `report.html` and `commands.txt`. The shown pull time is the median of `pulls` pulls of each image.
pub async fn run(
    cluster: &mut Cluster,
    binaries: &Path,
    layout: &Path,
    pulls: usize,
    results: &Path,
) -> Result<()> {
    let source: Reference = format!("{REGISTRY}/{IMAGE}").parse()?;
    print_below(&format!(
        "a single-node Kubernetes {} is running; {}",
        cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.kubeletVersion}"])?,
        cluster.storage(),
    ));
    let pushing = application::push_image(layout, LOCAL_REGISTRY);
    let digest = step(&format!("pushing the gzip image as {source}"), pushing).await?;
    let install = async {
        cluster.push_zstart_images(binaries)?;
        cluster.install_zstart(&[]).map(drop)
    };
    step("building zstart's images and installing zstart with helm", install).await?;

    step("starting a Deployment in a namespace labelled zstart.dev/rewrite=enabled", async {
        deploy(cluster, &source)
    })
    .await?;
    let waiting = async {
        let first = running_pod(cluster, &source.to_string()).await?;
        print_below(&format!("pod {} runs {source}", first.name_any()));
        anyhow::Ok(())
    };
    step("waiting for the first pod, which starts from gzip", waiting).await?;
    let ready =
        step("waiting for the conversion record to become Ready", record_ready(cluster, &source)).await?;
    print_below(&cluster.kubectl(&["get", "imgconv"])?);
    let variant = &ready.variant.reference;

    let replace = replace(cluster, &source, variant);
    let pod = step("replacing the pod after removing the image from the node", replace).await?;
    let check = layer_check::check_in_containerd(cluster, &ready.digest)?;
    application::require_source_unchanged(LOCAL_REGISTRY, &digest).await?;
    let comparing = oracle::require_equal(LOCAL_REGISTRY, &source, variant);
    step("comparing image and variant with code that zstart's converter doesn't use", comparing).await?;

    scale(cluster, 0).await?;
    let (gzip, zstd) = (source.to_string(), variant.to_string());
    cluster.remove_image(&zstd).await?;
    let images = [&*gzip, &*zstd];
    let pulling = pull_times(cluster, &images, pulls);
    let times =
        step(&format!("pulling each image {pulls} times with the kubelet, in turns"), pulling).await?;
    let joining = start_on_new_node(cluster, variant);
    let running =
        step("starting the pod on a second node that joins, as nodes of an autoscaler do", joining).await?;
    answers::show(cluster, binaries, &running.name_any(), results).await?;
    report(&ready, &pod, &check, &times, &results.join("report.html"));
    Ok(())
}

fn deploy(cluster: &Cluster, image: &Reference) -> Result<()> {
    let file = cluster.folder().join("shop.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&application::objects(image))?)?;
    cluster.kubectl(&["apply", "-f", &file.display().to_string()])?;
    Ok(())
}

/// Waits for a running pod whose container has this image.
async fn running_pod(cluster: &Cluster, image: &str) -> Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    let running = wait::until(format!("a running pod of {image}"), STARTED_WITHIN, || async {
        let pods = pods.list(&ListParams::default()).await?;
        Ok(pods.items.into_iter().find(|pod| is_running(pod, image)))
    });
    running.await.with_context(|| cluster.pod_diagnostics(NAMESPACE))
}

fn is_running(pod: &Pod, image: &str) -> bool {
    let has_image =
        pod.spec.iter().flat_map(|spec| &spec.containers).any(|c| c.image.as_deref() == Some(image));
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let running = statuses.into_iter().all(|status| status.ready);
    let started = pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
    has_image && running && started && pod.metadata.deletion_timestamp.is_none()
}

async fn record_ready(cluster: &Cluster, source: &Reference) -> Result<Ready> {
    Ready::wait(cluster.client(), source).await.with_context(|| {
        let said = cluster.pod_diagnostics(crate::cluster::NAMESPACE);
        let record = cluster.kubectl(&["describe", "imgconv"]).unwrap_or_default();
        format!("{record}\n{said}")
    })
}

/// Replaces the pod with no content of the image on the node. The new pod must run the variant, by digest.
///
/// The template stays the same: a pod of a template that is newer than the last look at the tag keeps its
/// original.
async fn replace(cluster: &Cluster, source: &Reference, variant: &Reference) -> Result<Pod> {
    scale(cluster, 0).await?;
    cluster.remove_image(&source.to_string()).await?;
    scale(cluster, 1).await?;
    let pod = running_pod(cluster, &variant.to_string()).await?;
    let originals = pod.annotations().get(keys::ORIGINALS).cloned().unwrap_or_default();
    ensure!(
        originals.contains(&source.to_string()),
        "the pod's annotation doesn't name its original: {originals:?}"
    );
    let pulls = cluster.pulls(NAMESPACE, &pod.name_any()).await?;
    let pulled = pulls.first().context("the kubelet reports no pull")?;
    ensure!(pulled.image == variant.to_string(), "the kubelet pulled {} instead of {variant}", pulled.image);
    print_below(&format!("pod {} runs {variant}", pod.name_any()));
    print_below(&format!("the kubelet pulled it in {}", units::duration(pulled.duration)));
    print_below(cluster.kubectl(&["-n", NAMESPACE, "logs", "deployment/forecast"])?.trim());
    Ok(pod)
}

/// Starts the pod on a node that joins. Its pull of the variant is the first one by that node, which the controller
/// compares with the first node's pull of the source.
async fn start_on_new_node(cluster: &mut Cluster, variant: &Reference) -> Result<Pod> {
    let first = cluster.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])?;
    let joined = cluster.join_node().await?;
    cluster.kubectl(&["cordon", &first])?;
    scale(cluster, 1).await?;
    let pod = running_pod(cluster, &variant.to_string()).await?;
    cluster.kubectl(&["uncordon", &first])?;
    print_below(&format!("pod {} runs {variant} on node {joined}", pod.name_any()));
    Ok(pod)
}

/// Sets the number of replicas. For zero, waits until the last pod is gone.
async fn scale(cluster: &Cluster, replicas: u32) -> Result<()> {
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> =
        Api::namespaced(cluster.client(), NAMESPACE);
    let scale = json!({"spec": {"replicas": replicas}});
    deployments.patch_scale("forecast", &PatchParams::default(), &Patch::Merge(scale)).await?;
    if replicas > 0 {
        return Ok(());
    }
    let pods: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
    wait::until("the Deployment's pods to be gone", STARTED_WITHIN, || async {
        Ok(pods.list(&ListParams::default()).await?.items.is_empty().then_some(()))
    })
    .await
}

fn report(ready: &Ready, pod: &Pod, check: &LayerCheck, times: &[Vec<Duration>], report_file: &Path) {
    let (gzip, zstd) = ready.sizes();
    let [slow, fast] = [0, 1].map(|image| times.get(image).map(|times| median(times)).unwrap_or_default());
    let shorter = 100.0 * (1.0 - fast.as_secs_f64() / slow.as_secs_f64().max(f64::MIN_POSITIVE));
    let rows = [
        vec![String::new(), "gzip".into(), "zstd".into(), "saved".into()],
        vec!["compressed size".into(), units::size(gzip), units::size(zstd), units::saving(gzip, zstd)],
        vec![
            format!("kubelet's pull (median of {})", times.first().map_or(0, Vec::len)),
            units::duration(slow),
            units::duration(fast),
            format!("{shorter:.1}%"),
        ],
    ];
    print_block(&table(&rows));
    print_below(&format!("conversion       {} in zstart's controller", units::duration(ready.duration())));
    print_below(&format!(
        "files            {} of {} layers unpack to the config's diff_ids ({} uncompressed)",
        check.equal_layers,
        check.equal_layers,
        units::size(check.uncompressed_bytes)
    ));
    print_below(&format!("pod              {}/{}", pod.namespace().unwrap_or_default(), pod.name_any()));
    print_below(&format!("image            {}", ready.variant.reference));
    print_below(&format!("picture          {}", report_file.display()));
    print_block(
        "To look around, `make run KEEP=1` leaves a shell in the cluster:
  kubectl get imgconv                          the conversion records
  kubectl describe imgconv                     conditions and events of a record
  kubectl -n shop get pods -o yaml             the image by digest, and the annotation with the original
  kubectl -n zstart-system logs deploy/zstart-controller
  ctr images ls                                the images in containerd",
    );
}
