//! Phase *resolve*: the digest of the source.

use std::time::Duration;

use zstart_convert::Resolved;
use zstart_core::record::record_name;
use zstart_core::{Digest, ImageConversion, Reference, variant};
use zstart_registry::{ManifestKey, Store};

use super::error::{ReconcileError, RecordError};
use super::plan::is_present;
use super::status_writer::StatusWriter;
use super::verdict::{Verdict, VerdictKind, VerifiedTag};

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

/// Looks whether the last verdict on the source still holds; `None` if not.
///
/// Costs one HEAD: of the source's tag, or of the variant's tag for a source that is named by digest. A
/// second HEAD, of the variant's tag, follows once in an interval of `recheck`.
pub(super) async fn look(
    repository: &dyn Store,
    source: &Reference,
    last: &Verdict,
    recheck: Duration,
    writer: &mut StatusWriter<'_>,
) -> Result<Option<Verdict>, ReconcileError> {
    if source.digest().is_none() {
        let asked = writer.request_time();
        let digest =
            zstart_convert::resolve_digest(repository, source).await.map_err(ReconcileError::Resolve)?;
        if digest != last.source {
            return Ok(None);
        }
        writer.set_resolved(&digest, asked);
    }
    let VerdictKind::Variant(variant) = &last.kind else { return Ok(Some(last.clone())) };
    // Looks are up to a tenth of the interval early.
    if variant.checked_at.is_some_and(|checked_at| checked_at.elapsed() < recheck / 5 * 4) {
        return Ok(Some(last.clone()));
    }
    let Some(recorded) = writer.status().variant.as_ref().map(|variant| variant.reference.clone()) else {
        return Ok(None);
    };
    let asked = writer.request_time();
    if recorded.digest() != Some(&variant.digest) || !is_present(repository, &recorded).await? {
        return Ok(None);
    }
    if source.digest().is_some() {
        writer.set_resolved(&last.source, asked);
    }
    let variant = VerifiedTag { checked_at: Some(asked.instant), ..variant.clone() };
    Ok(Some(Verdict { source: last.source.clone(), kind: VerdictKind::Variant(variant) }))
}

/// Resolves the source and records its digest. Costs one HEAD, and nothing for a source that is named by digest.
pub(super) async fn resolve_digest(
    repository: &dyn Store,
    source: &Reference,
    writer: &mut StatusWriter<'_>,
) -> Result<Digest, ReconcileError> {
    if let Some(digest) = source.digest() {
        return Ok(digest.clone());
    }
    let asked = writer.request_time();
    let digest = zstart_convert::resolve_digest(repository, source).await.map_err(ReconcileError::Resolve)?;
    writer.set_resolved(&digest, asked);
    Ok(digest)
}

/// Reads the source's manifest or index, and records the digest of a source that is named by it.
pub(super) async fn resolve(
    repository: &dyn Store,
    source: &Reference,
    digest: &Digest,
    writer: &mut StatusWriter<'_>,
) -> Result<Resolved, ReconcileError> {
    let asked = writer.request_time();
    let key = ManifestKey::Digest(digest);
    let resolved = zstart_convert::resolve(repository, key).await.map_err(ReconcileError::Resolve)?;
    if source.digest().is_some() {
        writer.set_resolved(digest, asked);
    }
    Ok(resolved)
}
