//! Acquires, renews and releases the Lease.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, info, warn};
use zstart_core::{chain, keys};
use zstart_registry::jittered;

use super::Leadership;
use super::lease::{Candidate, Step, Timing};

/// Time limit of the release at shutdown.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);
/// Attempts to release, of which all but the last may meet a conflict.
const RELEASE_ATTEMPTS: u32 = 3;

/// Place of the election.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// zstart's namespace.
    pub(crate) namespace: String,
    /// Name of the Lease.
    pub(crate) lease: String,
    /// Name of this pod.
    pub(crate) pod: String,
}

/// Cause of the end of a leadership.
#[derive(Debug, Error)]
pub enum LeadershipLost {
    /// The renewals failed.
    #[error(
        "failed to renew the Lease {lease} for {} seconds, so another replica may lead now{}",
        .deadline.as_secs(), hint(.source.is_some())
    )]
    Deadline {
        /// Namespace and name of the Lease.
        lease: String,
        /// The time limit.
        deadline: Duration,
        /// Error of the last attempt, if one failed. Without one, the process was paused.
        source: Option<Box<ElectionError>>,
    },
    /// Another process holds the Lease.
    #[error("the Lease {lease} names {holder} now; was it deleted, or edited by hand?")]
    Taken {
        /// Namespace and name of the Lease.
        lease: String,
        /// Name of the holder.
        holder: String,
    },
}

/// Guess at the cause of a missed deadline without a failed attempt.
fn hint(has_error: bool) -> &'static str {
    if has_error { "" } else { "; was this process paused?" }
}

/// Error of a request for the Lease.
#[derive(Debug, Error)]
pub enum ElectionError {
    /// The API server didn't answer.
    #[error("the API server didn't answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
    /// The API server refused.
    #[error(transparent)]
    Refused(#[from] kube::Error),
}

/// Result of an attempt.
enum Attempt {
    Leads,
    Waits { until: Instant },
}

/// Holds or awaits the Lease for this process.
pub(crate) struct Elector {
    leases: Api<Lease>,
    seat: Seat,
    timing: Timing,
    candidate: Candidate,
    leadership: Leadership,
    /// A write was sent, and its answer isn't known.
    is_uncertain: bool,
    /// Last reported holder or error.
    reported: Option<String>,
}

impl Elector {
    /// `client` must not be fenced by `leadership`.
    pub(crate) fn new(client: Client, seat: Seat, leadership: Leadership) -> Self {
        let timing = Timing::DEFAULT;
        // Unlike a pod's name, never the name of an earlier process, whose Lease must expire.
        let random = RandomState::new().build_hasher().finish();
        let identity = format!("{}_{random:016x}", seat.pod);
        Self {
            leases: Api::namespaced(client, &seat.namespace),
            seat,
            timing,
            candidate: Candidate::new(identity, timing),
            leadership,
            is_uncertain: false,
            reported: None,
        }
    }

    /// Waits until this process leads.
    pub(crate) async fn acquire(&mut self) {
        info!(lease = self.lease(), "waiting for the leadership");
        loop {
            // Between five and ten eighths of the period, so that candidates drift apart.
            let retry = Instant::now() + jittered(self.timing.retry_period * 5 / 4);
            match self.try_acquire().await {
                Ok(Attempt::Leads) => {
                    info!(lease = self.lease(), "this replica leads");
                    return;
                }
                Ok(Attempt::Waits { until }) => {
                    self.leadership.stand_by();
                    let holder = self.candidate.holder().unwrap_or("another replica").to_owned();
                    self.report(holder.clone(), || info!(holder, "standing by: another replica leads"));
                    // At once after the end of the Lease, instead of up to a period later.
                    sleep_until(retry.min(until)).await;
                }
                Err(error) => {
                    let (lease, error) = (self.lease(), chain(&error));
                    self.report(error.clone(), || warn!(lease, error, "failed to acquire the leadership"));
                    sleep_until(retry).await;
                }
            }
        }
    }

    /// Logs a state once.
    fn report(&mut self, state: String, log: impl FnOnce()) {
        if self.reported.as_ref() != Some(&state) {
            log();
            self.reported = Some(state);
        }
    }

    async fn try_acquire(&mut self) -> Result<Attempt, ElectionError> {
        self.read().await?;
        let sent = Instant::now();
        let step = self.candidate.step(&self.seat.lease, sent, Timestamp::now());
        let written = match step {
            Step::Wait { until, .. } => return Ok(Attempt::Waits { until }),
            Step::Create(lease) => self.write(&lease, true).await?,
            Step::Take(lease) => self.write(&lease, false).await?,
        };
        if written {
            self.leadership.extend(sent + self.timing.renew_deadline);
            Ok(Attempt::Leads)
        } else {
            // Another candidate was faster.
            Ok(Attempt::Waits { until: sent + self.timing.retry_period })
        }
    }

    /// Renews the Lease until that fails for too long.
    pub(crate) async fn renew(&mut self) -> LeadershipLost {
        let mut last_error = None;
        let mut next = Instant::now();
        loop {
            // After an attempt that took longer than the period, the next one begins at once.
            next = Instant::now().max(next + self.timing.retry_period);
            sleep_until(next).await;
            // Without this comparison, a process that continues after a pause would send a request.
            let Some(until) = self.leadership.until().filter(|until| Instant::now() < *until) else { break };
            match timeout_at(until, self.try_renew()).await {
                Ok(Ok(true)) => last_error = None,
                Ok(Ok(false)) => {
                    let holder = self.candidate.holder().unwrap_or("no replica").to_owned();
                    self.give_up();
                    return LeadershipLost::Taken { lease: self.lease(), holder };
                }
                Ok(Err(error)) => {
                    warn!(lease = self.lease(), error = chain(&error), "failed to renew the leadership");
                    last_error = Some(Box::new(error));
                }
                Err(_) => break,
            }
        }
        self.give_up();
        let deadline = self.timing.renew_deadline;
        LeadershipLost::Deadline { lease: self.lease(), deadline, source: last_error }
    }

    /// Ends the leadership without another request: the Lease may be another process's.
    fn give_up(&mut self) {
        self.leadership.end();
        self.candidate.observe(None, Instant::now());
        self.is_uncertain = false;
    }

    /// Renews once. Returns false if another process holds the Lease.
    async fn try_renew(&mut self) -> Result<bool, ElectionError> {
        let mut sent = Instant::now();
        // The version of the last write, which is the current one unless a person edited the Lease.
        let mut is_written = match self.candidate.renewal(Timestamp::now()) {
            Some(lease) => self.write(&lease, false).await?,
            None => false,
        };
        if !is_written {
            self.read().await?;
            sent = Instant::now();
            is_written = match (self.candidate.holder(), self.candidate.renewal(Timestamp::now())) {
                (_, Some(lease)) => self.write(&lease, false).await?,
                (Some(_), None) => return Ok(false),
                // Deleted or emptied by hand. Another candidate may be faster, and then has a conflict with this write.
                (None, None) => match self.candidate.step(&self.seat.lease, sent, Timestamp::now()) {
                    Step::Create(lease) => self.write(&lease, true).await?,
                    Step::Take(lease) => self.write(&lease, false).await?,
                    Step::Wait { .. } => false,
                },
            };
        }
        if is_written {
            self.leadership.extend(sent + self.timing.renew_deadline);
        }
        // After two conflicts, the next attempt knows more.
        Ok(true)
    }

    /// Ends the leadership and empties the Lease, so that another replica leads at once. The caller must have ended
    /// all work.
    pub(crate) async fn release(&mut self) {
        self.leadership.end();
        if !self.candidate.is_holder() && !self.is_uncertain {
            return;
        }
        match timeout(RELEASE_LIMIT, self.try_release()).await {
            Ok(Ok(true)) => info!(lease = self.lease(), "released the leadership"),
            Ok(Ok(false)) => info!(lease = self.lease(), "the leadership is another replica's"),
            Ok(Err(error)) => {
                warn!(lease = self.lease(), error = chain(&error), "failed to release the leadership");
            }
            Err(_) => {
                warn!(lease = self.lease(), limit = ?RELEASE_LIMIT, "failed to release the leadership in time");
            }
        }
    }

    async fn try_release(&mut self) -> Result<bool, ElectionError> {
        for _ in 0..RELEASE_ATTEMPTS {
            if self.is_uncertain {
                self.read().await?;
            }
            let Some(lease) = self.candidate.release(Timestamp::now()) else { break };
            if self.write(&lease, false).await? {
                return Ok(true);
            }
            self.is_uncertain = true;
        }
        Ok(false)
    }

    async fn read(&mut self) -> Result<(), ElectionError> {
        let lease = self.limited(self.leases.get_opt(&self.seat.lease)).await?;
        self.is_uncertain = false;
        self.candidate.observe(lease, Instant::now());
        Ok(())
    }

    /// Creates or replaces the Lease. Returns false after a conflict.
    async fn write(&mut self, lease: &Lease, is_new: bool) -> Result<bool, ElectionError> {
        let parameters = PostParams { field_manager: Some(keys::CONTROLLER.to_owned()), dry_run: false };
        self.is_uncertain = true;
        let answer = if is_new {
            self.limited(self.leases.create(&parameters, lease)).await
        } else {
            self.limited(self.leases.replace(&self.seat.lease, &parameters, lease)).await
        };
        match answer {
            Ok(lease) => {
                self.is_uncertain = false;
                self.candidate.observe(Some(lease), Instant::now());
                Ok(true)
            }
            Err(ElectionError::Refused(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
            {
                debug!(lease = self.lease(), reason = status.reason, "the Lease changed meanwhile");
                self.is_uncertain = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn limited<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, ElectionError> {
        let limit = self.timing.request_limit;
        Ok(timeout(limit, request).await.map_err(|_| ElectionError::Timeout(limit))??)
    }

    /// Namespace and name of the Lease.
    fn lease(&self) -> String {
        format!("{}/{}", self.seat.namespace, self.seat.lease)
    }
}
