//! A lab whose controller converts in Jobs. No Job controller and no kubelet run: the test does their part, and runs
//! the container's program with the pod's arguments, environment and login.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::mpsc;
use zstart_core::keys;
use zstart_tests::chart::{Helm, find};
use zstart_tests::cluster::built_binaries;
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::wait;

use crate::lab::{Controller, Lab, SYSTEM, WITHIN};

/// A lab whose controller converts in Jobs.
pub(crate) struct JobLab {
    pub(crate) lab: Lab,
    settings: String,
}

/// End of a container.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) reason: &'static str,
    /// Termination message.
    pub(crate) message: String,
}

impl JobLab {
    /// Starts a lab with the rights and the settings of an installation with `--set` values.
    pub(crate) async fn start(sets: &[&str]) -> Result<Self> {
        let sets = [&["controller.executor=jobs"], sets].concat();
        let objects = Helm::find().await?.render("zstart", &sets).await?;
        let file = find(&objects, "ConfigMap", "zstart-controller")?["data"]["config.yaml"].as_str();
        let config: Value = serde_saphyr::from_str(file.context("no configuration")?)?;
        let settings = format!("executor: jobs\njobs: {}", config["jobs"]);
        let lab = Lab::start_with(ControlPlane::with_definitions(), &sets).await?;
        Ok(Self { lab, settings })
    }

    /// Settings of the controller, as the chart writes them.
    pub(crate) fn settings(&self) -> &str {
        &self.settings
    }

    pub(crate) async fn start_controller(&self) -> Result<Controller> {
        self.lab.start_controller_with(&self.settings).await
    }

    pub(crate) fn jobs(&self) -> Api<Job> {
        self.lab.namespaced(SYSTEM)
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        self.lab.namespaced(SYSTEM)
    }

    /// Jobs of conversions.
    pub(crate) async fn list(&self) -> Result<Vec<Job>> {
        Ok(self.jobs().list(&ListParams::default().labels(keys::CONVERSION)).await?.items)
    }

    /// Waits for the only Job of a conversion that matches.
    pub(crate) async fn job(&self, what: &str, holds: impl Fn(&Job) -> bool) -> Result<Job> {
        wait::until(format!("a Job {what}"), WITHIN, || async {
            let jobs = self.list().await?;
            ensure!(jobs.len() <= 1, "several Jobs: {jobs:#?}");
            Ok(jobs.into_iter().find(&holds))
        })
        .await
    }

    /// Waits for the only Job, until it isn't suspended.
    pub(crate) async fn started_job(&self) -> Result<Job> {
        self.job("that isn't suspended", |job| !is_suspended(job)).await
    }

    /// Waits until no Job exists.
    pub(crate) async fn no_job(&self) -> Result<()> {
        wait::until("no Job", WITHIN, || async { Ok(self.list().await?.is_empty().then_some(())) }).await
    }

    /// All events on Jobs from now on.
    pub(crate) async fn follow_jobs(&self) -> Result<mpsc::UnboundedReceiver<Job>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let jobs = self.jobs();
        let mut events = Box::pin(jobs.watch(&WatchParams::default(), "0").await?);
        tokio::spawn(async move {
            while let Some(Ok(event)) = events.next().await {
                let (WatchEvent::Added(job) | WatchEvent::Modified(job)) = event else { continue };
                if sender.send(job).is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    /// The Secret with a Job's login, by the name in the Job's pod template.
    pub(crate) async fn login(&self, job: &Job) -> Result<Option<Secret>> {
        Ok(self.secrets().get_opt(&login_name(job)?).await?)
    }

    /// Runs a Job's container until it ends, as the kubelet does.
    #[expect(clippy::print_stdout, reason = "the container's log is shown if the test fails")]
    pub(crate) async fn run(&self, job: &Job) -> Result<Ended> {
        let folder = self.lab.plane.folder().join(job.uid().context("no UID")?);
        std::fs::create_dir(&folder)?;
        let login = self.login(job).await?.context("the kubelet would wait for the Secret")?;
        let data = login.data.unwrap_or_default();
        ensure!(data.keys().eq(["config.json"]), "{:?}", data.keys());
        let (login, result) = (folder.join("config.json"), folder.join("termination-log"));
        std::fs::write(&login, &data["config.json"].0)?;
        let container = container(job)?;
        let arguments = container.args.iter().flatten().map(|argument| {
            argument
                .replace("/var/run/zstart/login/config.json", &login.display().to_string())
                .replace("/dev/termination-log", &result.display().to_string())
        });
        let environment: BTreeMap<_, _> = (container.env.iter().flatten())
            .filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?)))
            .collect();
        let mut command = Command::new(built_binaries()?.join("zstart-controller"));
        command.args(arguments).env_clear().envs(environment);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
        println!("{}", String::from_utf8_lossy(&output.stdout));
        let code = output.status.code().context("killed")?;
        let reason = if code == 0 { "Completed" } else { "Error" };
        Ok(Ended { code, reason, message: std::fs::read_to_string(&result).unwrap_or_default() })
    }

    /// Creates a pod of a Job with this status, as the Job controller and the kubelet do.
    pub(crate) async fn create_pod(&self, job: &Job, status: &Value) -> Result<()> {
        let (name, uid) = (job.name_any(), job.uid().context("no UID")?);
        let template = job.spec.as_ref().map(|spec| spec.template.clone()).context("no template")?;
        let pods: Api<Pod> = self.lab.namespaced(SYSTEM);
        let owner =
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": true});
        let labels = template.metadata.and_then(|metadata| metadata.labels);
        let pod = json!({
            "metadata": {"generateName": format!("{name}-"), "labels": labels, "ownerReferences": [owner]},
            "spec": template.spec,
        });
        let pod = pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        let status = Patch::Merge(json!({"status": status}));
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &status).await?;
        Ok(())
    }

    /// Writes the end of a Job's container and the Job's own end, as the kubelet and the Job controller do.
    pub(crate) async fn end(&self, job: &Job, ended: &Ended) -> Result<()> {
        let Ended { code, reason, message } = ended;
        let phase = if *code == 0 { "Succeeded" } else { "Failed" };
        let now = Timestamp::now().to_string();
        let terminated = json!({"exitCode": code, "reason": reason, "message": message, "startedAt": now, "finishedAt": now});
        let container = json!({"name": "convert", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": terminated}});
        self.create_pod(job, &json!({"phase": phase, "containerStatuses": [container]})).await?;
        self.conclude(job, *code == 0, "BackoffLimitExceeded").await
    }

    /// Writes the end of a Job, as the Job controller does.
    pub(crate) async fn conclude(&self, job: &Job, is_complete: bool, reason: &str) -> Result<()> {
        let now = Timestamp::now().to_string();
        let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": reason, "message": "the test says it"});
        let status = if is_complete {
            json!({"startTime": now, "completionTime": now, "succeeded": 1,
                "conditions": [condition("SuccessCriteriaMet"), condition("Complete")]})
        } else {
            json!({"startTime": now, "failed": 1, "conditions": [condition("FailureTarget"), condition("Failed")]})
        };
        let patch = Patch::Merge(json!({"status": status}));
        self.jobs().patch_status(&job.name_any(), &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Runs the only Job, and writes its end.
    pub(crate) async fn complete_job(&self) -> Result<Ended> {
        let job = self.started_job().await?;
        let ended = self.run(&job).await?;
        self.end(&job, &ended).await?;
        Ok(ended)
    }

    /// Suspends or starts a Job, as Kueue does.
    pub(crate) async fn suspend(&self, job: &Job, suspend: bool) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
        self.jobs().patch(&job.name_any(), &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

pub(crate) fn is_suspended(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or_default()
}

pub(crate) fn container(job: &Job) -> Result<&Container> {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).context("no pod")?;
    pod.containers.iter().find(|container| container.name == "convert").context("no container")
}

/// Name of the Secret with a Job's login.
pub(crate) fn login_name(job: &Job) -> Result<String> {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).context("no pod")?;
    let secret = pod.volumes.iter().flatten().find_map(|volume| volume.secret.as_ref());
    secret.and_then(|secret| secret.secret_name.clone()).context("no volume with a Secret")
}

/// Version of an object, which etcd counts over all objects.
pub(crate) fn version(object: &impl ResourceExt) -> Result<u64> {
    Ok(object.resource_version().context("no resourceVersion")?.parse()?)
}
