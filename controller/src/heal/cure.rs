//! Carries out cures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use tracing::{debug, info, warn};
use zstart_core::{chain, keys};

use super::blame::{blame, blame_after_start, log_failure};
use super::decide::{Case, Cure, Obstacle, Original};
use super::memory::BoundedMap;
use super::node_images::{NodeContent, NodeImages, Presence};
use super::patch::put_back;
use super::patients::{FieldKey, Restoration};
use super::pod::{FailingPod, PodId, Restored};
use super::{Healer, SPACING};
use crate::context::Context;
use crate::metrics::CureLabel;

/// Time for which a node's images are believed. Many pods of one node fail at once.
const NODE_CACHE: Duration = Duration::from_secs(5);
const MAX_NODES: usize = 64;
const MAX_TOLD: usize = 10_000;
/// Time that webhooks get to learn of an unhealthy record or a node on hold before a pod is evicted, whose successor
/// they review at once.
const WEBHOOK_DELAY: Duration = Duration::from_secs(1);
/// Attempts for one cure. The kubelet repeats its report, so another attempt follows.
const ATTEMPTS: u32 = 4;
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Reasons of the events on pods. Users match on the words.
const PUT_BACK: &str = "PutBackOnOriginal";
const EVICTED: &str = "EvictedForOriginal";
const NOT_PULLED: &str = "VariantNotPulled";
const ORIGINAL_NOT_PULLED: &str = "OriginalNotPulled";

/// Cures and the state between them.
pub(super) struct Ward<'a> {
    context: &'a Context,
    healer: &'a Healer,
    namespace: &'a str,
    nodes: BoundedMap<String, (Instant, Arc<NodeContent>)>,
    /// Obstacles that a pod's events name.
    told: BoundedMap<FieldKey, Obstacle>,
    last_cure: Option<Instant>,
}

impl<'a> Ward<'a> {
    pub(super) fn new(context: &'a Context, healer: &'a Healer, namespace: &'a str) -> Self {
        let (nodes, told) = (BoundedMap::new(MAX_NODES), BoundedMap::new(MAX_TOLD));
        Self { context, healer, namespace, nodes, told, last_cure: None }
    }

    /// Cures a pod that can't pull a variant.
    pub(super) async fn cure(&mut self, pod: &FailingPod) {
        let cases: Vec<Case<'_>> = pod.failures.iter().filter_map(|pull| Case::of(pod, pull)).collect();
        let node = self.node(&pod.node).await;
        let images = node.as_deref().map(NodeImages::from);
        let mut restorations = Vec::new();
        let (mut put_back, mut evict) = (Vec::new(), Vec::new());
        for case in cases {
            let original = case.original.as_ref().map(|original| &original.reference);
            let presence = images.as_ref().zip(original).map(|(images, original)| images.presence(original));
            let presence = presence.unwrap_or(Presence::Unknown);
            let blamed = blame(self.context, self.namespace, pod, &case, node.as_deref()).await;
            let is_relapse = blamed.inspect_err(|error| log_failure(pod, error)).unwrap_or_default();
            match case.decide(pod.has_controller, presence) {
                Cure::PutBack => {
                    restorations.extend(restoration(pod, &case, presence, is_relapse));
                    put_back.push(case);
                }
                Cure::Evict => evict.push(case),
                Cure::Leave(obstacle) => self.leave(pod, &case, obstacle).await,
            }
        }
        // The successor of an evicted pod starts from the originals.
        if !evict.is_empty() {
            self.evict(pod, &evict).await;
        } else if !put_back.is_empty() {
            self.put_back(pod, &put_back, restorations).await;
        }
    }

    /// Looks at a container that was put back, after the kubelet's first word.
    pub(super) async fn observe(&mut self, restoration: &Restoration, outcome: &Restored) {
        let Restoration { id, written, failure, .. } = restoration;
        match outcome {
            Restored::Pulled => {
                if let Err(error) = blame_after_start(self.context, restoration).await {
                    let (namespace, pod) = (&id.namespace, &id.name);
                    warn!(namespace, pod, error = chain(&error), "failed to note the cause of a failed pull");
                }
            }
            Restored::Failed(message) => {
                let note = format!(
                    "{} was put back on its original {written}, which can't be pulled either: {message}. zstart does \
                     nothing more about it",
                    failure.image.field
                );
                self.context.events.publish_heal(&id.reference(), ORIGINAL_NOT_PULLED, &note).await;
            }
        }
    }

    async fn put_back(&mut self, pod: &FailingPod, cases: &[Case<'_>], restorations: Vec<Restoration>) {
        let patch = match serde_json::from_value(put_back(pod, cases)) {
            Ok(patch) => Patch::<()>::Json(patch),
            Err(error) => return warn!(%error, "failed to build the patch of a pod"),
        };
        let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), &pod.id.namespace);
        let parameters =
            PatchParams { field_manager: Some(keys::CONTROLLER.to_owned()), ..PatchParams::default() };
        // The watch may report the patched pod before the API server's answer arrives.
        for restoration in restorations {
            self.healer.restored(restoration);
        }
        if !retry(&pod.id, "put back on its original", || pods.patch(&pod.id.name, &parameters, &patch)).await
        {
            return;
        }
        self.announce("putting pods that can't pull their variant back on their originals");
        for case in cases {
            let Some(Original { written, .. }) = case.original else { continue };
            let (field, variant) = (&case.pull.image.field, &case.variant);
            let (namespace, name) = (&pod.id.namespace, &pod.id.name);
            debug!(namespace, pod = name, %field, %variant, cause = case.cause.as_str(), "put an image back");
            self.context.metrics.count_cure(CureLabel::PutBack, case.cause);
            let note = format!(
                "put {field} back on its original {written}, because the node couldn't pull {variant}: {}",
                case.pull.message
            );
            self.context.events.publish_heal(&pod.reference(), PUT_BACK, &note).await;
        }
    }

    /// Evicts a pod. Disruption budgets count, and another attempt follows when the kubelet reports again.
    async fn evict(&mut self, pod: &FailingPod, cases: &[Case<'_>]) {
        let id = &pod.id;
        // A namespace that is no longer opted in isn't reviewed. The admission policy knows the label only.
        if !self.context.demand.read(|demand| demand.is_opted_in(&id.namespace)) {
            return;
        }
        tokio::time::sleep(WEBHOOK_DELAY).await;
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: Some(id.name.clone()),
                namespace: Some(id.namespace.clone()),
                ..ObjectMeta::default()
            },
            delete_options: Some(DeleteOptions {
                preconditions: Some(Preconditions { uid: Some(id.uid.clone()), ..Preconditions::default() }),
                ..DeleteOptions::default()
            }),
        };
        let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), &id.namespace);
        let (name, parameters) = (&id.name, PostParams::default());
        // kube's own `evict` writes a member that the API server ignores, so the UID would be lost.
        let post =
            || pods.create_subresource::<_, serde_json::Value>("eviction", name, &parameters, &eviction);
        if !retry(id, "evicted", post).await {
            return;
        }
        self.announce("evicting pods whose image volume can't be pulled");
        for case in cases {
            self.context.metrics.count_cure(CureLabel::Evict, case.cause);
            let note = format!(
                "evicted the pod, because the node couldn't pull {} and an image volume can't be changed: {}",
                case.variant, case.pull.message
            );
            self.context.events.publish_heal(&pod.reference(), EVICTED, &note).await;
        }
    }

    /// Reports once that an image is left.
    async fn leave(&mut self, pod: &FailingPod, case: &Case<'_>, obstacle: Obstacle) {
        let key = (pod.id.uid.clone(), case.pull.image.field.to_string());
        if self.told.get(&key) == Some(&obstacle) {
            return;
        }
        self.told.insert(key, obstacle);
        self.context.metrics.count_cure(CureLabel::Leave, case.cause);
        let hint = match obstacle {
            Obstacle::RegistryAway => {
                "the registry is away, and the original needs it too; the kubelet tries again"
            }
            Obstacle::ImageVolume => "an image volume can't be changed: delete the pod and create it again",
            Obstacle::EphemeralContainer => {
                "an ephemeral container can't be changed: start another one, from the original image"
            }
        };
        let note = format!(
            "{} keeps {}, which the node couldn't pull ({}): {hint}",
            case.pull.image.field, case.variant, case.pull.message
        );
        self.context.events.publish_heal(&pod.reference(), NOT_PULLED, &note).await;
    }

    /// Logs the first of many cures.
    fn announce(&mut self, text: &str) {
        let is_first = self.last_cure.is_none_or(|last| last.elapsed() > Duration::from_mins(1));
        self.last_cure = Some(Instant::now());
        if is_first {
            info!(max_per_second = 1000 / SPACING.as_millis(), "{text}; their events have the causes");
        }
    }

    /// Images and runtime of a node; `None` if the API server doesn't tell.
    async fn node(&mut self, name: &str) -> Option<Arc<NodeContent>> {
        if name.is_empty() {
            return None;
        }
        let key = name.to_owned();
        if let Some((at, node)) = self.nodes.get(&key)
            && at.elapsed() < NODE_CACHE
        {
            return Some(Arc::clone(node));
        }
        let nodes: Api<NodeContent> = Api::all(self.context.client.clone());
        match nodes.get_opt(name).await {
            Ok(node) => {
                let node = Arc::new(node?);
                self.nodes.insert(key, (Instant::now(), Arc::clone(&node)));
                Some(node)
            }
            Err(error) => {
                warn!(node = name, error = chain(&error), "failed to read the images of a node");
                None
            }
        }
    }
}

fn restoration(
    pod: &FailingPod,
    case: &Case<'_>,
    presence: Presence,
    is_relapse: bool,
) -> Option<Restoration> {
    let original = case.original.as_ref()?;
    Some(Restoration {
        id: pod.id.clone(),
        failure: case.pull.clone(),
        written: original.written.to_owned(),
        original: original.reference.clone(),
        variant: case.variant.clone(),
        cause: case.cause,
        is_relapse,
        is_pulled: case.is_always_pulled() || presence == Presence::Absent,
    })
}

/// Sends a request until the API server accepts it, a few times. Returns whether it did.
async fn retry<T, F: Future<Output = kube::Result<T>>>(
    pod: &PodId,
    what: &str,
    request: impl Fn() -> F,
) -> bool {
    let PodId { namespace, name, .. } = pod;
    for attempt in 1..=ATTEMPTS {
        match request().await {
            Ok(_) => return true,
            // Another pod of this name, another image, or a pod that is gone.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
                debug!(namespace, pod = name, error = status.message, "a pod changed before it was {what}");
                return false;
            }
            Err(error) => {
                let error_text = chain(&error);
                warn!(namespace, pod = name, error = error_text, attempt, "a pod couldn't be {what}");
                let is_final =
                    matches!(&error, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 429));
                if is_final {
                    return false;
                }
            }
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
    false
}
