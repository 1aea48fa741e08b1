//! The records that exist, reduced to what the scheduler needs, and the requests that create, mark and delete them.
//!
//! The watch carries metadata alone. The status is read when a record is reconciled.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use zstart_core::record::{ImageConversionSpec, Requests};
use zstart_core::{ImageConversion, Reference, keys};

/// Record, reduced. A status that changes doesn't change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordMeta {
    pub(crate) uid: Box<str>,
    pub(crate) generation: Option<i64>,
    pub(crate) requests: Requests,
    /// The controller made the record, for a source in demand.
    pub(crate) is_own: bool,
    /// Time since which no workload uses the source, by [`keys::UNUSED_SINCE`].
    pub(crate) unused_since: Option<Timestamp>,
}

impl RecordMeta {
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        let is_spec_of_controller = |entry: &ManagedFieldsEntry| {
            entry.manager.as_deref() == Some(keys::CONTROLLER) && entry.subresource.is_none()
        };
        let annotation = |key| metadata.annotations.as_ref().and_then(|all| all.get(key));
        Self {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            generation: metadata.generation,
            requests: Requests::of(metadata),
            is_own: metadata.managed_fields.iter().flatten().any(is_spec_of_controller),
            unused_since: annotation(keys::UNUSED_SINCE).and_then(|time| time.parse().ok()),
        }
    }
}

/// Creates the record of a source.
pub(crate) async fn create(client: &Client, name: &str, source: Reference) -> kube::Result<RecordMeta> {
    let records: Api<ImageConversion> = Api::all(client.clone());
    let record = ImageConversion::new(name, ImageConversionSpec { source });
    let created = records.patch(name, &PatchParams::apply(keys::CONTROLLER), &Patch::Apply(&record)).await?;
    Ok(RecordMeta::of(&created.metadata))
}

/// Reads the source of a record.
pub(crate) async fn source_of(client: &Client, name: &str) -> kube::Result<Option<Reference>> {
    let record = Api::<ImageConversion>::all(client.clone()).get_opt(name).await?;
    Ok(record.map(|record| record.spec.source))
}

/// Notes since when no workload uses a record, or with `None` that one does. Returns the record; `None` if it is gone.
pub(crate) async fn mark_unused(
    client: &Client,
    name: &str,
    uid: &str,
    since: Option<Timestamp>,
) -> kube::Result<Option<RecordMeta>> {
    let annotations = json!({ keys::UNUSED_SINCE: since.map(|since| since.to_string()) });
    let patch = json!({"metadata": {"uid": uid, "annotations": annotations}});
    let parameters =
        PatchParams { field_manager: Some(keys::CONTROLLER.to_owned()), ..PatchParams::default() };
    let records: Api<ImageConversion> = Api::all(client.clone());
    match records.patch_metadata(name, &parameters, &Patch::Merge(&patch)).await {
        Ok(record) => Ok(Some(RecordMeta::of(&record.metadata))),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => {
            // Another record may have the name. Other writers can be the cause of a conflict too.
            let is_conflict = matches!(&error, kube::Error::Api(status) if status.is_conflict());
            if is_conflict
                && records
                    .get_metadata_opt(name)
                    .await?
                    .is_none_or(|found| found.uid() != Some(uid.to_owned()))
            {
                return Ok(None);
            }
            Err(error)
        }
    }
}

/// Deletes a record. A record that was deleted and created again stays.
pub(crate) async fn delete(client: &Client, name: &str, uid: &str) -> kube::Result<()> {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let records: Api<ImageConversion> = Api::all(client.clone());
    match records.delete(name, &parameters).await {
        // The record is gone, or another one has its name.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        result => result.map(drop),
    }
}
