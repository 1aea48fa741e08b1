//! Healer: a pod that can't pull its variant gets its original back.
//!
//! [`Healer`] observes the watch of pods. `keep` carries out the cures, at most 20 a second:
//!
//! 1. The record of the image becomes unhealthy, or the node is put on hold, so that no later pod has the same fate.
//! 2. A container's image becomes the original that the pod's annotation names. A pod whose image volume fails is
//!    evicted if a controller replaces it.
//! 3. The start of the original is observed: it tells whether the variant was at fault.
//!
//! [`decide`] has the rules, `zstart_core::pull_failure` the meaning of the kubelet's texts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use zstart_core::sync::lock;

use self::cure::Ward;
use self::patients::{Patients, Restoration, Work};
use crate::context::Context;

mod blame;
mod cure;
mod decide;
pub(crate) mod health;
mod memory;
mod node_images;
mod patch;
mod patients;
mod pod;
#[cfg(test)]
mod tests;

pub(crate) use blame::recover;
pub(crate) use memory::BoundedMap;

/// Time between two cures. The API server isn't flooded when a whole cluster fails.
const SPACING: Duration = Duration::from_millis(50);

/// Observer of pods, and the queue of those that need a cure. Clones share the queue.
#[derive(Clone, Debug, Default)]
pub struct Healer {
    patients: Arc<Mutex<Patients>>,
    arrivals: Arc<Notify>,
}

impl Healer {
    /// Applies an event on pods.
    pub fn observe_pods(&self, event: &Event<Pod>) {
        if lock(&self.patients).apply(event) {
            self.arrivals.notify_one();
        }
    }

    /// Remembers a container that was put back.
    fn restored(&self, restoration: Restoration) {
        lock(&self.patients).restored(restoration);
    }

    /// Waits for the next work.
    async fn next(&self) -> Work {
        loop {
            let work = lock(&self.patients).next();
            if let Some(work) = work {
                return work;
            }
            self.arrivals.notified().await;
        }
    }
}

/// Carries out the cures forever. `namespace` is zstart's own, which has the holds of nodes.
pub(crate) async fn keep(context: Arc<Context>, healer: Healer, namespace: String) {
    let mut turns = tokio::time::interval(SPACING);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ward = Ward::new(&context, &healer, &namespace);
    loop {
        let work = healer.next().await;
        turns.tick().await;
        match work {
            Work::Cure(pod) => ward.cure(&pod).await,
            Work::Observe(restoration, outcome) => ward.observe(&restoration, &outcome).await,
        }
    }
}
