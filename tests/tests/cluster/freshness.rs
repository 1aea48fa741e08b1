//! Freshness by intent: a restart after a push starts the new image, and a restarted container keeps its image.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use zstart_core::keys;
use zstart_tests::wait;

use crate::shop::{NAMESPACE, PLAIN, Shop, WITHIN, deployment, images, pod, source, statuses};

const APP: &str = "web";

/// Moves the tag of a running Deployment twice: under a rollout, and under a container that restarts.
pub(crate) async fn moved_tag(shop: &Shop) -> Result<()> {
    let first = shop.push(APP, "one").await?;
    shop.apply(&deployment(APP, 2, "Always"))?;
    let first_variant = shop.variant(APP, &first).await?;
    let old = shop.replace(APP, &[APP], 2, &first_variant).await?;
    ensure!(shop.show(&old).await? == ["one", "one"]);

    let second = shop.push(APP, "two").await?;
    shop.kubectl(&["rollout", "restart", "deployment", APP])?;
    shop.say("restarted the rollout at once");
    shop.kubectl(&["rollout", "status", "deployment", APP, "--timeout=90s"])?;
    let old_template = templates(&old);
    let is_new = |pod: &Pod| templates([pod]).is_disjoint(&old_template);
    let rolled = shop.running(NAMESPACE, APP, 2, is_new).await?;
    ensure!(shop.show(&rolled).await? == ["two", "two"], "a pod of the restarted rollout runs the old image");
    require_never_started(shop, &rolled, &first_variant).await?;

    let second_variant = shop.variant(APP, &second).await?;
    shop.looked_at(APP, &[APP]).await?;
    shop.kubectl(&["scale", "deployment", APP, "--replicas=4"])?;
    shop.say("scaled the Deployment to 4 pods");
    let scaled = shop.running(NAMESPACE, APP, 4, is_new).await?;
    ensure!(shop.show(&scaled).await? == ["two"; 4]);
    let added = scaled.iter().filter(|pod| !rolled.iter().any(|earlier| earlier.uid() == pod.uid()));
    let added: Vec<&Pod> = added.collect();
    ensure!(added.len() == 2 && added.iter().all(|pod| images(pod) == [&second_variant]), "{added:#?}");
    require_never_started(shop, &scaled, &first_variant).await?;
    restarted_container(shop, added[0]).await
}

fn templates<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> BTreeSet<String> {
    pods.into_iter().filter_map(|pod| pod.labels().get(keys::POD_TEMPLATE_HASH).cloned()).collect()
}

/// Requires that the kubelet never got an image for a pod of the same template, by its events.
async fn require_never_started(shop: &Shop, pods: &[Pod], image: &str) -> Result<()> {
    let templates = templates(pods);
    let of_template = |event: &&Event| {
        let pod = event.involved_object.name.as_deref().unwrap_or_default();
        templates.iter().any(|template| pod.starts_with(&format!("{APP}-{template}-")))
    };
    let is_complete = |events: &[Event]| events.iter().filter(of_template).count() >= pods.len();
    let events = shop.events(NAMESPACE, "reason=Pulled", is_complete).await?;
    let messages: Vec<String> =
        events.iter().filter(of_template).filter_map(|event| event.message.clone()).collect();
    ensure!(!messages.iter().any(|message| message.contains(image)), "{messages:#?}");
    Ok(())
}

/// Ends the container of a rewritten pod, and that of a pod in a namespace that isn't opted in, after the tag
/// moved again.
async fn restarted_container(shop: &Shop, rewritten: &Pod) -> Result<()> {
    let container = json!({"image": source(APP), "imagePullPolicy": "Always"});
    shop.create(&pod(PLAIN, APP, &json!({"app": APP}), &container))?;
    let plain = shop.running(PLAIN, APP, 1, |_| true).await?;
    ensure!(shop.show(&plain).await? == ["two"]);
    shop.push(APP, "three").await?;
    for (pod, version) in [(rewritten, "two"), (&plain[0], "three")] {
        let restarted = restart(shop, pod).await?;
        ensure!(images(&restarted) == images(pod), "{restarted:#?}");
        shop.say("after the restart of the container:");
        ensure!(shop.show(&[restarted]).await? == [version]);
    }
    Ok(())
}

/// Kills the process of a pod's container and waits for its successor.
async fn restart(shop: &Shop, pod: &Pod) -> Result<Pod> {
    let status = *statuses(pod).get("app").context("the pod has no status")?;
    let id = status.container_id.as_deref().and_then(|id| id.strip_prefix("containerd://"));
    let id = id.context("the container has no id")?;
    // The first process of a process namespace ignores a SIGKILL from within.
    shop.cluster.ctr(&["tasks", "kill", "--signal", "SIGKILL", id])?;
    let (pods, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let pods: Api<Pod> = Api::namespaced(shop.cluster.client(), &pods);
    let restarted = wait::until(format!("the container of {name} to restart"), WITHIN, || async {
        let pod = pods.get(&name).await?;
        let is_restarted = statuses(&pod)
            .get("app")
            .is_some_and(|now| now.ready && now.restart_count == status.restart_count + 1);
        Ok(is_restarted.then_some(pod))
    });
    restarted.await.with_context(|| shop.diagnostics())
}
