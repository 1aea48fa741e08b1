//! Writes a record's status: changes collect in memory until [`StatusWriter::write`].

use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use zstart_core::record::{HEALTHY, ImageConversionStatus, RecordReason, ResolvedSource};
use zstart_core::{Digest, ImageConversion, Platform, keys};

use super::error::ReconcileError;
use super::request_time::RequestTime;
use super::status::{self, VerifiedVariant};
use crate::api_clock::ApiClock;

/// The status of one record, and the version of it in the API server.
pub(super) struct StatusWriter<'a> {
    records: Api<ImageConversion>,
    record: &'a ImageConversion,
    clock: &'a ApiClock,
    status: ImageConversionStatus,
    written: ImageConversionStatus,
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
        // The healer owns this condition. An older copy of it would be written back.
        written.conditions.retain(|condition| condition.type_ != HEALTHY);
        // The measured pulls have a field manager of their own for the same reason.
        written.pulls = None;
        let mut status = unwritten.unwrap_or(&written).clone();
        status.observed_generation = record.metadata.generation;
        let records = Api::all(client.clone());
        Self { records, record, clock, status, written, is_immutable: false, looked_at: None }
    }

    pub(super) fn status(&self) -> &ImageConversionStatus {
        &self.status
    }

    /// Changes the status in memory.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut ImageConversionStatus, Timestamp)) {
        change(&mut self.status, Timestamp::now());
    }

    /// Time of the last request whose answer had the source's digest.
    pub(super) fn looked_at(&self) -> Option<Instant> {
        self.looked_at
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

    /// Sets the platforms that the verdict in the status covers.
    pub(super) fn set_platforms(&mut self, platforms: Option<Vec<Platform>>) {
        self.status.platforms = platforms;
    }

    pub(super) fn set_pending(&mut self, digest: &Digest) {
        self.update(|status, now| status::set_pending(status, digest, now));
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

    /// Writes the status if it changed. The patch carries the record's UID, so a record that was deleted
    /// and created again under the same name rejects it.
    pub(super) async fn write(&mut self) -> kube::Result<()> {
        if self.status == self.written {
            return Ok(());
        }
        let patch = json!({
            "apiVersion": ImageConversion::api_version(&()),
            "kind": ImageConversion::kind(&()),
            "metadata": {"name": self.record.name_any(), "uid": self.record.uid()},
            "status": self.status,
        });
        let parameters = PatchParams::apply(keys::CONTROLLER).force();
        self.records.patch_status(&self.record.name_any(), &parameters, &Patch::Apply(&patch)).await?;
        self.written = self.status.clone();
        Ok(())
    }
}
