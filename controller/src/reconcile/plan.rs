//! Phase *plan*: reuse a variant in the registry, or convert.

use zstart_convert::{
    AcceptedSettings, Error, ErrorClass, FoundVariants, NamedVariant, Plan, Resolved, Settings,
    VariantSearch, find_variants, resolve_digest,
};
use zstart_core::Reference;
use zstart_registry::{ManifestKey, Store, TagListing};

use super::error::ReconcileError;
use super::status::{self, Origin, VerifiedVariant};
use super::status_writer::StatusWriter;
use super::target::Target;

/// The work that a source needs.
pub(super) enum Planned {
    /// No work: every layer is zstd.
    AlreadyZstd,
    /// No work: the registry has a whole variant.
    Existing(NamedVariant),
    /// A conversion.
    Convert {
        plan: Plan,
        /// The repository's tags, if they were read.
        listing: Option<TagListing>,
    },
}

/// Plans the conversion of a resolved source and looks for its variants.
///
/// A recorded variant that the registry lost is removed from the status. One that is whole stays there if a
/// later step fails.
pub(super) async fn plan(
    target: Target<'_>,
    resolved: &Resolved,
    settings: &Settings,
    accepts: AcceptedSettings,
    writer: &mut StatusWriter<'_>,
) -> Result<Planned, ReconcileError> {
    let Target { repository, source, names } = target;
    let recorded = writer.status().variant.as_ref().map(|variant| variant.reference.clone());
    let plan = match zstart_convert::plan(repository, resolved, settings).await {
        Ok(plan) => plan,
        Err(error) => {
            if let Some(recorded) = &recorded
                && !is_present(repository, recorded).await?
            {
                writer.update(|status, _| status::remove_variant(status));
            }
            return Err(ReconcileError::convert(error));
        }
    };
    if plan.already_zstd() {
        return Ok(Planned::AlreadyZstd);
    }
    let search = VariantSearch { target: repository, names, known: recorded.as_ref(), settings, accepts };
    let FoundVariants { best, known_is_whole, other_platforms, listing } =
        find_variants(search, &plan).await.map_err(ReconcileError::Variant)?;
    if !known_is_whole {
        writer.update(|status, _| status::remove_variant(status));
    }
    match best {
        Some(variant) if variant.is_complete => return Ok(Planned::Existing(variant)),
        // It serves its platforms while the others are added.
        Some(variant) if writer.status().variant.is_none() => {
            writer.set_ready(&verified(source, resolved, variant));
        }
        Some(_) | None => {}
    }
    if other_platforms.is_empty() {
        return Ok(Planned::Convert { plan, listing });
    }
    // The new variant must be able to take the place of each.
    let settings = settings.with_platforms(&other_platforms);
    let plan = zstart_convert::plan(repository, resolved, &settings).await;
    Ok(Planned::Convert { plan: plan.map_err(ReconcileError::convert)?, listing })
}

fn verified(source: &Reference, resolved: &Resolved, variant: NamedVariant) -> VerifiedVariant {
    let NamedVariant { tag, image, is_complete: _ } = variant;
    VerifiedVariant {
        reference: source.with_tag_and_digest(tag, image.digest.clone()),
        source: resolved.digest().clone(),
        image,
        origin: Origin::Existing,
    }
}

/// Asks whether the tag of a recorded variant still names that variant.
pub(super) async fn is_present(repository: &dyn Store, variant: &Reference) -> Result<bool, ReconcileError> {
    let Some(tag) = variant.tag() else { return Ok(false) };
    match resolve_digest(repository, ManifestKey::Tag(tag)).await {
        Ok(found) => Ok(Some(&found) == variant.digest()),
        // Some registries deny a tag that doesn't exist. The source was readable.
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(ReconcileError::Variant(error)),
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error.class(), ErrorClass::NotFound | ErrorClass::PullDenied)
}
