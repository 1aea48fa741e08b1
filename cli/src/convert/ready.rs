//! Variant in the repository of its source: an existing one, or a new one.

use std::sync::Arc;

use zstart_convert::{
    Execution, Job, LayerCache, NamedVariant, Plan, Progress, Settings, VariantImage, VariantTagging,
};
use zstart_core::{Reference, Tag, VariantNames};
use zstart_registry::{Store, TagListing};

use super::execute;
use super::lookup::{Lookup, Work};
use crate::error::CliError;
use crate::image_ref::SourceImage;
use crate::registries::Registries;

/// Result of a search.
pub(crate) enum Found {
    /// A whole variant with every selected platform.
    Ready(ReadyVariant),
    /// All layers of the source are zstd.
    AlreadyZstd,
    /// No such variant.
    Missing(Box<Missing>),
}

/// Whole variant.
pub(crate) struct ReadyVariant {
    pub(crate) tag: Tag,
    pub(crate) image: VariantImage,
}

/// Source without a variant, and the plan of its conversion.
pub(crate) struct Missing {
    source: SourceImage,
    names: VariantNames,
    settings: Settings,
    plan: Plan,
    listing: Option<TagListing>,
}

/// Searches the variant of an image. Its manifests and blobs must exist and name the image as their source.
pub(crate) async fn find(
    registries: &Registries<'_>,
    reference: &Reference,
    settings: Settings,
) -> Result<Found, CliError> {
    let source = SourceImage::of(registries, reference).await?;
    let store = Arc::clone(&source.store);
    let resolved = zstart_convert::resolve(&*store, source.selector.key()).await?;
    let plan = zstart_convert::plan(&*store, &resolved, &settings).await?;
    if plan.already_zstd() {
        return Ok(Found::AlreadyZstd);
    }
    let names = VariantNames::new(source.selector.tag(), resolved.digest());
    let lookup = Lookup { source: &*store, target: &*store, resolved: &resolved, settings: &settings };
    Ok(match lookup.under(&names, plan).await? {
        Work::Reuse { plan: _, variant: NamedVariant { tag, image, is_complete: _ } } => {
            Found::Ready(ReadyVariant { tag, image })
        }
        Work::Convert { plan, listing } => {
            Found::Missing(Box::new(Missing { source, names, settings, plan, listing }))
        }
    })
}

impl Missing {
    /// Converts the source.
    pub(crate) async fn convert(
        &self,
        layer_cache: &LayerCache,
        progress: &dyn Progress,
    ) -> Result<ReadyVariant, CliError> {
        let Self { source, names, settings, plan, listing } = self;
        let store: &dyn Store = &*source.store;
        let job = Job { source: store, target: store, settings, layer_cache, progress };
        let tagging = VariantTagging::Derived { names, listing: listing.as_ref() };
        let (Execution { image, tag, .. }, _) = execute(job, &source.selector, tagging, plan).await?;
        Ok(ReadyVariant { tag, image })
    }
}
