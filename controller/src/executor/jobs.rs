//! Conversions as Kubernetes Jobs in zstart's own namespace.
//!
//! A conversion's Job has a name that follows from its input. A leader creates the Job suspended, then the Secret with
//! the one login that the Job needs, then starts the Job; with Kueue, Kueue starts it. A leader that finds the Job of
//! its predecessor awaits that one. The Job's result is a claim that the leader proves against the registry.
//!
//! A Job that failed stays for its logs until its time to live is over, or until the next attempt replaces it. A Job
//! whose variant was proven is deleted at once, with its login. If its leader ended before, the next leader deletes it
//! when the record serves the variant.

use std::future::pending;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tracing::{debug, info, warn};
use zstart_convert::{Error, NamedVariant};
use zstart_core::{ImageConversion, keys};
use zstart_process::watch as watches;
use zstart_registry::auth::{Credentials, ProviderError};

use super::job_error::{JobError, JobProblem, JobRef};
use super::job_result::{self, JobResult};
use super::job_spec::{self, JobInputs};
use super::observed::{JobView, Observed, PodView};
use super::progress::{Progress, progress, report};
use super::settings::JobSettings;
use super::work::Work;
use super::{Conversion, ConversionError, Converted};
use crate::context::Context;
use crate::reconcile::is_ready;
use crate::records::RecordMeta;
use crate::scheduler::RecordChanges;

/// Interval at which a conversion looks at its Job and its record without a notice.
const RESYNC: Duration = Duration::from_secs(20);
/// Time after which a Job that waits or is complete, and that no conversion claims, is deleted. A new leader needs some
/// minutes to look at all sources.
const UNCLAIMED: Duration = Duration::from_mins(15);
/// Longest time for which a former Job of the same name may take to disappear.
const DELETION_LIMIT: Duration = Duration::from_mins(2);
/// Attempts to create a Job while others come and go under its name.
const MAX_CREATIONS: usize = 3;

/// Executor that makes a Job of each conversion.
pub(crate) struct JobExecutor {
    settings: JobSettings,
    namespace: String,
    deadline: Duration,
    jobs: Api<Job>,
    pods: Api<Pod>,
    secrets: Api<Secret>,
    records: Api<ImageConversion>,
    observed: Observed,
}

impl JobExecutor {
    /// Makes Jobs in `namespace`, with a deadline.
    pub(crate) fn new(client: &Client, namespace: &str, settings: JobSettings, deadline: Duration) -> Self {
        Self {
            settings,
            namespace: namespace.to_owned(),
            deadline,
            jobs: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            secrets: Api::namespaced(client.clone(), namespace),
            records: Api::all(client.clone()),
            observed: Observed::default(),
        }
    }

    /// Follows the Jobs and their pods, and deletes Jobs that earlier leaders left. Runs forever.
    pub(crate) async fn follow(&self) {
        let own = watcher::Config::default().labels(keys::CONVERSION);
        let jobs =
            watches::drain("jobs", self.jobs.clone(), own.clone(), |event| self.observed.apply_job(event));
        let pods =
            watches::drain("pods of jobs", self.pods.clone(), own, |event| self.observed.apply_pod(event));
        tokio::join!(jobs, pods, self.delete_unclaimed());
    }

    async fn delete_unclaimed(&self) {
        let mut ticks = tokio::time::interval(RESYNC);
        loop {
            ticks.tick().await;
            for (job, since) in self.observed.unclaimed(Instant::now()) {
                let reason = if self.is_served(&job).await {
                    "its record serves the variant"
                } else if since >= UNCLAIMED {
                    "nothing asks for its conversion"
                } else {
                    continue;
                };
                info!(job = job.name, reason, "deleting a Job of an earlier leader");
                self.delete_or_warn(&job).await;
            }
        }
    }

    /// Returns whether a Job is complete and its record serves a variant of the Job's source. An API server that
    /// doesn't answer says nothing.
    async fn is_served(&self, job: &JobView) -> bool {
        let Some(record) = job.record.as_ref().filter(|_| job.end.is_some()) else { return false };
        let Ok(Some(record)) = self.records.get_opt(record).await else { return false };
        let Some(status) = record.status else { return false };
        is_ready(&status) && status.variant.is_some_and(|variant| variant.source_digest.short() == job.digest)
    }

    /// Converts an image in a Job, and proves the variant.
    pub(super) async fn convert(
        &self,
        context: &Context,
        conversion: Conversion<'_>,
        waiting: &watch::Sender<Option<String>>,
    ) -> Result<Converted, ConversionError> {
        let Conversion { record, source, plan, settings, changes, .. } = conversion;
        let work = Work::new(source, plan, settings, &context.config);
        let name = work.job_name();
        let failed = |problem| Box::new(JobError { job: self.reference(&name), problem });
        let _claim = self.observed.claim(&name);
        let job = self.find_or_create(record, &work, &name).await.map_err(failed)?;
        self.release(context, &conversion, &job).await.map_err(failed)?;
        let wanted = Wanted { context, record, changes };
        let ended = self.await_end(&job, &wanted, waiting).await.map_err(failed)?;
        let Some((result, job)) = ended else {
            info!(%source, job = name, "deleting the Job of a source that no workload uses any more");
            self.delete_or_warn(&job).await;
            return Err(ConversionError::Abandoned);
        };
        match result {
            JobResult::Failed(error) => Err(failed(JobProblem::Reported(error)).into()),
            JobResult::Converted(claim) => {
                let job_result::Claim { layers_reused, transcoder_faults, took, .. } = claim;
                info!(%source, digest = %work.digest, job = name, layers_reused, "a Job converted an image");
                let proven = prove(conversion, &claim).await;
                // Also after a claim that isn't true: the next attempt needs a new Job.
                self.delete_or_warn(&job).await;
                Ok(Converted { variant: proven?, transcoder_faults, took })
            }
        }
    }

    fn reference(&self, name: &str) -> JobRef {
        JobRef { namespace: self.namespace.clone(), name: name.to_owned() }
    }

    /// Returns the Job of a predecessor that runs or succeeded, or creates one. A Job that failed is replaced.
    async fn find_or_create(
        &self,
        record: &ImageConversion,
        work: &Work,
        name: &str,
    ) -> Result<JobView, JobProblem> {
        // The login of a former Job of this name may still exist.
        let secret = format!("{name}-{:06x}", RandomState::new().hash_one(name) & 0x00ff_ffff);
        let inputs = JobInputs {
            settings: &self.settings,
            namespace: &self.namespace,
            name,
            secret: &secret,
            record,
            work,
            deadline: self.deadline,
        };
        let new =
            job_spec::job(inputs).map_err(|error| api("create the Job")(kube::Error::SerdeError(error)))?;
        for _ in 0..MAX_CREATIONS {
            match self.jobs.create(&PostParams::default(), &new).await {
                Ok(created) => {
                    info!(source = %work.source, digest = %work.digest, job = name, "created the Job of a conversion");
                    return Ok(JobView::of(&created));
                }
                Err(error) if is_code(&error, 409) => {}
                Err(error) => return Err(api("create the Job")(error)),
            }
            let found = self.jobs.get_opt(name).await.map_err(api("read the Job"))?;
            let Some(found) = found.map(|job| JobView::of(&job)) else { continue };
            if !found.is_own {
                return Err(JobProblem::Foreign);
            }
            let has_failed = found.end.as_ref().is_some_and(|end| !end.is_complete);
            if !has_failed && !found.is_deleted {
                info!(source = %work.source, digest = %work.digest, job = name, "awaiting the Job of an earlier leader");
                return Ok(found);
            }
            if !found.is_deleted {
                self.delete(&found).await.map_err(api("delete a former Job"))?;
            }
            self.await_deletion(&found).await?;
        }
        Err(JobProblem::Undeleted { limit: DELETION_LIMIT })
    }

    /// Waits until a Job that is being deleted is gone.
    async fn await_deletion(&self, job: &JobView) -> Result<(), JobProblem> {
        let gone = async {
            let mut changes = self.observed.changes();
            loop {
                let found = self.jobs.get_opt(&job.name).await.map_err(api("read a former Job"))?;
                if found.is_none_or(|found| found.uid().as_ref() != Some(&job.uid)) {
                    return Ok(());
                }
                while self.observed.get(&job.name, &job.uid).is_some() {
                    tokio::select! {
                        _ = changes.changed() => {}
                        () = tokio::time::sleep(RESYNC) => break,
                    }
                }
            }
        };
        let in_time = tokio::time::timeout(DELETION_LIMIT, gone).await;
        in_time.map_err(|_| JobProblem::Undeleted { limit: DELETION_LIMIT })?
    }

    /// Makes the Job's login, then starts the Job unless Kueue does.
    ///
    /// Kueue may start the Job before its login exists. The kubelet then waits for the Secret before it starts the
    /// container.
    async fn release(
        &self,
        context: &Context,
        conversion: &Conversion<'_>,
        job: &JobView,
    ) -> Result<(), JobProblem> {
        if job.end.is_some() {
            return Ok(());
        }
        let Some(secret) = &job.secret else { return Err(JobProblem::Foreign) };
        let login = self.login(context, conversion).await.map_err(JobProblem::Login)?;
        let secret = job_spec::secret(&self.namespace, secret, job, login);
        match self.secrets.create(&PostParams::default(), &secret).await {
            // An earlier leader made it.
            Err(error) if is_code(&error, 409) => {}
            made => drop(made.map_err(api("create the Job's Secret"))?),
        }
        if !job.is_suspended || job.queue.is_some() {
            return Ok(());
        }
        // Another Job of the same name has another UID, which the API server refuses.
        let start = json!({"metadata": {"uid": job.uid}, "spec": {"suspend": false}});
        let started = self.jobs.patch(&job.name, &PatchParams::default(), &Patch::Merge(start)).await;
        started.map(drop).map_err(api("start the Job"))
    }

    /// Docker config with the one login that the conversion needs. For Amazon ECR, a token for the one repository if
    /// an administrator named a role.
    async fn login(&self, context: &Context, conversion: &Conversion<'_>) -> Result<String, ProviderError> {
        let Conversion { credentials, source, .. } = conversion;
        let (registry, repository) = (source.registry(), source.repository());
        let identity = context.own_credentials.ecr_identity(registry);
        if let (Some(role), Some(identity), Credentials::Provider(_)) =
            (&self.settings.ecr_role, identity, credentials)
            && let Some(narrowed) = identity.repository_credentials(registry, repository, role).await?
        {
            return narrowed.to_docker_config(source).await;
        }
        credentials.to_docker_config(source).await
    }

    /// Waits for a Job's end. `None`: the conversion isn't wanted any more.
    async fn await_end(
        &self,
        job: &JobView,
        wanted: &Wanted<'_>,
        waiting: &watch::Sender<Option<String>>,
    ) -> Result<Option<(JobResult, JobView)>, JobProblem> {
        let mut changes = self.observed.changes();
        let mut of_record = wanted.changes.clone();
        let mut is_told = true;
        let mut last_wait: Option<String> = None;
        let mut seen = None;
        loop {
            changes.mark_unchanged();
            if let Some((job, pods)) = self.observed.get(&job.name, &job.uid) {
                match progress(&job, &pods) {
                    Progress::Ended => return self.read_result(job, last_wait.as_deref()).await.map(Some),
                    Progress::Waiting(reason) => {
                        waiting.send_if_modified(|told| {
                            let is_new = told.as_ref() != Some(&reason);
                            *told = Some(reason.clone());
                            is_new
                        });
                        last_wait = Some(reason);
                    }
                    Progress::Running => {
                        waiting.send_if_modified(|told| told.take().is_some());
                        last_wait = None;
                    }
                }
                seen = Some(job);
            } else if seen.is_some() {
                return if wanted.is_wanted().await { Err(JobProblem::Deleted) } else { Ok(None) };
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { pending::<()>().await },
                changed = of_record.changed(), if is_told => {
                    is_told = changed.is_ok();
                    let is_wanted = if is_told { wanted.is_in_demand() } else { wanted.is_wanted().await };
                    if !is_wanted {
                        return Ok(None);
                    }
                }
                () = tokio::time::sleep(RESYNC) => {
                    if !wanted.is_wanted().await {
                        return Ok(None);
                    }
                    if seen.is_none() {
                        // The watch is late, or the Job was deleted before the watch saw it.
                        let found = self.jobs.get_opt(&job.name).await.map_err(api("read the Job"))?;
                        if found.is_none_or(|found| found.uid().as_ref() != Some(&job.uid)) {
                            return Err(JobProblem::Deleted);
                        }
                    }
                }
            }
        }
    }

    /// Reads the result of a Job that has ended. The watch of the pods may be late, so they are listed.
    async fn read_result(
        &self,
        job: JobView,
        waiting: Option<&str>,
    ) -> Result<(JobResult, JobView), JobProblem> {
        let own = ListParams::default().labels(&format!("batch.kubernetes.io/controller-uid={}", job.uid));
        let listed = self.pods.list(&own).await.map_err(api("list the Job's pods"))?;
        // A label proves nothing. The owner reference is the Job controller's.
        let own = listed.items.iter().map(PodView::of).filter(|pod| pod.job == job.uid);
        let pods: Vec<PodView> = own.collect();
        let text = report(&job, &pods, waiting, self.deadline).map_err(JobProblem::Died)?;
        Ok((JobResult::parse(text).map_err(JobProblem::Message)?, job))
    }

    async fn delete(&self, job: &JobView) -> kube::Result<()> {
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: Some(job.uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.jobs.delete(&job.name, &parameters).await {
            // The Job is gone, or another Job has its name.
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => {
                debug!(job = job.name, "the Job is gone already");
                Ok(())
            }
            deleted => deleted.map(drop),
        }
    }

    /// Deletes a Job that isn't needed any more. Its time to live ends a Job that stays.
    async fn delete_or_warn(&self, job: &JobView) {
        if let Err(error) = self.delete(job).await {
            warn!(job = job.name, error = zstart_core::chain(&error), "failed to delete a Job");
        }
    }
}

/// Proves that the registry has the variant that a Job claims.
async fn prove(conversion: Conversion<'_>, claim: &job_result::Claim) -> Result<NamedVariant, Error> {
    let Conversion { repository, source, names, plan, .. } = conversion;
    let job_result::Claim { tag, digest, .. } = claim;
    if names.contains(tag) {
        let image = zstart_convert::prove_pushed(repository, tag, plan, digest).await?;
        return Ok(NamedVariant { tag: tag.clone(), image, is_complete: true });
    }
    // The Job was made for another tag of the same image.
    let Some(variant) = zstart_convert::adopt(repository, source, names, plan, digest).await? else {
        let (location, tag) = (repository.location().to_owned(), tag.clone());
        return Err(Error::NotVerified {
            location,
            tag,
            found: format!("{digest} is no variant of {source}"),
        });
    };
    zstart_convert::verify_pushed(repository, &variant.tag, plan, &variant.image).await?;
    Ok(variant)
}

/// The question whether a conversion is still wanted.
struct Wanted<'a> {
    context: &'a Context,
    record: &'a ImageConversion,
    changes: &'a RecordChanges,
}

impl Wanted<'_> {
    /// Returns whether workloads use the source. A record that a user made needs none.
    fn is_in_demand(&self) -> bool {
        let Self { context, record, .. } = self;
        let has_consumers =
            || context.demand.read(|demand| !demand.consumers(&record.spec.source).is_empty());
        !RecordMeta::of(&record.metadata).is_own || has_consumers()
    }

    /// Returns whether workloads use the source and the record exists. An API server that doesn't answer says nothing.
    async fn is_wanted(&self) -> bool {
        let Self { context, record, .. } = self;
        if !self.is_in_demand() {
            return false;
        }
        let records = Api::<ImageConversion>::all(context.client.clone());
        match records.get_metadata_opt(&record.name_any()).await {
            Ok(found) => found.is_some_and(|found| found.uid() == record.uid()),
            Err(_) => true,
        }
    }
}

fn api(operation: &'static str) -> impl FnOnce(kube::Error) -> JobProblem {
    move |source| JobProblem::Api { operation, source: Box::new(source) }
}

fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
