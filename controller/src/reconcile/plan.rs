//! Phase *plan*: reuse the variant in the registry, or convert.

use zstart_convert::{Error, Existing, Resolved};
use zstart_convert::{Plan, Settings, VariantImage};

use super::error::ReconcileError;
use super::status;
use super::status_writer::StatusWriter;
use super::target::Target;
use super::verify::verify_existing;

/// The work that a source needs.
pub(super) enum Planned {
    /// No work: every layer is zstd.
    AlreadyZstd,
    /// No work: the registry has a complete variant.
    Existing(VariantImage),
    /// A conversion.
    Convert(Plan),
}

/// Plans the conversion of a resolved source and looks for its variant.
pub(super) async fn plan(
    target: Target<'_>,
    resolved: &Resolved,
    settings: &Settings,
    writer: &mut StatusWriter<'_>,
) -> Result<Planned, ReconcileError> {
    let Target { repository, tag, .. } = target;
    let plan = zstart_convert::plan(repository, resolved, settings).await.map_err(ReconcileError::Convert)?;
    if plan.already_zstd() {
        return Ok(Planned::AlreadyZstd);
    }
    let found = zstart_convert::find_variant(repository, tag, &plan).await;
    if matches!(found, Ok(Existing::Nothing | Existing::Unlisted(_)) | Err(Error::VariantConflict { .. })) {
        // A recorded variant is gone.
        writer.update(|status, _| status::remove_variant(status));
    }
    match found.map_err(ReconcileError::Convert)? {
        Existing::Nothing | Existing::Unlisted(_) => Ok(Planned::Convert(plan)),
        // The tag contains the source's digest, so the push replaces no image of a user's. It may replace a
        // variant with more platforms.
        Existing::Refused(error) => {
            tracing::debug!(%tag, error = error.chain(), "failed to look for a variant");
            let plan = zstart_convert::plan(repository, resolved, &settings.with_all_platforms()).await;
            plan.map(Planned::Convert).map_err(ReconcileError::Convert)
        }
        Existing::Variant(image) => {
            if let Some(image) = verify_existing(target, &plan, image).await? {
                return Ok(Planned::Existing(image));
            }
            writer.update(|status, _| status::remove_variant(status));
            Ok(Planned::Convert(plan))
        }
        // The new variant must cover the platforms of the old one too.
        Existing::Partial(platforms) => {
            let settings = settings.with_platforms(&platforms);
            let plan = zstart_convert::plan(repository, resolved, &settings).await;
            plan.map(Planned::Convert).map_err(ReconcileError::Convert)
        }
    }
}
