//! Evidence against one owner.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::deletion::{Deletion, Replaces};

/// Replacements in a chain that are a loop: a pod was replaced, its replacement was replaced, and so on. One
/// `kubectl delete pods --all` replaces many pods and gives chains of one.
pub(super) const LOOP_LENGTH: u8 = 3;
/// Images changed back that are a loop. One can be an administrator's.
const PATCHES: usize = 2;
/// Time for which an image that was changed back is remembered.
const PATCH_MEMORY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Time within which several images of one pod count once.
const ONE_PATCH: SignedDuration = SignedDuration::from_mins(1);
/// Maximum number of deletions and of chains for each owner. More give no better evidence.
const MAX_PODS: usize = 256;

/// An image that was changed back.
#[derive(Debug)]
struct Patch {
    pod: u64,
    at: Timestamp,
}

/// Evidence against an owner.
#[derive(Debug, Default)]
pub(super) struct OwnerState {
    deletions: Vec<Deletion>,
    /// Lengths of chains, by the live pod that ends the chain.
    chains: HashMap<u64, u8>,
    patches: Vec<Patch>,
    /// Time of the last evidence.
    pub(super) touched: Timestamp,
}

impl OwnerState {
    /// Adds a deletion. `chain` of the deletion is set here.
    pub(super) fn add_deletion(&mut self, mut deletion: Deletion) {
        self.touched = deletion.requested;
        deletion.chain = self.chains.remove(&deletion.pod).unwrap_or_default();
        if self.deletions.len() >= MAX_PODS {
            self.deletions.remove(0);
        }
        self.deletions.push(deletion);
    }

    /// Notes that a terminating pod is gone.
    pub(super) fn set_removed(&mut self, pod: u64, now: Timestamp) {
        if let Some(deletion) = self.deletions.iter_mut().find(|deletion| deletion.pod == pod) {
            deletion.removed = Some(now);
        }
    }

    /// Takes the deletion that a new pod follows. The latest one is the likeliest: a controller replaces a pod
    /// at once.
    pub(super) fn take_replaced(
        &mut self,
        name: &str,
        template: &str,
        replaces: Replaces,
        now: Timestamp,
    ) -> Option<Deletion> {
        self.deletions.retain(|deletion| deletion.is_open(now));
        let position = self
            .deletions
            .iter()
            .rposition(|deletion| deletion.is_replaced_by(name, template, replaces, now))?;
        Some(self.deletions.remove(position))
    }

    /// Sets the length of the chain that ends with a live pod.
    pub(super) fn set_chain(&mut self, pod: u64, length: u8, now: Timestamp) {
        self.touched = now;
        if self.chains.len() < MAX_PODS {
            self.chains.insert(pod, length);
        }
    }

    /// Adds an image that was changed back. Returns whether that is a loop.
    pub(super) fn add_patch(&mut self, pod: u64, now: Timestamp) -> bool {
        self.touched = now;
        self.patches.retain(|patch| now.duration_since(patch.at) <= PATCH_MEMORY);
        let is_known = |patch: &Patch| patch.pod == pod && now.duration_since(patch.at) <= ONE_PATCH;
        if !self.patches.iter().any(is_known) {
            self.patches.push(Patch { pod, at: now });
        }
        self.patches.len() >= PATCHES
    }

    /// Forgets the pods of a watch that was interrupted. `is_live` tells the pods that still exist.
    pub(super) fn resync(&mut self, is_live: impl Fn(u64) -> bool) {
        self.deletions.clear();
        self.chains.retain(|pod, _| is_live(*pod));
    }

    /// Releases outdated evidence. Returns whether any is left.
    pub(super) fn sweep(&mut self, now: Timestamp, is_live: impl Fn(u64) -> bool) -> bool {
        self.deletions.retain(|deletion| deletion.is_open(now));
        self.chains.retain(|pod, _| is_live(*pod));
        self.patches.retain(|patch| now.duration_since(patch.at) <= PATCH_MEMORY);
        !(self.deletions.is_empty() && self.chains.is_empty() && self.patches.is_empty())
    }
}
