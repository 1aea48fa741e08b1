//! Look-ups before a conversion: a variant that exists already is reused.

use zstart_convert::{
    AcceptedSettings, Error, ErrorClass, Existing, FoundVariants, NamedVariant, Plan, Resolved, Settings,
    VariantImage, VariantSearch, find_variant, find_variants,
};
use zstart_core::{Tag, VariantNames};
use zstart_registry::{Store, TagListing};

use crate::error::CliError;

/// Inputs of a look-up.
#[derive(Clone, Copy)]
pub(super) struct Lookup<'a> {
    pub(super) source: &'a dyn Store,
    pub(super) target: &'a dyn Store,
    pub(super) resolved: &'a Resolved,
    pub(super) settings: &'a Settings,
}

/// Work that is left after a look-up.
pub(super) enum Work {
    /// None: the variant exists.
    Reuse { plan: Plan, variant: NamedVariant },
    /// A conversion.
    Convert {
        plan: Plan,
        /// The target's tags; `None` if they weren't read.
        listing: Option<TagListing>,
    },
}

impl Lookup<'_> {
    /// Looks at a tag that the user chose, which the conversion would overwrite.
    pub(super) async fn at(self, tag: &Tag, plan: Plan) -> Result<Work, CliError> {
        let plan = match find_variant(self.target, tag, &plan).await? {
            Existing::Variant(image) => {
                if self.is_intact(tag, &plan, &image).await? {
                    let variant = NamedVariant { tag: tag.clone(), image, is_complete: true };
                    return Ok(Work::Reuse { plan, variant });
                }
                plan
            }
            // The tag may name an image that the push would replace.
            Existing::Refused(error) | Existing::Unlisted(error) => {
                let (target, source) = (format!("{}:{tag}", self.target.location()), Box::new(error));
                return Err(CliError::TargetUnreadable { target, source });
            }
            Existing::Partial(platforms) => {
                let settings = self.settings.with_platforms(&platforms);
                zstart_convert::plan(self.source, self.resolved, &settings).await?
            }
            Existing::Nothing => plan,
        };
        Ok(Work::Convert { plan, listing: None })
    }

    /// Searches the variants of the source under derived names, which the conversion never overwrites.
    pub(super) async fn under(self, names: &VariantNames, plan: Plan) -> Result<Work, CliError> {
        let Self { source, target, resolved, settings } = self;
        let search = VariantSearch { target, names, known: None, settings, accepts: AcceptedSettings::Any };
        let FoundVariants { best, other_platforms, listing, .. } = find_variants(search, &plan).await?;
        if let Some(variant) = best.filter(|variant| variant.is_complete) {
            return Ok(Work::Reuse { plan, variant });
        }
        if other_platforms.is_empty() {
            return Ok(Work::Convert { plan, listing });
        }
        let settings = settings.with_platforms(&other_platforms);
        Ok(Work::Convert { plan: zstart_convert::plan(source, resolved, &settings).await?, listing })
    }

    /// Checks that the target still has everything that an existing variant names. An incomplete one is
    /// converted again.
    async fn is_intact(self, tag: &Tag, plan: &Plan, image: &VariantImage) -> Result<bool, CliError> {
        match zstart_convert::verify(self.target, tag, plan, image).await {
            Err(error @ Error::NotVerified { .. }) => {
                tracing::warn!(error = error.chain(), "the existing variant is incomplete, converting again");
                Ok(false)
            }
            verified => is_readable(verified).map(|_| true),
        }
    }
}

/// Tells a variant that was read back from one that the credentials may not read. Credentials that may push
/// and not pull can't verify a variant; that is no defect of the variant.
pub(super) fn is_readable(verified: Result<(), Error>) -> Result<bool, CliError> {
    match verified {
        Ok(()) => Ok(true),
        Err(error) if error.class() == ErrorClass::PullDenied => {
            tracing::warn!(error = error.chain(), "failed to verify the variant: it can't be read back");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
