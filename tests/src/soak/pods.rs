//! Pods of a soak. They are created at a high rate and deleted soon, so the cluster holds a bounded number.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use zstart_core::{Reference, keys};

use super::nodes::LABEL;
use crate::cluster::{BUSYBOX, Cluster, REGISTRY};
use crate::demo::application::Ready;
use crate::pod_load::CreatedPod;
use crate::wait;

const NAMESPACE: &str = "soak";
/// Pods that exist at once. At 20 pods a second each pod exists for 15 s.
const KEPT: usize = 300;
/// Time limit for the first pod and the first rewrite.
const WITHIN: Duration = Duration::from_mins(1);

/// Creates pods in an opted-in namespace.
pub(super) struct Pods {
    api: Api<Pod>,
    pod: Arc<Pod>,
    variant: String,
    created: UnboundedSender<String>,
    deletion: JoinHandle<Result<()>>,
}

impl Pods {
    /// Starts one pod, which makes zstart convert the image, and waits until the webhook would rewrite the next.
    pub(super) async fn start(cluster: &Cluster) -> Result<Self> {
        let namespaces: Api<Namespace> = Api::all(cluster.client());
        let labels = json!({keys::REWRITE: keys::ENABLED});
        let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE, "labels": labels}}))?;
        namespaces.create(&PostParams::default(), &namespace).await?;
        let image: Reference = format!("{REGISTRY}/{BUSYBOX}").parse()?;
        let pod = Arc::new(pod(&image)?);
        let api: Api<Pod> = Api::namespaced(cluster.client(), NAMESPACE);
        // Pods need the namespace's service account.
        wait::until("the first pod to be created", WITHIN, || async {
            Ok(Some(api.create(&PostParams::default(), &pod).await?))
        })
        .await?;
        let ready = Ready::wait(cluster.client(), &image).await;
        let ready = ready.with_context(|| cluster.pod_diagnostics(crate::cluster::NAMESPACE))?;
        let variant = ready.variant.reference.to_string();
        let dry = PostParams { dry_run: true, field_manager: None };
        wait::until("a pod to be rewritten", WITHIN, || async {
            let made = CreatedPod::from(&api.create(&dry, &pod).await?);
            Ok((made.image == variant).then_some(()))
        })
        .await?;
        let (created, names) = mpsc::unbounded_channel();
        let deletion = tokio::spawn(delete_oldest(api.clone(), names));
        Ok(Self { api, pod, variant, created, deletion })
    }

    /// Image that each pod must get.
    pub(super) fn variant(&self) -> &str {
        &self.variant
    }

    /// Function that creates a pod.
    pub(super) fn creator(
        &self,
    ) -> impl Fn() -> Pin<Box<dyn Future<Output = Result<CreatedPod>> + Send>> + Send + use<> {
        let (api, pod, created) = (self.api.clone(), Arc::clone(&self.pod), self.created.clone());
        move || {
            let (api, pod, created) = (api.clone(), Arc::clone(&pod), created.clone());
            Box::pin(async move {
                let made = CreatedPod::from(&api.create(&PostParams::default(), &pod).await?);
                // The receiver ends early only with an error, which `finish` returns.
                let _ = created.send(made.name.clone());
                Ok(made)
            })
        }
    }

    /// Fails if a pod couldn't be deleted.
    pub(super) async fn finish(self) -> Result<()> {
        drop(self.created);
        self.deletion.await?
    }
}

/// Deletes the oldest pods while more than [`KEPT`] exist.
async fn delete_oldest(api: Api<Pod>, mut names: UnboundedReceiver<String>) -> Result<()> {
    let mut kept = VecDeque::new();
    // No kubelet confirms the end of a simulated pod.
    let at_once = DeleteParams::default().grace_period(0);
    while let Some(name) = names.recv().await {
        kept.push_back(name);
        if kept.len() > KEPT {
            let Some(oldest) = kept.pop_front() else { continue };
            let deleted = api.delete(&oldest, &at_once).await;
            deleted.with_context(|| format!("failed to delete pod {oldest}"))?;
        }
    }
    Ok(())
}

/// A pod for the simulated nodes.
fn pod(image: &Reference) -> Result<Pod> {
    let (key, value) = LABEL;
    Ok(serde_json::from_value(json!({
        "metadata": {"generateName": "app-"},
        "spec": {
            "containers": [{"name": "app", "image": image}],
            "nodeSelector": {key: value},
            "tolerations": [{"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}],
        },
    }))?)
}
