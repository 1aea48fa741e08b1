//! The state machine of the loop guard.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::mem;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::watcher::Event;
use zstart_core::OwnerHold;
use zstart_core::keys;
use zstart_core::owner_hold::{HoldReason, Owner, hold_template, template_of};
use zstart_process::watch::WatchCache;

use super::NodeState;
use super::deletion::{Deletion, Replaces};
use super::owner_state::{LOOP_LENGTH, OwnerState};
use super::pod::{AnnotatedFields, OrdinaryCause, created, deployment_name, id, ordinary_cause, owner_id};
use super::verdict::{Lift, NewHold, Verdict};
use crate::demand::{Kind, Workload};

/// Maximum number of owners with evidence. The owner whose last evidence is the oldest is forgotten first.
pub(super) const MAX_OWNERS: usize = 10_000;
/// Time for which a change of a workload is remembered.
const CHANGE_MEMORY: SignedDuration = SignedDuration::from_hours(2);
/// Time for which a hold that wasn't created is remembered. Without a leader, verdicts get lost for seconds; the API
/// server can be away for minutes.
const UNWRITTEN_MEMORY: SignedDuration = SignedDuration::from_hours(1);
/// Number of remembered changes from which outdated ones are released.
const MAX_CHANGES: usize = 4_096;

/// An existing hold, reduced.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    namespace: String,
    name: String,
    uid: Option<String>,
    template: String,
    reason: HoldReason,
    created: Timestamp,
}

impl Held {
    /// Returns whether a new template of the owner's pods ends the hold.
    fn ends_with_template(&self) -> bool {
        // The template in the hold of a node is the node's runtime.
        !self.template.is_empty() && self.reason != HoldReason::ZstdNotUnpacked
    }
}

/// Pods of a list that isn't complete yet.
#[derive(Debug, Default)]
struct Listing {
    rewritten: HashMap<u64, usize>,
    terminating: HashSet<u64>,
}

/// Cause for which a pod left a watch of unfinished pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// The pod was deleted, or the cause is irrelevant.
    Deleted,
    /// The pod succeeded or failed, and still exists.
    Finished,
    /// Both are possible: an API server sends the same event.
    Unclear,
}

/// Learns from the events of the watches which owners undo the rewrite of their pods.
///
/// A loop is one of two:
/// - A chain of three replacements. A rewritten pod is deleted without an ordinary cause, its owner replaces the
///   pod at the same template, the replacement is rewritten and deleted again, and so on. The period is
///   irrelevant up to 12 hours.
/// - Two pods of an owner whose image was changed back from the variant to the original.
///
/// The evidence is in memory only. The holds survive a restart.
#[derive(Debug, Default)]
pub struct Guard {
    /// Live pods that run variants, with the number of variants.
    rewritten: HashMap<u64, usize>,
    /// Live pods whose deletion is known.
    terminating: HashSet<u64>,
    listing: Listing,
    owners: HashMap<u64, OwnerState>,
    holds: WatchCache<u64, Held>,
    /// Holds that are being lifted.
    lifting: HashSet<u64>,
    /// Holds that weren't created, and the times of their verdicts.
    unwritten: HashMap<u64, (Timestamp, NewHold)>,
    /// Nodes that exist and aren't cordoned.
    open_nodes: WatchCache<String, ()>,
    generations: BTreeMap<Kind, WatchCache<u64, i64>>,
    /// Times at which the specification of workloads changed.
    changes: HashMap<u64, Timestamp>,
}

impl Guard {
    /// Applies an event on pods at the time `now`.
    pub fn apply_pod(&mut self, event: &Event<Pod>, now: Timestamp) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        match event {
            Event::Init => self.listing = Listing::default(),
            Event::InitApply(pod) => self.list(pod, now, &mut verdicts),
            Event::InitDone => self.finish_listing(),
            Event::Apply(pod) => self.observe(pod, now, &mut verdicts),
            Event::Delete(pod) => self.remove(pod, now),
        }
        verdicts
    }

    /// Returns the cause for which a pod left the watch.
    ///
    /// An API server reports the end of a pod to a watch with a field selector as a deletion, with the pod's
    /// last state that matched (`staging/src/k8s.io/apiserver/pkg/storage/cacher/cache_watcher.go`,
    /// `convertToWatchEvent`).
    pub(super) fn removal(&self, pod: &Pod) -> Removal {
        let Some(uid) = pod.metadata.uid.as_ref().map(id) else { return Removal::Deleted };
        if !self.rewritten.contains_key(&uid) || self.terminating.contains(&uid) {
            Removal::Deleted
        } else if pod.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty()) {
            // A finalizer delays a deletion, so the request would have been an event of its own. Pods of Jobs
            // have one.
            Removal::Finished
        } else {
            Removal::Unclear
        }
    }

    /// Forgets a pod that finished. Its deletion by an owner or by the garbage collector is no evidence.
    pub(super) fn forget_finished(&mut self, pod: &Pod) {
        if let Some(uid) = pod.metadata.uid.as_ref().map(id) {
            self.rewritten.remove(&uid);
            self.terminating.remove(&uid);
        }
    }

    /// Applies an event on workloads of one kind. A changed generation means a changed scale, suspension or
    /// template.
    pub fn apply_workload<W: Workload>(&mut self, event: &Event<W>, now: Timestamp) {
        let reduced = map(event, |workload| {
            let key = (W::KIND, workload.namespace().unwrap_or_default(), workload.name_any());
            (id(key), workload.meta().generation)
        });
        let cache = self.generations.entry(W::KIND).or_default();
        // The first list shows no changes.
        let was_synced = cache.is_synced();
        let changed = cache.apply(reduced, |reduced| reduced);
        if !was_synced {
            return;
        }
        if self.changes.len() > MAX_CHANGES {
            self.changes.retain(|_, at| now.duration_since(*at) <= CHANGE_MEMORY);
        }
        self.changes.extend(changed.into_iter().map(|workload| (workload, now)));
    }

    /// Applies an event on nodes.
    pub fn apply_node(&mut self, event: &Event<NodeState>) {
        let reduced = map(event, |node| (node.name_any(), (!node.spec.unschedulable).then_some(())));
        self.open_nodes.apply(reduced, |reduced| reduced);
    }

    /// Applies an event on holds. Evidence older than the end of a hold doesn't count for the next one. Returns
    /// the namespaces of new holds that a new template ends. [`compare`](Self::compare) needs their pods: after a
    /// restart the pods can be listed before the holds.
    pub fn apply_hold(&mut self, event: Event<OwnerHold>) -> BTreeSet<String> {
        let changed = self.holds.apply(event, |hold| {
            let namespace = hold.namespace().unwrap_or_default();
            let held = Held {
                name: hold.name_any(),
                uid: hold.uid(),
                template: hold.spec.template,
                reason: hold.spec.reason,
                created: hold.metadata.creation_timestamp.map_or(Timestamp::MIN, |time| time.0),
                namespace,
            };
            (owner_id(&held.namespace, &hold.spec.owner), Some(held))
        });
        for owner in &changed {
            self.owners.remove(owner);
            self.lifting.remove(owner);
            self.unwritten.remove(owner);
        }
        namespaces(changed.iter().filter_map(|owner| self.holds.get(owner)))
    }

    /// Namespaces of the holds that a new template ends.
    pub(super) fn held_namespaces(&self) -> BTreeSet<String> {
        namespaces(self.holds.values())
    }

    /// Compares existing pods with the holds of their owners.
    pub fn compare(&mut self, pods: &[Pod]) -> Vec<Verdict> {
        pods.iter().filter_map(|pod| self.lift(pod)).collect()
    }

    /// Number of holds by reason, for every reason.
    pub fn holds(&self) -> [(HoldReason, usize); 3] {
        HoldReason::ALL
            .map(|reason| (reason, self.holds.values().filter(|held| held.reason == reason).count()))
    }

    /// Takes back a verdict that the API server refused, or that came while this replica didn't lead. A lift follows
    /// from the next look. The evidence for a hold is spent, so `unwritten` returns the hold.
    pub fn take_back(&mut self, verdict: Verdict, now: Timestamp) {
        match verdict {
            Verdict::Lift(lift) => {
                self.lifting.remove(&lift.owner);
            }
            Verdict::Hold(new) => {
                let owner = owner_id(&new.namespace, &new.owner);
                // The leader, which saw the same evidence, was faster.
                if !self.holds.contains_key(&owner) {
                    self.unwritten.entry(owner).or_insert((now, new));
                }
            }
        }
    }

    /// Holds that weren't created. Each stays until the watch reports a hold of its owner, or for an hour.
    pub(super) fn unwritten(&self) -> Vec<Verdict> {
        self.unwritten.values().map(|(_, new)| Verdict::Hold(new.clone())).collect()
    }

    /// Releases the memory of outdated evidence.
    pub fn sweep(&mut self, now: Timestamp) {
        let rewritten = &self.rewritten;
        self.owners.retain(|_, owner| owner.sweep(now, |pod| rewritten.contains_key(&pod)));
        self.changes.retain(|_, at| now.duration_since(*at) <= CHANGE_MEMORY);
        self.unwritten.retain(|_, (at, _)| now.duration_since(*at) <= UNWRITTEN_MEMORY);
    }

    /// Number of owners with evidence.
    #[cfg(test)]
    pub(super) fn tracked_owners(&self) -> usize {
        self.owners.len()
    }

    /// A pod of a list. The events before the list are lost, so a new pod or a deletion is no evidence. The
    /// image of a known pod can be compared.
    fn list(&mut self, pod: &Pod, now: Timestamp, verdicts: &mut Vec<Verdict>) {
        let Some(uid) = pod.metadata.uid.as_ref().map(id) else { return };
        verdicts.extend(self.lift(pod));
        let fields = AnnotatedFields::of(pod);
        verdicts.extend(self.changed_back(pod, uid, fields, now));
        if fields.variants > 0 {
            self.listing.rewritten.insert(uid, fields.variants);
        }
        if pod.metadata.deletion_timestamp.is_some() {
            self.listing.terminating.insert(uid);
        }
    }

    fn finish_listing(&mut self) {
        let Listing { rewritten, terminating } = mem::take(&mut self.listing);
        (self.rewritten, self.terminating) = (rewritten, terminating);
        for owner in self.owners.values_mut() {
            owner.resync(|pod| self.rewritten.contains_key(&pod));
        }
    }

    fn observe(&mut self, pod: &Pod, now: Timestamp, verdicts: &mut Vec<Verdict>) {
        let Some(uid) = pod.metadata.uid.as_ref().map(id) else { return };
        verdicts.extend(self.lift(pod));
        let fields = AnnotatedFields::of(pod);
        verdicts.extend(self.changed_back(pod, uid, fields, now));
        if fields.variants == 0 {
            self.rewritten.remove(&uid);
            return;
        }
        if self.rewritten.insert(uid, fields.variants).is_none() {
            verdicts.extend(self.replaced(pod, uid, now));
        }
        if pod.metadata.deletion_timestamp.is_some() && self.terminating.insert(uid) {
            self.deleted(pod, uid, now);
        }
    }

    fn remove(&mut self, pod: &Pod, now: Timestamp) {
        let Some(uid) = pod.metadata.uid.as_ref().map(id) else { return };
        let is_known = self.terminating.remove(&uid);
        if self.rewritten.contains_key(&uid) && !is_known {
            // An unscheduled pod and a forced deletion are removed at once.
            self.deleted(pod, uid, now);
        }
        self.rewritten.remove(&uid);
        let owner = identity(pod).and_then(|(_, key)| self.owners.get_mut(&key));
        if let Some(owner) = owner {
            owner.set_removed(uid, now);
        }
    }

    /// A rewritten pod is deleted.
    fn deleted(&mut self, pod: &Pod, uid: u64, now: Timestamp) {
        let Some((owner, key)) = identity(pod).filter(|(_, key)| !self.holds.contains_key(key)) else {
            return;
        };
        let cause = ordinary_cause(pod, now).or_else(|| self.node_cause(pod));
        tracing::debug!(pod = pod.name_any(), owner = owner.name, ?cause, "a rewritten pod is deleted");
        let deletion = Deletion {
            pod: uid,
            name: pod.name_any(),
            template: template_of(pod),
            chain: 0,
            is_suspicious: cause.is_none(),
            requested: now,
            removed: None,
        };
        self.state(key).add_deletion(deletion);
    }

    fn node_cause(&self, pod: &Pod) -> Option<OrdinaryCause> {
        let node = pod.spec.as_ref()?.node_name.as_ref()?;
        (!self.open_nodes.contains_key(node)).then_some(OrdinaryCause::Node)
    }

    /// A rewritten pod is new.
    fn replaced(&mut self, pod: &Pod, uid: u64, now: Timestamp) -> Option<Verdict> {
        let (owner, key) = identity(pod)?;
        let state = self.owners.get_mut(&key)?;
        let (name, template) = (pod.name_any(), template_of(pod));
        let deletion = state.take_replaced(&name, &template, Replaces::of(&owner), now)?;
        let changed = workload_of(pod, &owner).and_then(|workload| self.changes.get(&workload));
        if !deletion.is_suspicious || changed.is_some_and(|at| *at >= deletion.explained_since()) {
            return None;
        }
        let chain = deletion.chain + 1;
        if chain < LOOP_LENGTH {
            state.set_chain(uid, chain, now);
            return None;
        }
        self.owners.remove(&key);
        let pods = if deletion.name == name {
            format!("pod {name} was deleted and created again")
        } else {
            format!(
                "pod {} was deleted and replaced by {name}, the last of a chain of replacements,",
                deletion.name
            )
        };
        let evidence = format!("{pods} {chain} times at an unchanged template");
        Some(Verdict::Hold(NewHold::of(pod, owner, HoldReason::RecreatedAfterRewrite, &evidence, now)))
    }

    /// A running pod has fewer variants than before.
    fn changed_back(
        &mut self,
        pod: &Pod,
        uid: u64,
        fields: AnnotatedFields,
        now: Timestamp,
    ) -> Option<Verdict> {
        let before = *self.rewritten.get(&uid)?;
        if !fields.is_changed_back || fields.variants >= before {
            return None;
        }
        let (owner, key) = identity(pod).filter(|(_, key)| !self.holds.contains_key(key))?;
        if !self.state(key).add_patch(uid, now) {
            return None;
        }
        self.owners.remove(&key);
        let name = pod.name_any();
        let evidence =
            format!("the image of pod {name} was changed back to the original, for the second time");
        Some(Verdict::Hold(NewHold::of(pod, owner, HoldReason::ImagePatchedBack, &evidence, now)))
    }

    /// Lifts the hold of a pod's owner if the pod is newer than the hold and has another template.
    fn lift(&mut self, pod: &Pod) -> Option<Verdict> {
        if self.holds.is_empty() || pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let (_, owner) = identity(pod)?;
        let held = self.holds.get(&owner).filter(|held| held.ends_with_template())?;
        let template = hold_template(pod);
        let is_newer = created(pod).is_some_and(|created| created >= held.created);
        if !is_newer || template == held.template || !self.lifting.insert(owner) {
            return None;
        }
        let Held { namespace, name, uid, .. } = held.clone();
        Some(Verdict::Lift(Lift { namespace, name, uid, owner, template }))
    }

    /// Evidence against an owner.
    fn state(&mut self, key: u64) -> &mut OwnerState {
        if self.owners.len() >= MAX_OWNERS && !self.owners.contains_key(&key) {
            let oldest = self.owners.iter().min_by_key(|(_, owner)| owner.touched).map(|(key, _)| *key);
            oldest.map(|key| self.owners.remove(&key));
        }
        self.owners.entry(key).or_default()
    }
}

/// Namespaces of those holds that a new template ends.
fn namespaces<'a>(holds: impl Iterator<Item = &'a Held>) -> BTreeSet<String> {
    holds.filter(|held| held.ends_with_template()).map(|held| held.namespace.clone()).collect()
}

/// Owner of a pod, and its identity.
fn identity(pod: &Pod) -> Option<(Owner, u64)> {
    let owner = Owner::of(&pod.metadata)?;
    let key = owner_id(pod.metadata.namespace.as_deref()?, &owner);
    Some((owner, key))
}

/// Identity of the workload that sets the scale of a pod's owner, if its kind is watched.
fn workload_of(pod: &Pod, owner: &Owner) -> Option<u64> {
    let namespace = pod.namespace()?;
    let (kind, name) = match (owner.group(), &*owner.kind) {
        ("apps", "StatefulSet") => (Kind::StatefulSet, &*owner.name),
        ("apps", "DaemonSet") => (Kind::DaemonSet, &*owner.name),
        ("batch", "Job") => (Kind::Job, &*owner.name),
        ("apps", "ReplicaSet") => {
            let hash = pod.labels().get(keys::POD_TEMPLATE_HASH)?;
            (Kind::Deployment, deployment_name(&owner.name, hash)?)
        }
        _ => return None,
    };
    Some(id((kind, namespace, name.to_owned())))
}

/// The event with reduced objects.
fn map<T, U>(event: &Event<T>, reduce: impl Fn(&T) -> U) -> Event<U> {
    match event {
        Event::Apply(object) => Event::Apply(reduce(object)),
        Event::Delete(object) => Event::Delete(reduce(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(reduce(object)),
        Event::InitDone => Event::InitDone,
    }
}
