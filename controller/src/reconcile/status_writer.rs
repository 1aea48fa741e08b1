//! Writes a record's status: changes collect in memory until [`StatusWriter::write`].

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use zstart_core::record::ImageConversionStatus;
use zstart_core::{Digest, ImageConversion, keys};

use super::error::ReconcileError;
use super::status::{self, VerifiedVariant};

/// The status of one record, and the version of it in the API server.
pub(super) struct StatusWriter<'a> {
    records: Api<ImageConversion>,
    record: &'a ImageConversion,
    status: ImageConversionStatus,
    written: ImageConversionStatus,
}

impl<'a> StatusWriter<'a> {
    /// Starts with the status that `record` had when it was read.
    pub(super) fn new(client: &Client, record: &'a ImageConversion) -> Self {
        let written = record.status.clone().unwrap_or_default();
        let mut status = written.clone();
        status.observed_generation = record.metadata.generation;
        Self { records: Api::all(client.clone()), record, status, written }
    }

    pub(super) fn status(&self) -> &ImageConversionStatus {
        &self.status
    }

    /// Changes the status in memory.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut ImageConversionStatus, Timestamp)) {
        change(&mut self.status, Timestamp::now());
    }

    pub(super) fn set_resolved(&mut self, digest: &Digest) {
        self.update(|status, now| status::set_resolved(status, digest, now));
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

    pub(super) fn set_already_zstd(&mut self) {
        self.update(status::set_already_zstd);
    }

    pub(super) fn set_failed(&mut self, error: &ReconcileError) {
        self.update(|status, now| status::set_failed(status, error, now));
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
