//! Pods that wait for a cure, or whose cure is observed. Synchronous: watch events go in, work comes out.

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;
use zstart_core::Reference;
use zstart_core::pull_failure::PullFailure;

use super::decide::Case;
use super::memory::BoundedMap;
use super::pod::{FailedPull, FailingPod, PodId, Restored, image_of, restored};

/// Maximum number of pods that wait for a cure. The kubelet repeats its report of a pod that is forgotten.
const MAX_WAITING: usize = 2_000;
/// Maximum number of remembered causes and cures.
const MAX_REMEMBERED: usize = 10_000;

/// Image field of a pod: UID of the pod, and the field as the annotation names it.
pub(super) type FieldKey = (String, String);

/// Work of the healer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Work {
    /// A pod can't pull a variant.
    Cure(FailingPod),
    /// A container that was put back has pulled its original, or failed to.
    Observe(Box<Restoration>, Restored),
}

/// Container that was put back on its original.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Restoration {
    pub(super) id: PodId,
    /// Failed pull of the variant.
    pub(super) failure: FailedPull,
    /// Original as the pod's author wrote it.
    pub(super) written: String,
    pub(super) original: Reference,
    pub(super) variant: Reference,
    pub(super) cause: PullFailure,
    /// The failure is a relapse of the record.
    pub(super) is_relapse: bool,
    /// The node needs the registry for the original, so a start of the container proves that the pod's credentials
    /// and the registry are in order.
    pub(super) is_pulled: bool,
}

/// Pods that wait for a cure, or whose cure is observed.
#[derive(Debug)]
pub(super) struct Patients {
    waiting: BoundedMap<String, FailingPod>,
    /// Containers that were put back, by the UID of their pod.
    restorations: BoundedMap<String, Vec<Restoration>>,
    observed: BoundedMap<FieldKey, (Restoration, Restored)>,
    /// Image and cause of the last failed pull of each field: the kubelet hides the cause while it pauses.
    causes: BoundedMap<FieldKey, (String, PullFailure)>,
}

impl Default for Patients {
    fn default() -> Self {
        Self {
            waiting: BoundedMap::new(MAX_WAITING),
            restorations: BoundedMap::new(MAX_REMEMBERED),
            observed: BoundedMap::new(MAX_WAITING),
            causes: BoundedMap::new(MAX_REMEMBERED),
        }
    }
}

impl Patients {
    /// Applies an event on pods. Returns whether there is new work.
    pub(super) fn apply(&mut self, event: &Event<Pod>) -> bool {
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => {
                let is_observed = !self.restorations.is_empty() && self.observe(pod);
                self.examine(pod) || is_observed
            }
            Event::Delete(pod) => {
                if let Some(uid) = &pod.metadata.uid {
                    self.waiting.remove(uid);
                    self.restorations.remove(uid);
                }
                false
            }
            Event::Init | Event::InitDone => false,
        }
    }

    /// Remembers a container that was put back.
    pub(super) fn restored(&mut self, restoration: Restoration) {
        let uid = restoration.id.uid.clone();
        let mut open = self.restorations.remove(&uid).unwrap_or_default();
        open.retain(|earlier| earlier.failure.image.field != restoration.failure.image.field);
        open.push(restoration);
        self.restorations.insert(uid, open);
    }

    /// Takes the next work.
    pub(super) fn next(&mut self) -> Option<Work> {
        if let Some((restoration, outcome)) = self.observed.pop() {
            return Some(Work::Observe(Box::new(restoration), outcome));
        }
        self.waiting.pop().map(Work::Cure)
    }

    /// Looks for variants that the pod can't pull.
    fn examine(&mut self, pod: &Pod) -> bool {
        let Some(mut failing) = FailingPod::of(pod) else { return false };
        for pull in &mut failing.failures {
            let key = (failing.id.uid.clone(), pull.image.field.to_string());
            let image = &pull.image.reference;
            if let Some(cause) = pull.cause {
                self.causes.insert(key, (image.clone(), cause));
            } else {
                let last = self.causes.get(&key).filter(|(of, _)| of == image);
                pull.cause = last.map(|(_, cause)| *cause);
            }
        }
        if !failing.failures.iter().any(|pull| Case::of(&failing, pull).is_some()) {
            return false;
        }
        if self.waiting.is_full() {
            tracing::warn!(max = MAX_WAITING, "too many pods can't pull their variant at once");
        }
        self.waiting.insert(failing.id.uid.clone(), failing);
        true
    }

    /// Looks at the containers of the pod that were put back.
    fn observe(&mut self, pod: &Pod) -> bool {
        let Some(uid) = &pod.metadata.uid else { return false };
        let Some(mut open) = self.restorations.remove(uid) else { return false };
        let mut is_observed = false;
        open.retain(|restoration| {
            let field = &restoration.failure.image.field;
            if image_of(pod, field.list, &field.name).as_ref() != Some(&restoration.written) {
                return true;
            }
            let outcome = restored(pod, field.list, &field.name, &restoration.failure);
            let Some(outcome) = outcome else { return true };
            self.observed.insert((uid.clone(), field.to_string()), (restoration.clone(), outcome));
            is_observed = true;
            false
        });
        if !open.is_empty() {
            self.restorations.insert(uid.clone(), open);
        }
        is_observed
    }
}
