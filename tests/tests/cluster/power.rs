//! The whole cluster off and on: everything starts without zstart, and zstart starts with it.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use zstart_core::units;
use zstart_tests::{cluster, wait};

use crate::commands::{APP, sound};
use crate::shop::{NAMESPACE, Shop, WITHIN, images, is_ready, source, statuses};

/// Cuts the power, and switches the machine on. While zstart is away, its own webhook pods are deleted and the
/// Deployment grows: both need pods that the API server admits without the webhook.
pub(crate) async fn off_and_on(shop: &mut Shop, variant: &str) -> Result<()> {
    let before = shop.running(NAMESPACE, APP, 2, |pod| images(pod) == [variant]).await?;
    let ended = containers(&everything(shop).await?);
    shop.cluster.power_off().await?;
    shop.say("power off: every process of the cluster has ended");

    shop.cluster.start_control_plane().await?;
    shop.say("API server, controllers and registry are on, the node isn't");
    let webhooks = ["--selector", "app.kubernetes.io/component=webhook", "--force", "--grace-period=0"];
    shop.cluster
        .kubectl(&[&["--namespace", cluster::NAMESPACE, "delete", "pods"], &webhooks[..]].concat())?;
    shop.kubectl(&["scale", "deployment", APP, "--replicas=3"])?;
    let admitted = Instant::now();
    let added = wait::until("a pod that is created without the webhook", WITHIN, || async {
        let known: BTreeSet<_> = before.iter().map(Pod::uid).collect();
        Ok(shop.pods(NAMESPACE, APP).await?.into_iter().find(|pod| !known.contains(&pod.uid())))
    })
    .await?;
    ensure!(images(&added) == [source(APP)], "no webhook could have rewritten {added:#?}");
    shop.say(&format!(
        "the API server admitted pod {} as it was written, {} after the order",
        added.name_any(),
        units::duration(admitted.elapsed())
    ));
    webhook_pods_exist(shop).await?;

    shop.cluster.start_node().await?;
    shop.say("kubelet and kube-proxy are on");
    // The stored status of a pod is that of the time before, until the kubelet reports new containers.
    let pods = wait::until("all pods to run in new containers", WITHIN, || async {
        let pods = everything(shop).await?;
        let all_new = containers(&pods).is_disjoint(&ended);
        Ok((all_new && pods.iter().all(is_ready)).then_some(pods))
    });
    let pods = pods.await.with_context(|| shop.diagnostics())?;
    shop.say("all pods run again:");
    for pod in &pods {
        let restarts: i32 = statuses(pod).values().map(|status| status.restart_count).sum();
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        shop.say(&format!("  {namespace}/{name}, {restarts} restarts, runs {}", images(pod).join(", ")));
    }
    let survivors = before.iter().filter(|old| pods.iter().any(|pod| pod.uid() == old.uid()));
    ensure!(survivors.count() == 2, "a rewritten pod was replaced");
    sound(shop).await?;
    let pods = shop.replace(APP, &[APP], 3, variant).await?;
    shop.say("new pods are rewritten again:");
    ensure!(shop.show(&pods).await? == ["one"; 3]);
    Ok(())
}

/// Pods of the Deployment and of zstart.
async fn everything(shop: &Shop) -> Result<Vec<Pod>> {
    let mut pods = shop.pods(NAMESPACE, APP).await?;
    let zstart: Api<Pod> = Api::namespaced(shop.cluster.client(), cluster::NAMESPACE);
    pods.extend(zstart.list(&ListParams::default()).await?.items);
    Ok(pods)
}

/// Identities of the containers that run, or ran last.
fn containers(pods: &[Pod]) -> BTreeSet<String> {
    let statuses = pods.iter().flat_map(|pod| statuses(pod).into_values());
    statuses.filter_map(|status| status.container_id.clone()).collect()
}

/// Waits until the `ReplicaSet` of the webhook has created the pods that were deleted.
async fn webhook_pods_exist(shop: &Shop) -> Result<()> {
    let sets: Api<ReplicaSet> = Api::namespaced(shop.cluster.client(), cluster::NAMESPACE);
    let selector = ListParams::default().labels("app.kubernetes.io/component=webhook");
    wait::until("the webhook's pods to be created again", WITHIN, || async {
        let status = sets.list(&selector).await?.items.into_iter().filter_map(|set| set.status);
        Ok((status.map(|status| status.replicas).sum::<i32>() == 2).then_some(()))
    })
    .await?;
    shop.say("the API server admitted the webhook's own pods without the webhook");
    Ok(())
}
