//! The objects of a conversion: a Job, and a Secret with its login. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, KeyToPath, PodTemplateSpec, Secret, SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use zstart_core::{ImageConversion, keys};

use super::observed::JobView;
use super::settings::{CONTAINER, JobSettings};
use super::work::{VARIABLE, Work};

/// Argument that makes the controller's program convert one image.
pub(crate) const COMMAND: &str = "convert-one";
/// Volume with the login.
const LOGIN_VOLUME: &str = "login";
/// Folder of the login in the container.
const LOGIN_FOLDER: &str = "/var/run/zstart/login";
/// File of the login below its folder, and key in the Secret.
const LOGIN_FILE: &str = "config.json";
/// File whose content becomes the container's termination message.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Inputs of a Job.
#[derive(Clone, Copy)]
pub(super) struct JobInputs<'a> {
    pub(super) settings: &'a JobSettings,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// Name of the Secret with the login.
    pub(super) secret: &'a str,
    pub(super) record: &'a ImageConversion,
    pub(super) work: &'a Work,
    /// Deadline of the Job, from its start.
    pub(super) deadline: Duration,
}

/// The Job, suspended.
pub(super) fn job(inputs: JobInputs<'_>) -> Result<Job, serde_json::Error> {
    let JobInputs { settings, namespace, name, secret, record, work, deadline } = inputs;
    let mut labels =
        settings.template.metadata.clone().and_then(|metadata| metadata.labels).unwrap_or_default();
    labels.insert(keys::CONVERSION.to_owned(), work.digest.short().to_owned());
    let mut template = template(settings.template.clone(), secret, &serde_json::to_string(work)?);
    template.metadata.get_or_insert_default().labels = Some(labels.clone());
    if let Some(queue) = &settings.queue {
        labels.insert(keys::KUEUE_QUEUE.to_owned(), queue.clone());
    }
    let whole_seconds = |duration: Duration| i64::try_from(duration.as_secs().max(1)).unwrap_or(i64::MAX);
    let spec = JobSpec {
        // The controller, or Kueue, starts the Job when its login exists.
        suspend: Some(true),
        parallelism: Some(1),
        completions: Some(1),
        // The controller tries again, with a backoff of its own.
        backoff_limit: Some(0),
        active_deadline_seconds: Some(whole_seconds(deadline)),
        ttl_seconds_after_finished: Some(i32::try_from(settings.ttl.as_secs()).unwrap_or(i32::MAX)),
        // A drained node or a preempting pod is no failure of the conversion.
        pod_failure_policy: Some(PodFailurePolicy {
            rules: vec![PodFailurePolicyRule {
                action: "Ignore".to_owned(),
                on_exit_codes: None,
                on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                    type_: "DisruptionTarget".to_owned(),
                    status: Some("True".to_owned()),
                }]),
            }],
        }),
        template,
        ..JobSpec::default()
    };
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([(keys::SOURCE.to_owned(), work.source.to_string())])),
            // Garbage collection deletes the Job of a record that is gone, also while no controller runs.
            owner_references: record.owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

/// The pod template with everything that a conversion needs.
fn template(mut template: PodTemplateSpec, secret: &str, work: &str) -> PodTemplateSpec {
    let pod = template.spec.get_or_insert_default();
    pod.restart_policy = Some("Never".to_owned());
    // The conversion talks to registries alone.
    pod.automount_service_account_token = Some(false);
    pod.volumes.get_or_insert_default().push(Volume {
        name: LOGIN_VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            // Readable without a file system group, which OpenShift chooses.
            default_mode: Some(0o444),
            items: Some(vec![KeyToPath {
                key: LOGIN_FILE.to_owned(),
                path: LOGIN_FILE.to_owned(),
                mode: None,
            }]),
            // The kubelet starts no container before the Secret exists.
            optional: Some(false),
        }),
        ..Volume::default()
    });
    for container in pod.containers.iter_mut().filter(|container| container.name == CONTAINER) {
        complete(container, work);
    }
    template
}

fn complete(container: &mut Container, work: &str) {
    container.args = Some(vec![
        COMMAND.to_owned(),
        format!("--login={LOGIN_FOLDER}/{LOGIN_FILE}"),
        format!("--result={TERMINATION_LOG}"),
    ]);
    container.env.get_or_insert_default().push(EnvVar {
        name: VARIABLE.to_owned(),
        value: Some(work.to_owned()),
        value_from: None,
    });
    container.volume_mounts.get_or_insert_default().push(VolumeMount {
        name: LOGIN_VOLUME.to_owned(),
        mount_path: LOGIN_FOLDER.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    container.termination_message_path = Some(TERMINATION_LOG.to_owned());
    container.termination_message_policy = Some("File".to_owned());
}

/// Name of the Secret with the login that a Job's pod mounts.
pub(super) fn login_secret(template: &PodTemplateSpec) -> Option<&str> {
    let volumes = template.spec.iter().flat_map(|pod| pod.volumes.iter().flatten());
    let login = volumes.into_iter().find(|volume| volume.name == LOGIN_VOLUME)?;
    login.secret.as_ref()?.secret_name.as_deref()
}

/// The Secret with the login of a Job. Garbage collection deletes the Secret with the Job.
pub(super) fn secret(namespace: &str, name: &str, job: &JobView, login: String) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            owner_references: Some(vec![OwnerReference {
                api_version: Job::api_version(&()).into_owned(),
                kind: Job::kind(&()).into_owned(),
                name: job.name.clone(),
                uid: job.uid.clone(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(LOGIN_FILE.to_owned(), ByteString(login.into_bytes()))])),
        immutable: Some(true),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::executor::work;

    fn settings(queue: Option<&str>) -> JobSettings {
        let template = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "zstart"}},
            "spec": {
                "serviceAccountName": "zstart-convert",
                "nodeSelector": {"kubernetes.io/os": "linux"},
                "containers": [
                    {"name": "convert", "image": "zstart-controller:1", "env": [{"name": "RUST_LOG", "value": "info"}]},
                    {"name": "proxy", "image": "proxy:1"},
                ],
            },
        });
        JobSettings {
            max_jobs: 20,
            queue: queue.map(ToOwned::to_owned),
            ttl: Duration::from_hours(1),
            ecr_role: None,
            template: serde_json::from_value(template).unwrap(),
        }
    }

    fn made(settings: &JobSettings) -> Job {
        let record: ImageConversion = serde_json::from_value(json!({
            "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion",
            "metadata": {"name": "app-v1-0", "uid": "record"}, "spec": {"source": "registry.example:5000/team/app:v1"},
        }))
        .unwrap();
        let work = work::example();
        let name = work.job_name();
        let deadline = Duration::from_mins(30);
        job(JobInputs {
            settings,
            namespace: "zstart-system",
            name: &name,
            secret: "login-0",
            record: &record,
            work: &work,
            deadline,
        })
        .unwrap()
    }

    #[test]
    fn job_has_no_more_than_a_conversion_needs() {
        let work = serde_json::to_string(&work::example()).unwrap();
        let digest = work::example().digest;
        let digest = digest.short();
        assert_eq!(
            serde_json::to_value(made(&settings(None))).unwrap(),
            json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": {
                    "name": work::example().job_name(), "namespace": "zstart-system",
                    "labels": {"app.kubernetes.io/name": "zstart", "zstart.dev/conversion": digest},
                    "annotations": {"zstart.dev/source": "registry.example:5000/team/app:v1"},
                    "ownerReferences": [{
                        "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion", "name": "app-v1-0", "uid": "record",
                    }],
                },
                "spec": {
                    "suspend": true, "parallelism": 1, "completions": 1, "backoffLimit": 0,
                    "activeDeadlineSeconds": 1800, "ttlSecondsAfterFinished": 3600,
                    "podFailurePolicy": {"rules": [
                        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    ]},
                    "template": {
                        "metadata": {"labels": {"app.kubernetes.io/name": "zstart", "zstart.dev/conversion": digest}},
                        "spec": {
                            "serviceAccountName": "zstart-convert", "automountServiceAccountToken": false,
                            "restartPolicy": "Never", "nodeSelector": {"kubernetes.io/os": "linux"},
                            "containers": [
                                {
                                    "name": "convert", "image": "zstart-controller:1",
                                    "args": [
                                        "convert-one", "--login=/var/run/zstart/login/config.json",
                                        "--result=/dev/termination-log",
                                    ],
                                    "env": [
                                        {"name": "RUST_LOG", "value": "info"}, {"name": "ZSTART_WORK", "value": work},
                                    ],
                                    "volumeMounts": [
                                        {"name": "login", "mountPath": "/var/run/zstart/login", "readOnly": true},
                                    ],
                                    "terminationMessagePath": "/dev/termination-log",
                                    "terminationMessagePolicy": "File",
                                },
                                {"name": "proxy", "image": "proxy:1"},
                            ],
                            "volumes": [{"name": "login", "secret": {
                                "secretName": "login-0", "defaultMode": 0o444, "optional": false,
                                "items": [{"key": "config.json", "path": "config.json"}],
                            }}],
                        },
                    },
                },
            })
        );
    }

    #[test]
    fn queue_is_a_label_of_the_job_alone() {
        let job = made(&settings(Some("batch")));
        let view = JobView::of(&job);
        assert_eq!((view.queue.as_deref(), view.secret.as_deref()), (Some("batch"), Some("login-0")));
        assert!(view.is_own && view.is_suspended);
        let pod = job.spec.unwrap().template.metadata.unwrap().labels.unwrap();
        assert!(!pod.contains_key(keys::KUEUE_QUEUE), "Kueue would manage the pod too: {pod:?}");
    }

    #[test]
    fn secret_belongs_to_its_job() {
        let view = JobView { uid: "job".to_owned(), ..JobView::of(&made(&settings(None))) };
        let secret =
            serde_json::to_value(secret("zstart-system", "login-0", &view, "{}".to_owned())).unwrap();
        let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": view.name, "uid": "job"}]);
        assert_eq!(secret["metadata"]["ownerReferences"], owner);
        assert_eq!(secret["data"], json!({"config.json": "e30="}));
        assert_eq!(secret["immutable"], Value::Bool(true));
    }
}
