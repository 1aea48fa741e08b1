//! Pods that can't pull their variant, with a real kubelet, containerd and registry.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use zstart_core::record::{HEALTHY, condition};
use zstart_core::{Reference, keys};
use zstart_tests::cluster::{self, LOCAL_REGISTRY};
use zstart_tests::wait;

use crate::shop::{NAMESPACE, PLAIN, Shop, WITHIN, deployment, images, pod, source};

const MISSING: &str = "gone";
const AWAY: &str = "away";

impl Shop {
    /// Deletes the manifest of a variant from the registry.
    async fn delete_variant(&self, name: &str, variant: &str) -> Result<()> {
        let digest = variant.parse::<Reference>()?.digest().context("no digest")?.to_string();
        let url = format!("http://{LOCAL_REGISTRY}/v2/shop/{name}/manifests/{digest}");
        reqwest::Client::new().delete(&url).send().await?.error_for_status()?;
        self.say(&format!("deleted {variant} from the registry"));
        Ok(())
    }

    /// Scales a Deployment up, and waits until its pods run their originals, which their events tell. Prints the
    /// time.
    async fn healed(&self, app: &str, replicas: usize) -> Result<()> {
        let started = Instant::now();
        self.kubectl(&["scale", "deployment", app, &format!("--replicas={replicas}")])?;
        let original = source(app);
        let pods = self.running(NAMESPACE, app, replicas, |pod| images(pod) == [&original]).await?;
        let took = started.elapsed().as_secs_f64();
        self.say(&format!(
            "{replicas} pods of {app} run their original {took:.1} s after the Deployment was scaled"
        ));
        for pod in &pods {
            let annotations = pod.metadata.annotations.as_ref();
            ensure!(annotations.is_none_or(|all| !all.contains_key(keys::ORIGINALS)), "{pod:#?}");
        }
        let told = |events: &[Event], pod: &Pod| {
            let of_pod = events.iter().find(|event| event.involved_object.uid == pod.metadata.uid);
            of_pod.and_then(|event| event.message.clone())
        };
        let all_told = |events: &[Event]| pods.iter().all(|pod| told(events, pod).is_some());
        let events = self.events(NAMESPACE, "reason=PutBackOnOriginal", all_told).await?;
        self.say(&told(&events, &pods[0]).unwrap_or_default());
        Ok(())
    }

    async fn health(&self, name: &str) -> Result<Option<bool>> {
        let status = self.record(name).await?;
        Ok(status.and_then(|status| condition(&status, HEALTHY).map(|health| health.status == "True")))
    }
}

/// A variant is deleted behind zstart's back.
async fn missing_variant(shop: &Shop) -> Result<()> {
    let digest = shop.push(MISSING, "gone").await?;
    shop.apply(&deployment(MISSING, 0, "IfNotPresent"))?;
    let variant = shop.variant(MISSING, &digest).await?;
    shop.looked_at(MISSING, &[MISSING]).await?;
    shop.delete_variant(MISSING, &variant).await?;
    shop.healed(MISSING, 2).await?;
    let recovered = wait::until("the record to recover", WITHIN, || async {
        Ok((shop.health(MISSING).await? == Some(true)).then_some(()))
    });
    recovered.await.with_context(|| shop.diagnostics())?;
    shop.say("the record has recovered");
    // The variant was made again: later pods start from it.
    shop.replace(MISSING, &[MISSING], 2, &variant).await.map(drop)
}

/// The registry goes away while the node has the original.
async fn registry_outage(shop: &mut Shop) -> Result<()> {
    let digest = shop.push(AWAY, "away").await?;
    shop.apply(&deployment(AWAY, 0, "IfNotPresent"))?;
    shop.variant(AWAY, &digest).await?;
    shop.looked_at(AWAY, &[AWAY]).await?;
    let container = json!({"image": source(AWAY), "imagePullPolicy": "IfNotPresent"});
    shop.create(&pod(PLAIN, AWAY, &json!({"app": AWAY}), &container))?;
    shop.running(PLAIN, AWAY, 1, |_| true).await?;
    let nodes: Api<Node> = Api::all(shop.cluster.client());
    wait::until("the kubelet to list the original", WITHIN, || async {
        let nodes = nodes.list(&ListParams::default()).await?.items;
        let images = nodes.into_iter().filter_map(|node| node.status?.images).flatten();
        Ok(images
            .flat_map(|image| image.names.unwrap_or_default())
            .any(|name| name == source(AWAY))
            .then_some(()))
    })
    .await?;
    shop.cluster.stop_registry();
    shop.say("stopped the registry");
    shop.healed(AWAY, 2).await?;
    ensure!(shop.health(AWAY).await? != Some(false), "the variant isn't at fault");
    shop.cluster.start_registry().await
}

#[test]
fn pods_start_without_variant_and_without_registry() {
    cluster::run("heal::pods_start_without_variant_and_without_registry", |cluster| async move {
        let mut shop = Shop::open(cluster, &[])?;
        missing_variant(&shop).await?;
        registry_outage(&mut shop).await
    });
}
