//! Phase *resolve*: the digest of the source.

use zstart_convert::ErrorClass;
use zstart_convert::Resolved;
use zstart_core::record::record_name;
use zstart_core::{ImageConversion, Reference, variant};
use zstart_registry::{ManifestKey, Store};

use super::error::{ReconcileError, RecordError};
use super::requeue::LastVerified;
use super::status_writer::StatusWriter;

/// The record's source. Refuses records that the controller would not create itself.
pub(super) fn valid_source(record: &ImageConversion) -> Result<&Reference, RecordError> {
    let source = &record.spec.source;
    let normalised = source.identity();
    if source != &normalised {
        return Err(RecordError::NotNormalised {
            reference: source.to_string(),
            normalised: normalised.to_string(),
        });
    }
    let expected = record_name(source);
    if record.metadata.name.as_ref() != Some(&expected) {
        return Err(RecordError::Name { reference: source.to_string(), expected });
    }
    variant::require_source(source).map_err(|refusal| RecordError::NoSource(refusal.to_string()))
}

/// Whether the source and the variant's tag still have the digests of the last reconciliation. Costs two
/// requests.
pub(super) async fn is_unchanged(
    repository: &dyn Store,
    source: &Reference,
    last: &LastVerified,
    writer: &mut StatusWriter<'_>,
) -> Result<bool, ReconcileError> {
    let digest = zstart_convert::resolve_digest(repository, source).await.map_err(ReconcileError::Resolve)?;
    if digest != last.source {
        return Ok(false);
    }
    writer.set_resolved(&digest);
    let tag = variant::tag(source, &digest);
    match zstart_convert::resolve_digest(repository, ManifestKey::Tag(&tag)).await {
        Ok(found) => Ok(found == last.variant),
        // Some registries deny a tag that doesn't exist. The source was readable.
        Err(error) if matches!(error.class(), ErrorClass::NotFound | ErrorClass::PullDenied) => Ok(false),
        Err(error) => Err(ReconcileError::Convert(error)),
    }
}

/// Resolves the source and records its digest.
pub(super) async fn resolve(
    repository: &dyn Store,
    source: &Reference,
    writer: &mut StatusWriter<'_>,
) -> Result<Resolved, ReconcileError> {
    let resolved = zstart_convert::resolve(repository, source).await.map_err(ReconcileError::Resolve)?;
    writer.set_resolved(resolved.digest());
    Ok(resolved)
}
