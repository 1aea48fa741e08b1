//! The records that exist, reduced to what the scheduler needs, and the creation of new ones.
//!
//! The watch carries metadata alone. The status is read when a record is reconciled.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
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
}

impl RecordMeta {
    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        let is_spec_of_controller = |entry: &ManagedFieldsEntry| {
            entry.manager.as_deref() == Some(keys::CONTROLLER) && entry.subresource.is_none()
        };
        Self {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            generation: metadata.generation,
            requests: Requests::of(metadata),
            is_own: metadata.managed_fields.iter().flatten().any(is_spec_of_controller),
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
