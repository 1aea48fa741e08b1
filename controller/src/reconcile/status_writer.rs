//! A record's status while its source is looked at: changed in memory, written where others wait for it.

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde_json::json;
use zstart_core::record::ImageConversionStatus;
use zstart_core::{ImageConversion, keys};

/// The status of one record, and what of it was written.
pub(super) struct StatusWriter<'a> {
    records: Api<ImageConversion>,
    record: &'a ImageConversion,
    status: ImageConversionStatus,
    written: ImageConversionStatus,
}

impl<'a> StatusWriter<'a> {
    pub(super) fn open(client: &Client, record: &'a ImageConversion) -> Self {
        let written = record.status.clone().unwrap_or_default();
        let mut status = written.clone();
        status.observed_generation = record.metadata.generation;
        Self { records: Api::all(client.clone()), record, status, written }
    }

    pub(super) fn status(&self) -> &ImageConversionStatus {
        &self.status
    }

    /// Changes it in memory.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut ImageConversionStatus, Timestamp)) {
        change(&mut self.status, Timestamp::now());
    }

    /// Writes it, if there is something new. A record that was made anew under the same name refuses
    /// what was found out for the earlier one.
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
