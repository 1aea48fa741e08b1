//! Writes a record's status: changes collect in memory until [`StatusWriter::write`].

use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use zstart_core::record::{
    HEALTHY, ImageConversionStatus, RecordReason, Requests, ResolvedSource, condition,
};
use zstart_core::sweep::ConfirmationKey;
use zstart_core::{Digest, ImageConversion, Platform, keys};

use super::error::ReconcileError;
use super::request_time::RequestTime;
use super::requeue::Confirmation;
use super::status::{self, VerifiedVariant};
use crate::api_clock::ApiClock;

/// The status of one record, and the version of it in the API server.
pub(super) struct StatusWriter<'a> {
    records: Api<ImageConversion>,
    record: &'a ImageConversion,
    clock: &'a ApiClock,
    status: ImageConversionStatus,
    written: ImageConversionStatus,
    /// The healer owns the condition `Healthy`. An older copy of it would be written back.
    is_healers: bool,
    /// The source's tag can't move.
    is_immutable: bool,
    /// Time of the last request whose answer had the source's digest.
    looked_at: Option<Instant>,
}

impl<'a> StatusWriter<'a> {
    /// Starts with the status that `record` had when it was read, and with `unwritten` in its place if the API server
    /// rejected that status before.
    pub(super) fn new(
        client: &Client,
        clock: &'a ApiClock,
        record: &'a ImageConversion,
        unwritten: Option<&ImageConversionStatus>,
    ) -> Self {
        let mut written = record.status.clone().unwrap_or_default();
        // The measured pulls have a field manager of their own. An older copy of them would be written back.
        written.pulls = None;
        let is_healers = condition(&written, HEALTHY).is_some() && !owns_health(&record.metadata);
        let mut status = unwritten.unwrap_or(&written).clone();
        status.observed_generation = record.metadata.generation;
        let records = Api::all(client.clone());
        let looked_at = None;
        let mut writer =
            Self { records, record, clock, status, written, is_healers, is_immutable: false, looked_at };
        if is_healers {
            writer.leave_health();
        }
        writer
    }

    /// Leaves the condition `Healthy` to the healer.
    fn leave_health(&mut self) {
        self.is_healers = true;
        for status in [&mut self.status, &mut self.written] {
            status.conditions.retain(|condition| condition.type_ != HEALTHY);
        }
    }

    pub(super) fn status(&self) -> &ImageConversionStatus {
        &self.status
    }

    /// Changes the status in memory.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut ImageConversionStatus, Timestamp)) {
        change(&mut self.status, Timestamp::now());
        if self.is_healers {
            self.leave_health();
        }
    }

    /// Time of the last request whose answer had the source's digest.
    pub(super) fn looked_at(&self) -> Option<Instant> {
        self.looked_at
    }

    /// The confirmation that the last request got.
    pub(super) fn confirmation(&self) -> Option<Confirmation> {
        self.looked_at?;
        let source = self.status.source.as_ref()?;
        let key = ConfirmationKey::new(&self.record.name_any(), &source.digest);
        Some(Confirmation { key, at: source.checked_at.0 })
    }

    pub(super) fn is_immutable(&self) -> bool {
        self.is_immutable
    }

    /// Sets whether the source's tag can't move. Recorded with the next digest.
    pub(super) fn set_immutable(&mut self, is_immutable: bool) {
        self.is_immutable = is_immutable;
    }

    /// Time of a request that is about to be sent.
    pub(super) fn request_time(&self) -> RequestTime {
        RequestTime::now(self.clock)
    }

    /// Records the answer to a request of this time.
    pub(super) fn set_resolved(&mut self, digest: &Digest, asked: RequestTime) {
        let checked_at = Time(asked.clock);
        let source = ResolvedSource { digest: digest.clone(), checked_at, immutable: self.is_immutable };
        self.looked_at = Some(asked.instant);
        self.update(|status, now| status::set_resolved(status, source, now));
    }

    /// Sets the platforms that the verdict in the status covers, and the requests on the record as answered.
    pub(super) fn set_answered(&mut self, platforms: Option<Vec<Platform>>) {
        self.status.platforms = platforms;
        self.status.answered = Requests::of(&self.record.metadata).into_some();
    }

    pub(super) fn set_pending(&mut self, digest: &Digest, waiting: usize) {
        self.update(|status, now| status::set_pending(status, digest, waiting, now));
    }

    pub(super) fn set_converting(&mut self, digest: &Digest) {
        self.update(|status, now| status::set_converting(status, digest, now));
    }

    pub(super) fn set_ready(&mut self, variant: &VerifiedVariant) {
        self.update(|status, now| status::set_ready(status, variant, now));
    }

    pub(super) fn set_unchanged(&mut self) {
        self.update(status::set_unchanged);
    }

    /// Records that the first look waits.
    pub(super) fn set_waiting(&mut self, reason: RecordReason, message: &str) {
        self.update(|status, now| status::set_unconverted(status, reason, message, now));
    }

    pub(super) fn set_already_zstd(&mut self) {
        self.update(status::set_already_zstd);
    }

    pub(super) fn set_failed(&mut self, error: &ReconcileError) {
        self.update(|status, now| status::set_failed(status, error, now));
    }

    /// Returns whether the status that was read reports this failure already.
    pub(super) fn reported(&self, reason: RecordReason) -> bool {
        let is_reported =
            |condition: &Condition| condition.status == "False" && condition.reason == reason.as_str();
        self.written.conditions.iter().any(is_reported)
    }

    /// Writes the status if it changed in more than the time of the look, which the sweep has. Returns whether it
    /// did. The patch carries the record's UID, so a record that was deleted and created again under the same name
    /// rejects it.
    pub(super) async fn write(&mut self) -> kube::Result<bool> {
        if !self.is_changed() {
            return Ok(false);
        }
        // The API server refuses an apply without force if another manager has changed a field since.
        let has_health = condition(&self.status, HEALTHY).is_some();
        match self.apply(!has_health).await {
            Err(kube::Error::Api(status)) if status.code == 409 && has_health => {
                self.leave_health();
                self.apply(true).await?;
            }
            result => result?,
        }
        self.written = self.status.clone();
        Ok(true)
    }

    async fn apply(&self, is_forced: bool) -> kube::Result<()> {
        let patch = json!({
            "apiVersion": ImageConversion::api_version(&()),
            "kind": ImageConversion::kind(&()),
            "metadata": {"name": self.record.name_any(), "uid": self.record.uid()},
            "status": self.status,
        });
        let parameters = PatchParams { force: is_forced, ..PatchParams::apply(keys::CONTROLLER) };
        self.records.patch_status(&self.record.name_any(), &parameters, &Patch::Apply(&patch)).await?;
        Ok(())
    }

    fn is_changed(&self) -> bool {
        let (Some(now), Some(before)) = (&self.status.source, &self.written.source) else {
            return self.status != self.written;
        };
        let source = ResolvedSource { checked_at: before.checked_at.clone(), ..now.clone() };
        ImageConversionStatus { source: Some(source), ..self.status.clone() } != self.written
    }
}

/// Returns whether a reconciliation was the last to write the condition `Healthy`.
fn owns_health(record: &ObjectMeta) -> bool {
    let key = format!("k:{}", json!({"type": HEALTHY}));
    record.managed_fields.iter().flatten().any(|entry| {
        let conditions =
            entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:status")?.get("f:conditions"));
        entry.manager.as_deref() == Some(keys::CONTROLLER)
            && conditions.and_then(|conditions| conditions.get(&key)?.get("f:status")).is_some()
    })
}
