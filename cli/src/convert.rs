//! `zstart convert`.

use std::sync::Arc;
use std::time::Instant;

use zstart_convert::{
    Error, ErrorClass, Execution, Existing, Job, Plan, PlatformSelection, Settings, VariantImage,
};
use zstart_core::{Tag, variant};
use zstart_registry::Store;

use self::report::{ConvertReport, Outcome};
use crate::args::ConvertArguments;
use crate::error::CliError;
use crate::image_ref::SourceImage;
use crate::layer_cache::LayerCacheFile;
use crate::progress;
use crate::registries::Registries;

mod report;
mod source_guard;

/// Converts an image, or plans the conversion with `--dry-run`, and prints the outcome.
pub(crate) async fn run(arguments: ConvertArguments) -> Result<(), CliError> {
    let started = Instant::now();
    let settings = settings(&arguments);
    let chosen_tag = if let Some(target) = &arguments.target {
        target.target_tag()?
    } else {
        arguments.source.require_writable()?;
        None
    };
    let registries = Registries::new(&arguments.registry);
    let SourceImage { store: source, selector } = arguments.source.open_source(&registries).await?;
    let target = match &arguments.target {
        Some(target) => target.open_target(&registries).await?,
        None => Arc::clone(&source),
    };
    let same_repository = source.location() == target.location();
    if let Some(target) = &arguments.target
        && same_repository
        && chosen_tag.is_some()
        && chosen_tag.as_ref() == selector.tag()
    {
        return Err(CliError::TargetIsSource { target: target.to_string() });
    }

    let resolved = zstart_convert::resolve(&*source, selector.key()).await?;
    let mut plan = zstart_convert::plan(&*source, &resolved, &settings).await?;
    let is_chosen = chosen_tag.is_some();
    let tag = chosen_tag.unwrap_or_else(|| variant::tag_for(selector.tag(), resolved.digest()));
    if is_chosen && settings.force {
        source_guard::require_other_image(&*target, &tag, resolved.digest()).await?;
    }
    let format = arguments.output.format();
    let print = |plan: &Plan, outcome| {
        let source = &arguments.source;
        ConvertReport { source, target: target.location(), tag: &tag, plan, outcome }.print(format)
    };

    if plan.already_zstd() && same_repository && !settings.force {
        return print(&plan, Outcome::AlreadyZstd);
    }
    let mut is_lookup_refused = false;
    if !settings.force {
        match zstart_convert::find_variant(&*target, &tag, &plan).await? {
            Existing::Variant(image) => {
                if is_intact(&*target, &tag, &plan, &image).await? {
                    return print(&plan, Outcome::Reused { image });
                }
            }
            // A derived tag contains the source's digest. Another tag may name an image that the push would
            // replace.
            Existing::Refused(error) | Existing::Unlisted(error) if is_chosen => {
                let (target, source) = (format!("{}:{tag}", target.location()), Box::new(error));
                return Err(CliError::TargetUnreadable { target, source });
            }
            Existing::Refused(error) => {
                tracing::debug!(%tag, error = error.chain(), "failed to look for a variant");
                is_lookup_refused = true;
                // The tag may name a variant with more platforms than were selected.
                if settings.platforms != PlatformSelection::All {
                    tracing::warn!(
                        "converting all platforms: the registry refuses to show an earlier variant"
                    );
                    plan = zstart_convert::plan(&*source, &resolved, &settings.with_all_platforms()).await?;
                }
            }
            Existing::Partial(platforms) => {
                let settings = settings.with_platforms(&platforms);
                plan = zstart_convert::plan(&*source, &resolved, &settings).await?;
            }
            Existing::Unlisted(_) | Existing::Nothing => {}
        }
    }
    if arguments.dry_run {
        return print(&plan, Outcome::Planned { is_lookup_refused });
    }
    let cache = LayerCacheFile::open(&arguments.layer_cache);
    let progress = progress::reporter(format);
    let job = Job {
        source: &*source,
        target: &*target,
        settings: &settings,
        layer_cache: &cache.entries,
        progress: &*progress,
    };
    let Execution { image, layers_reused } =
        zstart_convert::execute(job, selector.key(), &tag, &plan).await?;
    let is_verified = is_readable(zstart_convert::verify_pushed(&*target, &tag, &plan, &image).await)?;
    drop(progress);
    print(&plan, Outcome::Converted { image, took: started.elapsed(), layers_reused, is_verified })
}

/// Checks that the target still has everything that an existing variant names. An incomplete one is
/// converted again.
async fn is_intact(
    target: &dyn Store,
    tag: &Tag,
    plan: &Plan,
    image: &VariantImage,
) -> Result<bool, CliError> {
    match zstart_convert::verify(target, tag, plan, image).await {
        Err(error @ Error::NotVerified { .. }) => {
            tracing::warn!(error = error.chain(), "the existing variant is incomplete, converting again");
            Ok(false)
        }
        verified => is_readable(verified).map(|_| true),
    }
}

/// Tells a variant that was read back from one that the credentials may not read. Credentials that may push
/// and not pull can't verify a variant; that is no defect of the variant.
fn is_readable(verified: Result<(), Error>) -> Result<bool, CliError> {
    match verified {
        Ok(()) => Ok(true),
        Err(error) if error.class() == ErrorClass::PullDenied => {
            tracing::warn!(error = error.chain(), "failed to verify the variant: it can't be read back");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn settings(arguments: &ConvertArguments) -> Settings {
    let platforms = if arguments.platforms.is_empty() {
        PlatformSelection::All
    } else {
        PlatformSelection::Only(arguments.platforms.clone())
    };
    Settings {
        level: arguments.level,
        platforms,
        layers_at_once: arguments.layers_at_once,
        force: arguments.force,
        ..Settings::default()
    }
}
