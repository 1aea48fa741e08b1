//! A simulated cluster: pods, nodes and workloads at simulated times.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use zstart_core::OwnerHold;
use zstart_core::owner_hold::{HoldReason, OwnerHoldSpec, hold_name};

use super::*;
use crate::watched::WatchedWorkload;

mod holds;
mod loops;
mod ordinary;

type Deployment = WatchedWorkload<apps::v1::Deployment>;
type StatefulSet = WatchedWorkload<apps::v1::StatefulSet>;

const ORIGINAL: &str = "r.example/app:v1";
const VARIANT: &str = "r.example/app:v1-zstd-1a2b3c4d5e6f";

/// Owner of simulated pods: kind, name, UID and label with the revision.
#[derive(Clone)]
struct Controller {
    reference: Value,
    labels: Value,
}

fn controller(api_version: &str, kind: &str, name: &str, labels: Value) -> Controller {
    let uid = format!("{kind}/{name}");
    let reference =
        json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true});
    Controller { reference, labels }
}

fn stateful_set(revision: &str) -> Controller {
    controller("apps/v1", "StatefulSet", "db", json!({"controller-revision-hash": revision}))
}

fn daemon_set() -> Controller {
    controller("apps/v1", "DaemonSet", "agent", json!({"controller-revision-hash": "a"}))
}

/// A `ReplicaSet` of the Deployment `web`.
fn replica_set(hash: &str) -> Controller {
    controller("apps/v1", "ReplicaSet", &format!("web-{hash}"), json!({"pod-template-hash": hash}))
}

fn job() -> Controller {
    controller("batch/v1", "Job", "work", json!({"job-name": "work"}))
}

fn bare() -> Controller {
    Controller { reference: Value::Null, labels: json!({}) }
}

struct Simulation {
    guard: Guard,
    now: Timestamp,
    uids: u32,
    verdicts: Vec<Verdict>,
    /// The webhook rewrites new pods.
    rewrites: bool,
}

impl Simulation {
    fn start() -> Self {
        let mut simulation = Self {
            guard: Guard::default(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            uids: 0,
            verdicts: Vec::new(),
            rewrites: true,
        };
        simulation.guard.apply_node(&Event::Init);
        simulation.guard.apply_node(&Event::InitDone);
        simulation.node("one", false);
        simulation.guard.apply_workload::<StatefulSet>(&Event::InitDone, simulation.now);
        simulation.guard.apply_workload::<Deployment>(&Event::InitDone, simulation.now);
        simulation.scale(1);
        // The workloads exist for some time.
        simulation.advance(3600);
        simulation
    }

    fn advance(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn node(&mut self, name: &str, unschedulable: bool) {
        let node = json!({"metadata": {"name": name}, "spec": {"unschedulable": unschedulable}});
        self.guard.apply_node(&Event::Apply(serde_json::from_value(node).unwrap()));
    }

    fn node_is_gone(&mut self, name: &str) {
        let node = json!({"metadata": {"name": name}});
        self.guard.apply_node(&Event::Delete(serde_json::from_value(node).unwrap()));
    }

    /// Changes the specifications of the `StatefulSet` `db` and the Deployment `web`.
    fn scale(&mut self, generation: i64) {
        let object =
            |name: &str| json!({"metadata": {"name": name, "namespace": "shop", "generation": generation}});
        let stateful_set: StatefulSet = serde_json::from_value(object("db")).unwrap();
        let deployment: Deployment = serde_json::from_value(object("web")).unwrap();
        self.guard.apply_workload(&Event::Apply(stateful_set), self.now);
        self.guard.apply_workload(&Event::Apply(deployment), self.now);
    }

    fn apply(&mut self, pod: &Value) {
        let event = Event::Apply(serde_json::from_value::<Pod>(pod.clone()).unwrap());
        let verdicts = self.guard.apply_pod(&event, self.now);
        self.verdicts.extend(verdicts);
    }

    /// Creates a pod, which the webhook rewrites.
    fn create(&mut self, name: &str, controller: &Controller) -> Value {
        self.uids += 1;
        let mut metadata = json!({
            "name": name, "namespace": "shop", "uid": format!("pod-{}", self.uids),
            "labels": controller.labels, "creationTimestamp": self.now.to_string(),
        });
        if !controller.reference.is_null() {
            metadata["ownerReferences"] = json!([controller.reference]);
        }
        if self.rewrites {
            metadata["annotations"] =
                json!({"zstart.dev/originals": json!({"containers/app": ORIGINAL}).to_string()});
        }
        let image = if self.rewrites { VARIANT } else { ORIGINAL };
        let spec = json!({"nodeName": "one", "containers": [{"name": "app", "image": image}]});
        let pod = json!({"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}});
        self.apply(&pod);
        pod
    }

    /// Creates a pod that becomes Ready after two seconds.
    fn start_pod(&mut self, name: &str, controller: &Controller) -> Value {
        let mut pod = self.create(name, controller);
        self.advance(2);
        pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        self.apply(&pod);
        pod
    }

    /// Requests a deletion.
    fn request_deletion(&mut self, pod: &mut Value) {
        pod["metadata"]["deletionTimestamp"] = json!((self.now + SignedDuration::from_secs(30)).to_string());
        self.apply(pod);
    }

    /// Removes the object, the containers of which have ended.
    fn remove(&mut self, pod: &Value) {
        let event = Event::Delete(serde_json::from_value::<Pod>(pod.clone()).unwrap());
        let verdicts = self.guard.apply_pod(&event, self.now);
        self.verdicts.extend(verdicts);
    }

    /// Deletes a pod, the containers of which end after a second.
    fn delete(&mut self, pod: &mut Value) {
        self.request_deletion(pod);
        self.advance(1);
        self.remove(pod);
    }

    /// Changes the image back to the original.
    fn change_back(&mut self, pod: &mut Value) {
        pod["spec"]["containers"][0]["image"] = json!(ORIGINAL);
        self.apply(pod);
    }

    /// The controller creates the hold of the last verdict, and the watch reports it.
    fn create_hold(&mut self) -> OwnerHold {
        let Some(Verdict::Hold(new)) = self.verdicts.pop() else {
            unreachable!("no hold: {:?}", self.verdicts)
        };
        let NewHold { namespace, owner, template, reason, message, .. } = new;
        let mut hold = OwnerHold::new(&hold_name(&owner), OwnerHoldSpec { owner, template, reason, message });
        hold.metadata.namespace = Some(namespace);
        hold.metadata.uid = Some("hold".to_owned());
        hold.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now));
        self.guard.apply_hold(Event::Apply(hold.clone()));
        hold
    }

    /// Reasons of the verdicts so far.
    fn reasons(&self) -> Vec<HoldReason> {
        let reason = |verdict: &Verdict| match verdict {
            Verdict::Hold(hold) => Some(hold.reason),
            Verdict::Lift(_) => None,
        };
        self.verdicts.iter().filter_map(reason).collect()
    }

    fn assert_no_hold(&self) {
        assert_eq!(self.verdicts, [], "an ordinary cause");
    }
}

/// Number of rounds of every ordinary cause: more than enough for a loop.
const ROUNDS: usize = 8;

/// Deletes a pod of `controller` again and again, every `period` seconds, until a verdict. The controller
/// replaces the pod under the name that `name` gives. Returns the number of deletions.
fn loop_until_verdict(
    simulation: &mut Simulation,
    controller: &Controller,
    period: i64,
    name: impl Fn(usize) -> String,
) -> usize {
    let mut pod = simulation.start_pod(&name(0), controller);
    for round in 1..=ROUNDS {
        simulation.advance(period);
        simulation.delete(&mut pod);
        pod = simulation.start_pod(&name(round), controller);
        if !simulation.verdicts.is_empty() {
            return round;
        }
    }
    unreachable!("{ROUNDS} rounds are no loop")
}

/// Pods by name.
type Pods = BTreeMap<String, Value>;
