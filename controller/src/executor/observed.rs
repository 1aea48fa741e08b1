//! The conversions' Jobs and pods, as one watch each describes them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kube::runtime::watcher::Event;
use kube::{Resource as _, ResourceExt as _};
use tokio::sync::watch;
use zstart_core::sync::lock;
use zstart_core::{ImageConversion, keys};
use zstart_process::watch::WatchCache;

use super::job_spec::login_secret;

/// Job, reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobView {
    pub(super) name: String,
    pub(super) uid: String,
    /// Record that the Job was made for.
    pub(super) record: Option<String>,
    /// Start of the source's digest ([`zstart_core::Digest::short`]).
    pub(super) digest: String,
    /// Kueue's queue that starts the Job.
    pub(super) queue: Option<String>,
    /// Secret with the Job's login.
    pub(super) secret: Option<String>,
    /// The Job has the label of zstart's conversions.
    pub(super) is_own: bool,
    pub(super) is_suspended: bool,
    pub(super) is_deleted: bool,
    pub(super) end: Option<JobEnd>,
}

/// End of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobEnd {
    pub(super) is_complete: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

/// Pod of a Job, reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodView {
    pub(super) name: String,
    /// UID of the Job.
    pub(super) job: String,
    pub(super) created: Option<Timestamp>,
    /// Reason and message of the pod's phase.
    pub(super) reason: String,
    pub(super) message: String,
    /// Message of the scheduler, as long as no node suits.
    pub(super) unscheduled: Option<String>,
    /// Reason and message of a container that waits.
    pub(super) waiting: Option<(String, String)>,
    pub(super) terminated: Option<Terminated>,
}

/// A container that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terminated {
    pub(super) code: i32,
    pub(super) reason: String,
    /// Termination message.
    pub(super) message: String,
}

impl JobView {
    pub(super) fn of(job: &Job) -> Self {
        let labels = job.labels();
        let spec = job.spec.as_ref();
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let is_end = |condition: &&JobCondition| {
            condition.status == "True" && ["Complete", "Failed"].contains(&&*condition.type_)
        };
        let owners = job.owner_references();
        let record = owners.iter().find(|owner| owner.kind == ImageConversion::kind(&()));
        Self {
            name: job.name_any(),
            uid: job.uid().unwrap_or_default(),
            record: record.map(|record| record.name.clone()),
            digest: labels.get(keys::CONVERSION).cloned().unwrap_or_default(),
            queue: labels.get(keys::KUEUE_QUEUE).cloned(),
            secret: spec.and_then(|spec| login_secret(&spec.template)).map(ToOwned::to_owned),
            is_own: labels.contains_key(keys::CONVERSION),
            is_suspended: spec.and_then(|spec| spec.suspend).unwrap_or_default(),
            is_deleted: job.metadata.deletion_timestamp.is_some(),
            end: conditions.into_iter().find(is_end).map(|condition| JobEnd {
                is_complete: condition.type_ == "Complete",
                reason: condition.reason.clone().unwrap_or_default(),
                message: condition.message.clone().unwrap_or_default(),
            }),
        }
    }
}

impl PodView {
    pub(super) fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let is_unscheduled =
            |condition: &&PodCondition| condition.type_ == "PodScheduled" && condition.status == "False";
        let unscheduled = status.conditions.iter().flatten().find(is_unscheduled);
        let unscheduled = unscheduled.map(|condition| condition.message.clone().unwrap_or_default());
        let owners = pod.owner_references();
        let job = owners.iter().find(|owner| owner.kind == "Job").map(|owner| owner.uid.clone());
        let state =
            status.container_statuses.unwrap_or_default().into_iter().next().and_then(|one| one.state);
        let (waiting, terminated) = state.map_or((None, None), |state| (state.waiting, state.terminated));
        Self {
            name: pod.name_any(),
            job: job.unwrap_or_default(),
            created: pod.creation_timestamp().map(|time| time.0),
            reason: status.reason.unwrap_or_default(),
            message: status.message.unwrap_or_default(),
            unscheduled,
            waiting: waiting
                .map(|waiting| (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())),
            terminated: terminated.map(|terminated| Terminated {
                code: terminated.exit_code,
                reason: terminated.reason.unwrap_or_default(),
                message: terminated.message.unwrap_or_default(),
            }),
        }
    }
}

/// Jobs and pods that exist, shared between the watches that fill it and the conversions that wait.
#[derive(Clone)]
pub(super) struct Observed {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    jobs: WatchCache<String, JobView>,
    pods: WatchCache<String, PodView>,
    /// Names of Jobs whose end a conversion awaits.
    claimed: HashSet<String>,
    /// Since when Jobs are left without a claim.
    unclaimed: HashMap<String, Instant>,
}

/// Mark of a Job whose end a conversion awaits.
pub(super) struct Claim {
    observed: Observed,
    name: String,
}

impl Default for Observed {
    fn default() -> Self {
        Self { state: Arc::default(), changes: watch::Sender::new(0) }
    }
}

impl Observed {
    pub(super) fn apply_job(&self, event: Event<Job>) {
        let reduce = |job: Job| (job.name_any(), Some(JobView::of(&job)));
        lock(&self.state).jobs.apply(event, reduce);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn apply_pod(&self, event: Event<Pod>) {
        let reduce = |pod: Pod| (pod.name_any(), Some(PodView::of(&pod)));
        lock(&self.state).pods.apply(event, reduce);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Notices of changes, of any Job.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The Job of this name and UID, with its pods.
    pub(super) fn get(&self, name: &str, uid: &str) -> Option<(JobView, Vec<PodView>)> {
        let state = lock(&self.state);
        let job = state.jobs.get(name).filter(|job| job.uid == uid)?.clone();
        let pods = state.pods.values().filter(|pod| pod.job == uid).cloned().collect();
        Some((job, pods))
    }

    /// Marks a Job as awaited.
    pub(super) fn claim(&self, name: &str) -> Claim {
        lock(&self.state).claimed.insert(name.to_owned());
        Claim { observed: self.clone(), name: name.to_owned() }
    }

    /// Jobs that wait or are complete, and that no conversion claims, with the time since that was first seen. The
    /// leader that made them ended, and nothing asks for them any more, or the next leader found the variant in the
    /// registry. Jobs that run end by themselves, and Jobs that failed stay for their logs.
    pub(super) fn unclaimed(&self, now: Instant) -> Vec<(JobView, Duration)> {
        let mut state = lock(&self.state);
        let State { jobs, claimed, unclaimed, .. } = &mut *state;
        let is_left = |job: &JobView| match &job.end {
            None => job.is_suspended && !job.is_deleted,
            Some(end) => end.is_complete && !job.is_deleted,
        };
        let left: HashMap<&String, &JobView> =
            jobs.iter().filter(|(name, job)| is_left(job) && !claimed.contains(*name)).collect();
        unclaimed.retain(|name, _| left.contains_key(name));
        let since = |(name, job): (&String, &JobView)| {
            let first = *unclaimed.entry(name.clone()).or_insert(now);
            (job.clone(), now.duration_since(first))
        };
        left.into_iter().map(since).collect()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.observed.state).claimed.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn job(name: &str, suspend: bool) -> Job {
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "labels": {keys::CONVERSION: "0"}},
            "spec": {"suspend": suspend, "template": {}},
        }))
        .unwrap()
    }

    #[test]
    fn waiting_or_complete_job_without_a_claim_is_unclaimed() {
        let observed = Observed::default();
        for (name, suspend) in [("claimed", true), ("running", false), ("left", true)] {
            observed.apply_job(Event::Apply(job(name, suspend)));
        }
        for (name, condition) in [("complete", "Complete"), ("failed", "Failed")] {
            let mut ended = job(name, false);
            let status = json!({"conditions": [{"type": condition, "status": "True"}]});
            ended.status = Some(serde_json::from_value(status).unwrap());
            observed.apply_job(Event::Apply(ended));
        }
        let claim = observed.claim("claimed");
        let start = Instant::now();
        let seconds = |after: u64| {
            let unclaimed = observed.unclaimed(start + Duration::from_secs(after));
            let seconds = unclaimed.into_iter().map(|(job, since)| (job.name, since.as_secs()));
            seconds.collect::<BTreeMap<_, _>>()
        };
        let times = |times: &[(&str, u64)]| -> BTreeMap<String, u64> {
            times.iter().map(|(name, since)| ((*name).to_owned(), *since)).collect()
        };
        assert_eq!(seconds(0), times(&[("complete", 0), ("left", 0)]));
        assert_eq!(seconds(5), times(&[("complete", 5), ("left", 5)]));
        drop(claim);
        assert_eq!(seconds(9), times(&[("complete", 9), ("left", 9), ("claimed", 0)]));
        let _claim = observed.claim("left");
        assert_eq!(seconds(10), times(&[("complete", 10), ("claimed", 1)]));
    }

    #[test]
    fn job_of_another_uid_is_not_returned() {
        let observed = Observed::default();
        let changes = observed.changes();
        observed.apply_job(Event::Apply(job("one", true)));
        assert!(changes.has_changed().unwrap());
        assert!(observed.get("one", "one").is_some_and(|(job, _)| job.is_own && job.is_suspended));
        assert!(observed.get("one", "former").is_none());
    }
}
