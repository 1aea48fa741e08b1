//! Pod that is explained: one of the cluster, or the pod of a manifest.

use std::path::Path;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;
use serde::Deserialize;
use serde_json::Value;
use zstart_core::eligibility::pod::controller;
use zstart_core::originals;

use crate::cluster::{Cluster, is_missing, request};
use crate::error::CliError;

/// Pod, as the webhook would see it at its creation.
pub(super) struct Subject {
    /// The pod. A pod of the cluster loses its node, which the scheduler chose after admission.
    pub(super) pod: Pod,
    pub(super) namespace: String,
    /// Kind and name, for people.
    pub(super) title: String,
    /// Originals of the images that were rewritten when the pod was created.
    pub(super) rewritten: Vec<(String, String)>,
    /// Node that the pod runs on.
    pub(super) node: Option<String>,
    /// `ReplicaSet` that a manifest's Deployment will make.
    pub(super) future_replica_set: Option<String>,
    pub(super) remark: Option<String>,
}

/// Object with a pod template.
#[derive(Deserialize)]
struct Workload {
    spec: WorkloadSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadSpec {
    template: Option<PodTemplateSpec>,
    job_template: Option<Box<Workload>>,
}

impl Subject {
    /// Reads a pod of the cluster.
    pub(super) async fn of_pod(cluster: &Cluster, name: &str) -> Result<Self, CliError> {
        let namespace = cluster.namespace.clone();
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), &namespace);
        let mut pod = match pods.get(name).await {
            Ok(pod) => pod,
            Err(error) if is_missing(&error) => {
                return Err(CliError::NoPod { name: name.to_owned(), namespace });
            }
            Err(error) => return Err(request(format!("read pod {namespace}/{name}"))(error).into()),
        };
        let rewritten = originals(&pod.metadata).unwrap_or_default().into_iter().collect();
        let node = pod.spec.as_mut().and_then(|spec| spec.node_name.take());
        let title = format!("pod {namespace}/{name}");
        Ok(Self { title, pod, namespace, rewritten, node, future_replica_set: None, remark: None })
    }

    /// Reads the pod of a manifest in YAML or JSON: a Pod, or an object with a pod template.
    pub(super) fn of_file(file: &Path, namespace: Option<&str>, default: &str) -> Result<Self, CliError> {
        let shown = file.display().to_string();
        let text = if shown == "-" {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(file)
        };
        let text = text.map_err(|source| CliError::ReadManifest { file: shown.clone(), source })?;
        let unusable = |problem: String| CliError::Manifest { file: shown.clone(), problem };
        let object: Value = serde_saphyr::from_str(&text).map_err(|error| unusable(error.to_string()))?;
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let metadata: ObjectMeta = serde_json::from_value(object["metadata"].clone())
            .map_err(|error| unusable(format!("its metadata can't be read: {error}")))?;
        let (pod, remark) = pod_of(&kind, object, &metadata).map_err(&unusable)?;
        let namespace = namespace.or(metadata.namespace.as_deref()).unwrap_or(default).to_owned();
        let name = metadata.name.or(metadata.generate_name).unwrap_or_default();
        let title = format!("{} {namespace}/{name} of {shown}", kind.to_ascii_lowercase());
        let future_replica_set = controller(&pod.metadata)
            .filter(|owner| owner.kind == "ReplicaSet" && owner.api_version == "apps/v1")
            .map(|owner| owner.name.clone());
        Ok(Self { pod, namespace, title, rewritten: Vec::new(), node: None, future_replica_set, remark })
    }
}

/// Returns the pod of a manifest. A pod of a template belongs to the controller that would make it.
fn pod_of(kind: &str, object: Value, metadata: &ObjectMeta) -> Result<(Pod, Option<String>), String> {
    let owner = match kind {
        "Pod" => {
            let pod: Pod = serde_json::from_value(object).map_err(|error| error.to_string())?;
            let remark = "the manifest is taken as created, not applied: `kubectl apply` marks a pod without a \
                          controller, and the webhook leaves it (AppliedBare)";
            return Ok((pod, Some(remark.to_owned())));
        }
        "Deployment" => ("ReplicaSet", "apps/v1"),
        "ReplicaSet" | "StatefulSet" | "DaemonSet" => (kind, "apps/v1"),
        "Job" | "CronJob" => ("Job", "batch/v1"),
        "ReplicationController" => (kind, "v1"),
        "" => return Err("the manifest has no kind".to_owned()),
        other => {
            return Err(format!(
                "kind {other} has no pods; name a Pod, Deployment, StatefulSet, DaemonSet, Job or CronJob"
            ));
        }
    };
    let workload: Workload = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let template = workload.spec.template.or_else(|| workload.spec.job_template?.spec.template);
    let PodTemplateSpec { metadata: pod_metadata, spec } =
        template.ok_or_else(|| "the manifest has no pod template".to_owned())?;
    let reference = OwnerReference {
        kind: owner.0.to_owned(),
        api_version: owner.1.to_owned(),
        name: metadata.name.clone().unwrap_or_default(),
        controller: Some(true),
        ..OwnerReference::default()
    };
    let metadata = ObjectMeta { owner_references: Some(vec![reference]), ..pod_metadata.unwrap_or_default() };
    let is_rollout = owner.1 == "apps/v1";
    let remark = "the decision is about the later pods of a rollout; its first pods keep their images until the controller \
                  has looked at the tags again (NotFresh)";
    Ok((Pod { metadata, spec, status: None }, is_rollout.then(|| remark.to_owned())))
}
