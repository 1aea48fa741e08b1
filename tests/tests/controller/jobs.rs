//! Conversions as Kubernetes Jobs, with a real API server and registry, and the real program of the container.

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use zstart_core::record::{CONVERTED, ImageConversionStatus, READY, RecordReason};
use zstart_core::{ImageConversion, keys};
use zstart_tests::images::Fixture;
use zstart_tests::registry::ecr::{FakeEcr, Identity, PRIVATE, Session};
use zstart_tests::registry::gateway::Fault;
use zstart_tests::wait;

use crate::jobs_lab::{Ended, JobLab, container, is_suspended, login_name, version};
use crate::lab::{Lab, WITHIN, configuration};
use crate::program;
use crate::records::{condition_of, record_name_of, recorded_tag};
use crate::write_refusal::WriteRefusal;

fn application() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 2 << 20).layer(&[("etc/app", b"configuration")])
}

/// Pushes an image and deploys it. Returns its name.
async fn deploy(lab: &Lab) -> Result<String> {
    lab.push("app:v1", &application()).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    Ok(image)
}

/// Pushes an image and makes its record by hand. Returns its name.
///
/// A new workload asks for a look in the next seconds, and such a look tries again after a failure. A record without
/// workloads keeps the state that the test waits for.
async fn make_record(lab: &Lab) -> Result<String> {
    lab.push("app:v1", &application()).await?;
    let image = lab.image("app:v1");
    let record = json!({"metadata": {"name": record_name_of(&image)?}, "spec": {"source": image}});
    lab.create::<ImageConversion>(&lab.records(), record).await?;
    Ok(image)
}

async fn remove_deployment(lab: &Lab) -> Result<()> {
    lab.namespaced::<Deployment>("on").delete("web", &DeleteParams::default()).await?;
    Ok(())
}

/// Waits for the only Job, until the record tells that the Job has no pod.
async fn job_without_pod(jobs: &JobLab, image: &str) -> Result<Job> {
    let job = jobs.started_job().await?;
    let waits = |status: &_| condition_of(status, READY).2.contains("the Job has no pod yet");
    jobs.lab.wait_for(image, "waiting for its pod", waits).await?;
    Ok(job)
}

/// Status of a pod that no node suits.
fn unscheduled() -> Value {
    json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"},
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn job_gets_its_login_before_its_start() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = deploy(&jobs.lab).await?;
    let mut changes = jobs.follow_jobs().await?;
    let _controller = jobs.start_controller().await?;
    let created = changes.recv().await.context("no Job")?;
    assert!(is_suspended(&created), "{created:#?}");
    let started = changes.recv().await.context("no start")?;
    assert!(!is_suspended(&started), "{started:#?}");
    let login = jobs.login(&started).await?.context("no Secret")?;
    assert!(version(&created)? < version(&login)? && version(&login)? < version(&started)?);

    let [owner] = login.owner_references() else { panic!("{login:#?}") };
    assert_eq!((&*owner.kind, &owner.uid), ("Job", &created.uid().context("no UID")?));
    let record = jobs.lab.records().get(&record_name_of(&image)?).await?;
    let [owner] = created.owner_references() else { panic!("{created:#?}") };
    assert_eq!((&*owner.kind, Some(&owner.uid)), ("ImageConversion", record.metadata.uid.as_ref()));
    assert_eq!(created.annotations()[keys::SOURCE], image);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn variant_of_a_job_serves_after_its_proof() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = deploy(&jobs.lab).await?;
    let _controller = jobs.start_controller().await?;
    let ended = jobs.complete_job().await?;
    assert_eq!(ended.code, 0, "{ended:?}");
    let status = jobs.lab.ready(&image).await?;
    assert_eq!(condition_of(&status, CONVERTED).1, "Converted", "{status:?}");
    assert!(status.variant.as_ref().context("no variant")?.duration_milliseconds > 0);
    let (stored, tag) = (jobs.lab.stored("app"), recorded_tag(&status)?);
    let (after, before) =
        (stored.manifest_for(&tag, "amd64").await?, stored.manifest_for("v1", "amd64").await?);
    stored.require_same_files(&after, &before).await?;
    jobs.no_job().await
}

#[tokio::test(flavor = "multi_thread")]
async fn login_of_a_job_is_for_its_repository_alone() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let lab = &jobs.lab;
    let host = lab.gateway.host();
    let config = json!({"auths": {
        &host: {"username": "builder", "password": "hush"}, "other.example": {"username": "a", "password": "b"},
    }});
    let secret = json!({"metadata": {"name": "pull"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config.to_string()}});
    lab.create(&lab.namespaced::<k8s_openapi::api::core::v1::Secret>("on"), secret).await?;
    lab.push("app:v1", &application()).await?;
    let image = lab.image("app:v1");
    lab.deploy_with("on", "web", &image, &json!({"imagePullSecrets": [{"name": "pull"}]})).await?;
    let _controller = jobs.start_controller().await?;
    let job = jobs.started_job().await?;
    let login = jobs.login(&job).await?.context("no Secret")?.data.unwrap_or_default();
    let login: Value = serde_json::from_slice(&login["config.json"].0)?;
    assert_eq!(login, json!({"auths": {format!("{host}/app"): {"username": "builder", "password": "hush"}}}));
    let spec = serde_json::to_string(&job)?;
    assert!(!spec.contains("hush") && !spec.contains("builder"), "{spec}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn false_claim_of_a_job_is_refuted() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = make_record(&jobs.lab).await?;
    let _controller = jobs.start_controller().await?;
    let job = jobs.started_job().await?;
    // The program ran, but says that the source itself is the variant.
    let ended = jobs.run(&job).await?;
    let mut message: Value = serde_json::from_str(&ended.message)?;
    let source = jobs.lab.stored("app").digest("v1").await?;
    message["converted"]["digest"] = json!(source);
    jobs.end(&job, &Ended { message: message.to_string(), ..ended }).await?;
    let reason = jobs.lab.not_ready(&image, RecordReason::NotVerified).await?;
    assert!(reason.contains(source.as_str()), "{reason}");
    jobs.no_job().await
}

#[tokio::test(flavor = "multi_thread")]
async fn new_leader_adopts_the_job() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = deploy(&jobs.lab).await?;
    let mut changes = jobs.follow_jobs().await?;
    let first = jobs.start_controller().await?;
    let job = jobs.started_job().await?;
    first.stop().await?;
    assert_eq!(jobs.list().await?.len(), 1, "the Job outlives its leader");
    // Only the second leader sees this pod.
    jobs.create_pod(&job, &unscheduled()).await?;
    let _second = jobs.start_controller().await?;
    let awaits = |status: &_| condition_of(status, READY).2.contains("0/3 nodes are available");
    jobs.lab.wait_for(&image, "awaiting the Job of the first leader", awaits).await?;
    jobs.complete_job().await?;
    let status = jobs.lab.ready(&image).await?;
    assert_eq!(condition_of(&status, CONVERTED).1, "Converted", "{status:?}");
    jobs.no_job().await?;
    while let Ok(change) = changes.try_recv() {
        assert_eq!(change.uid(), job.uid(), "a second Job: {change:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_job_of_a_dead_leader_is_started() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = deploy(&jobs.lab).await?;
    let first = jobs.start_controller().await?;
    let job = jobs.started_job().await?;
    first.stop().await?;
    // As if the leader had died after the creation of the Job.
    jobs.secrets().delete(&login_name(&job)?, &DeleteParams::default()).await?;
    jobs.suspend(&job, true).await?;
    let _second = jobs.start_controller().await?;
    let started = jobs.started_job().await?;
    assert_eq!(started.uid(), job.uid());
    jobs.complete_job().await?;
    jobs.lab.ready(&image).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_completes_without_a_leader_is_deleted() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = deploy(&jobs.lab).await?;
    let first = jobs.start_controller().await?;
    jobs.started_job().await?;
    first.stop().await?;
    jobs.complete_job().await?;
    let _second = jobs.start_controller().await?;
    let status = jobs.lab.ready(&image).await?;
    assert_eq!(condition_of(&status, CONVERTED).1, "Reused", "{status:?}");
    jobs.no_job().await
}

#[tokio::test(flavor = "multi_thread")]
async fn job_goes_with_the_last_consumer() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = deploy(&jobs.lab).await?;
    let _controller = jobs.start_controller().await?;
    let first = jobs.started_job().await?;
    remove_deployment(&jobs.lab).await?;
    jobs.no_job().await?;
    let is_stopped = |status: &ImageConversionStatus| {
        let (_, reason, message) = condition_of(status, READY);
        reason == "Pending" && message.contains("no workload uses the source")
    };
    jobs.lab.wait_for(&image, "stopped", is_stopped).await?;
    // The next consumer gets a Job at once.
    jobs.lab.deploy("on", "web", &image).await?;
    assert_ne!(jobs.started_job().await?.uid(), first.uid());
    jobs.complete_job().await?;
    jobs.lab.ready(&image).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn job_goes_with_its_record() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = make_record(&jobs.lab).await?;
    let _controller = jobs.start_controller().await?;
    jobs.started_job().await?;
    jobs.lab.records().delete(&record_name_of(&image)?, &DeleteParams::default()).await?;
    jobs.no_job().await
}

/// A status that can't be written, because the record is gone or the API server refuses, ends no conversion.
#[tokio::test(flavor = "multi_thread")]
async fn job_goes_with_a_record_whose_status_was_refused() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = make_record(&jobs.lab).await?;
    let _controller = jobs.start_controller().await?;
    let job = job_without_pod(&jobs, &image).await?;

    let refusal = WriteRefusal::start(&jobs.lab, &["imageconversions/status"]).await?;
    let (records, name) = (jobs.lab.records(), record_name_of(&image)?);
    let trial = PatchParams { dry_run: true, ..PatchParams::default() };
    let change = Patch::Merge(json!({"status": {"observedGeneration": 99}}));
    wait::until("the refusal", WITHIN, || async {
        Ok(records.patch_status(&name, &trial, &change).await.is_err().then_some(()))
    })
    .await?;
    let before = refusal.count().await?;
    jobs.create_pod(&job, &unscheduled()).await?;
    let refused = || async { Ok((refusal.count().await? > before).then_some(())) };
    wait::until("a refused status", WITHIN, refused).await?;
    records.delete(&name, &DeleteParams::default()).await?;
    jobs.no_job().await
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_job_is_reported_and_replaced() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = make_record(&jobs.lab).await?;
    let _controller = jobs.start_controller().await?;
    let job = jobs.started_job().await?;
    jobs.end(&job, &Ended { code: 137, reason: "OOMKilled", message: String::new() }).await?;
    let message = jobs.lab.not_ready(&image, RecordReason::Failed).await?;
    let name = format!("Job zstart-system/{}: ", job.name_any());
    assert!(message.starts_with(&name) && message.contains("OOMKilled"), "{message}");
    assert_eq!(jobs.list().await?.len(), 1, "its logs can be read");

    jobs.lab.retry(&image).await?;
    let next = jobs.job("that replaces the former one", |next| next.uid() != job.uid()).await?;
    assert_eq!(next.name_any(), job.name_any());
    jobs.complete_job().await?;
    jobs.lab.ready(&image).await?;
    jobs.no_job().await
}

#[tokio::test(flavor = "multi_thread")]
async fn deadline_of_a_job_is_reported_with_its_wait() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = make_record(&jobs.lab).await?;
    let _controller = jobs.start_controller().await?;
    let job = job_without_pod(&jobs, &image).await?;
    jobs.conclude(&job, false, "DeadlineExceeded").await?;
    let message = jobs.lab.not_ready(&image, RecordReason::Failed).await?;
    for part in [&job.name_any(), "controller.conversionTimeout", "the Job has no pod yet"] {
        assert!(message.contains(part), "{message}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn error_of_a_job_keeps_its_class() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let image = make_record(&jobs.lab).await?;
    let _controller = jobs.start_controller().await?;
    jobs.started_job().await?;
    // The leader found that it may push. The registry refuses what follows.
    let body = r#"{"errors":[{"code":"DENIED","message":"scanning is required"}]}"#;
    jobs.lab.gateway.fault(
        Method::PUT,
        "/manifests/",
        Fault::Respond(StatusCode::FORBIDDEN, Vec::new(), body),
    );
    let ended = jobs.complete_job().await?;
    assert_eq!(ended.code, 1, "{ended:?}");
    let message = jobs.lab.not_ready(&image, RecordReason::PushDenied).await?;
    assert!(message.contains("scanning is required") && message.contains("Job zstart-system/"), "{message}");
    Ok(())
}

/// The contract of Kueue for Jobs (`pkg/controller/jobs/job/job_controller.go`): the queue is a label, Kueue alone
/// starts the Job, and suspends it again for a preemption.
#[tokio::test(flavor = "multi_thread")]
async fn queued_job_runs_when_kueue_starts_it() -> Result<()> {
    let jobs = JobLab::start(&["controller.jobs.queue=batch"]).await?;
    let image = deploy(&jobs.lab).await?;
    let _controller = jobs.start_controller().await?;
    let waits = |status: &_| condition_of(status, READY).2.contains("queue batch hasn't admitted the Job");
    jobs.lab.wait_for(&image, "queued", waits).await?;
    let job = jobs.job("in the queue", is_suspended).await?;
    assert_eq!(job.labels()[keys::KUEUE_QUEUE], "batch");
    assert!(jobs.login(&job).await?.is_some(), "Kueue may start the Job at any time");

    jobs.suspend(&job, false).await?;
    jobs.lab
        .wait_for(&image, "admitted", |status| condition_of(status, READY).2.contains("no pod yet"))
        .await?;
    jobs.suspend(&job, true).await?;
    jobs.lab.wait_for(&image, "queued again", waits).await?;
    assert!(is_suspended(&jobs.jobs().get(&job.name_any()).await?), "the controller left it alone");
    jobs.suspend(&job, false).await?;
    jobs.complete_job().await?;
    jobs.lab.ready(&image).await?;
    jobs.no_job().await
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_one_image_share_a_job() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    let lab = &jobs.lab;
    let source = lab.push("app:v1", &application()).await?;
    assert_eq!(lab.push("app:v2", &application()).await?, source);
    let (one, other) = (lab.image("app:v1"), lab.image("app:v2"));
    lab.deploy("on", "one", &one).await?;
    lab.deploy("on", "other", &other).await?;
    let _controller = jobs.start_controller().await?;
    jobs.complete_job().await?;
    let (one, other) = (lab.ready(&one).await?, lab.ready(&other).await?);
    let digest = |status: &zstart_core::record::ImageConversionStatus| {
        status.variant.as_ref().and_then(|variant| variant.reference.digest().cloned())
    };
    assert_eq!(digest(&one), digest(&other));
    assert_ne!(recorded_tag(&one)?, recorded_tag(&other)?);
    jobs.no_job().await
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_at_once_are_limited() -> Result<()> {
    let jobs = JobLab::start(&["controller.jobs.maxJobs=1"]).await?;
    let lab = &jobs.lab;
    for name in ["one", "other"] {
        lab.push(&format!("{name}:v1"), &application().layer(&[("etc/name", name.as_bytes())])).await?;
        lab.deploy("on", name, &lab.image(&format!("{name}:v1"))).await?;
    }
    let _controller = jobs.start_controller().await?;
    // Fails if two exist at a time.
    let first = jobs.started_job().await?;
    jobs.complete_job().await?;
    let second = jobs.job("of the other image", |job| job.uid() != first.uid()).await?;
    assert_ne!(second.name_any(), first.name_any());
    jobs.complete_job().await?;
    for name in ["one", "other"] {
        lab.ready(&lab.image(&format!("{name}:v1"))).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_of_a_job_is_restricted() -> Result<()> {
    let jobs = JobLab::start(&[]).await?;
    // The API server refuses a pod that isn't.
    let system = jobs.lab.admin.clone();
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(system);
    let enforce = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let parameters = kube::api::PatchParams::default();
    namespaces.patch(crate::lab::SYSTEM, &parameters, &kube::api::Patch::Merge(enforce)).await?;
    deploy(&jobs.lab).await?;
    let _controller = jobs.start_controller().await?;
    let job = jobs.started_job().await?;
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.clone()).context("no pod")?;
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.service_account_name.as_deref(), Some("zstart-converter"));
    let arguments = container(&job)?.args.clone().unwrap_or_default();
    assert!(arguments.iter().all(|argument| !argument.contains("sha256")), "{arguments:?}");
    jobs.complete_job().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ecr_token_of_a_job_is_for_one_repository() -> Result<()> {
    let role = "arn:aws:iam::123456789012:role/zstart-convert";
    let jobs = JobLab::start(&[&format!("controller.jobs.ecrRole={role}")]).await?;
    let lab = &jobs.lab;
    let ecr = FakeEcr::start(&lab.registry.host(), &["app"]).await?;
    lab.push("app:v1", &application()).await?;
    lab.deploy("on", "web", &format!("{PRIVATE}/app:v1")).await?;
    let file = lab.plane.folder().join("controller.yaml");
    let more = format!("ecrRegistries: [{PRIVATE}]\n{}", jobs.settings());
    std::fs::write(&file, configuration(&[], &more))?;
    let mut command = program::command(lab.plane.kubeconfig(), &file)?;
    let _controller = command.envs(ecr.environment(&Identity::WebIdentity)?).spawn()?;
    let job = jobs.started_job().await?;
    let login = jobs.login(&job).await?.context("no Secret")?.data.unwrap_or_default();
    let login: Value = serde_json::from_slice(&login["config.json"].0)?;
    let entry = &login["auths"][format!("{PRIVATE}/app")];
    assert_eq!(entry["username"], "AWS");
    let password = entry["password"].as_str().context("no password")?;
    assert!(password.ends_with(Session::ACCESS_KEY), "{password}");
    let [session] = &ecr.sessions()[..] else { panic!("{:?}", ecr.sessions()) };
    assert_eq!(session.role, role);
    let statements = session.policy["Statement"].as_array().context("no statements")?;
    let [token, repository] = &statements[..] else { panic!("{statements:?}") };
    assert_eq!((&token["Action"], &token["Resource"]), (&json!("ecr:GetAuthorizationToken"), &json!("*")));
    assert_eq!(repository["Resource"], "arn:aws:ecr:eu-west-1:123456789012:repository/app");
    Ok(())
}
