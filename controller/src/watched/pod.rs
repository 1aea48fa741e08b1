//! Pods.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    Pod, PodCondition, PodStatus,
};
use kube::Resource;
use kube::core::ObjectMeta;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::metadata;
use super::pod_spec::SpecMembers;

/// Field selector of pods that still run or will run. A pod that finishes leaves the watch by a deletion event.
pub const UNFINISHED_PODS: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Pod, reduced.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Pod)]
pub struct WatchedPod {
    #[serde(deserialize_with = "metadata::deserialize")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SpecMembers,
    #[serde(default)]
    status: StatusMembers,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusMembers {
    phase: Option<String>,
    reason: Option<String>,
    conditions: Option<Vec<ConditionMembers>>,
    init_container_statuses: Option<Vec<ContainerStatusMembers>>,
    container_statuses: Option<Vec<ContainerStatusMembers>>,
    ephemeral_container_statuses: Option<Vec<ContainerStatusMembers>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ConditionMembers {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatusMembers {
    name: String,
    image: String,
    #[serde(rename = "imageID")]
    image_id: String,
    ready: bool,
    restart_count: i32,
    state: StateMembers,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct StateMembers {
    waiting: Option<WaitingMembers>,
    running: Option<IgnoredAny>,
    terminated: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WaitingMembers {
    reason: Option<String>,
    message: Option<String>,
}

impl From<WatchedPod> for Pod {
    fn from(pod: WatchedPod) -> Self {
        Self { metadata: pod.metadata, spec: Some(pod.spec.into()), status: Some(pod.status.into()) }
    }
}

impl From<StatusMembers> for PodStatus {
    fn from(members: StatusMembers) -> Self {
        let condition = |ConditionMembers { type_, status, reason }| PodCondition {
            type_,
            status,
            reason,
            ..PodCondition::default()
        };
        let containers = |statuses: Option<Vec<ContainerStatusMembers>>| {
            statuses.map(|statuses| statuses.into_iter().map(ContainerStatus::from).collect())
        };
        Self {
            phase: members.phase,
            reason: members.reason,
            conditions: members.conditions.map(|conditions| conditions.into_iter().map(condition).collect()),
            init_container_statuses: containers(members.init_container_statuses),
            container_statuses: containers(members.container_statuses),
            ephemeral_container_statuses: containers(members.ephemeral_container_statuses),
            ..Self::default()
        }
    }
}

impl From<ContainerStatusMembers> for ContainerStatus {
    fn from(members: ContainerStatusMembers) -> Self {
        let StateMembers { waiting, running, terminated } = members.state;
        let state = ContainerState {
            waiting: waiting
                .map(|WaitingMembers { reason, message }| ContainerStateWaiting { reason, message }),
            running: running.map(|_| ContainerStateRunning::default()),
            terminated: terminated.map(|_| ContainerStateTerminated::default()),
        };
        Self {
            name: members.name,
            image: members.image,
            image_id: members.image_id,
            ready: members.ready,
            restart_count: members.restart_count,
            state: Some(state),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use zstart_core::owner_hold::template_of;
    use zstart_core::pod_images::images;

    use super::*;

    fn pod() -> Value {
        let env = json!([{"name": "A", "value": "b"},
            {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "1"},
            "spec": {
                "nodeName": "one", "schedulerName": "default-scheduler", "serviceAccountName": "builder",
                "imagePullSecrets": [{"name": "pull"}], "hostNetwork": true, "priority": 7,
                "initContainers": [{"name": "init", "image": "a/init:v1", "restartPolicy": "Always"}],
                "containers": [{"name": "app", "image": "a/app:v1", "imagePullPolicy": "Always",
                    "command": ["/app"], "args": ["--all"], "env": env, "resources": {"limits": {"cpu": "1"}}}],
                "ephemeralContainers": [{"name": "debug", "image": "a/debug:v1"}],
                "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "data", "image": {"reference": "a/data:v1"}}],
            },
            "status": {
                "phase": "Running", "podIP": "10.0.0.1", "reason": "x",
                "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
                "containerStatuses": [
                    {"name": "app", "image": "a/app:v1", "imageID": "sha256:1", "ready": false, "restartCount": 2,
                        "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}},
                    {"name": "b", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}},
                ],
            },
        })
    }

    #[test]
    fn rules_see_the_same_pod_after_the_reduction() {
        let full: Pod = serde_json::from_value(pod()).unwrap();
        let watched: WatchedPod = serde_json::from_str(&pod().to_string()).unwrap();
        let reduced = Pod::from(watched);
        let spec = |pod: &Pod| pod.spec.clone().unwrap();
        assert_eq!(images(&spec(&reduced)), images(&spec(&full)));
        assert_eq!(images(&spec(&full)).len(), 4);
        assert!(
            template_of(&full).starts_with("spec-hash="),
            "the hash needs command, arguments and variables"
        );
        assert_eq!(template_of(&reduced), template_of(&full));
        for read in [
            |spec: &PodSpecOf| spec.node_name.clone(),
            |spec: &PodSpecOf| spec.scheduler_name.clone(),
            |spec: &PodSpecOf| spec.service_account_name.clone(),
            |spec: &PodSpecOf| spec.init_containers.as_ref()?[0].restart_policy.clone(),
            |spec: &PodSpecOf| Some(spec.image_pull_secrets.as_ref()?[0].name.clone()),
        ] {
            let expected = read(&spec(&full));
            assert!(expected.is_some() && read(&spec(&reduced)) == expected, "{expected:?}");
        }
        assert_eq!((spec(&reduced).host_network, spec(&reduced).priority), (None, None));
    }

    type PodSpecOf = k8s_openapi::api::core::v1::PodSpec;

    #[test]
    fn state_of_containers_is_kept() {
        let watched: WatchedPod = serde_json::from_value(pod()).unwrap();
        let status = Pod::from(watched).status.unwrap();
        assert_eq!(
            (status.phase.as_deref(), status.reason.as_deref(), status.pod_ip),
            (Some("Running"), Some("x"), None)
        );
        let condition = &status.conditions.unwrap()[0];
        assert_eq!((&*condition.type_, &*condition.status), ("Ready", "False"));
        let [app, b] = &status.container_statuses.unwrap()[..] else { unreachable!() };
        assert_eq!((&*app.name, &*app.image_id, app.ready, app.restart_count), ("app", "sha256:1", false, 2));
        let waiting = app.state.as_ref().unwrap().waiting.as_ref().unwrap();
        assert_eq!(
            (waiting.reason.as_deref(), waiting.message.as_deref()),
            (Some("ErrImagePull"), Some("not found"))
        );
        let state = b.state.as_ref().unwrap();
        assert!(b.ready && state.running.is_some() && state.waiting.is_none() && state.terminated.is_none());
    }
}
