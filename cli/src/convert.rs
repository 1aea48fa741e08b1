//! `zstart convert`.

use std::sync::Arc;
use std::time::Instant;

use zstart_convert::{Execution, Job, NamedVariant, Plan, PlatformSelection, Settings, VariantTagging};
use zstart_core::VariantNames;
use zstart_registry::TagListing;

use self::lookup::{Lookup, Work, is_readable};
use self::report::{ConvertReport, Outcome, VariantName};
use crate::args::ConvertArguments;
use crate::error::CliError;
use crate::image_ref::{ManifestSelector, SourceImage};
use crate::layer_cache::LayerCacheFile;
use crate::progress;
use crate::registries::Registries;

mod lookup;
pub(crate) mod ready;
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
    let plan = zstart_convert::plan(&*source, &resolved, &settings).await?;
    let names = VariantNames::new(selector.tag(), resolved.digest());
    if let Some(tag) = &chosen_tag
        && settings.force
    {
        source_guard::require_other_image(&*target, tag, resolved.digest()).await?;
    }
    let format = arguments.output.format();
    let print = |plan: &Plan, name, outcome| {
        let source = &arguments.source;
        ConvertReport { source, target: target.location(), name, plan, outcome }.print(format)
    };
    let planned_name = match &chosen_tag {
        Some(tag) => VariantName::Tag(tag),
        None => VariantName::Prefix(names.prefix()),
    };

    if plan.already_zstd() && same_repository && !settings.force {
        return print(&plan, planned_name, Outcome::AlreadyZstd);
    }
    let lookup = Lookup { source: &*source, target: &*target, resolved: &resolved, settings: &settings };
    let work = match &chosen_tag {
        _ if settings.force => Work::Convert { plan, listing: None },
        Some(tag) => lookup.at(tag, plan).await?,
        None => lookup.under(&names, plan).await?,
    };
    let (plan, listing) = match work {
        Work::Reuse { plan, variant: NamedVariant { tag, image, is_complete: _ } } => {
            return print(&plan, VariantName::Tag(&tag), Outcome::Reused { image });
        }
        Work::Convert { plan, listing } => (plan, listing),
    };
    if arguments.dry_run {
        let is_lookup_refused = matches!(listing, Some(TagListing::Refused(_)));
        return print(&plan, planned_name, Outcome::Planned { is_lookup_refused });
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
    let tagging = match &chosen_tag {
        Some(tag) => VariantTagging::Chosen(tag),
        None => VariantTagging::Derived { names: &names, listing: listing.as_ref() },
    };
    // The log has the transcoder's faults.
    let (Execution { image, tag, layers_reused, transcoder_faults: _ }, is_verified) =
        execute(job, &selector, tagging, &plan).await?;
    drop(progress);
    let outcome = Outcome::Converted { image, took: started.elapsed(), layers_reused, is_verified };
    print(&plan, VariantName::Tag(&tag), outcome)
}

/// Converts by a plan and reads the variant back. Returns false if the credentials may not read the variant.
async fn execute(
    job: Job<'_>,
    selector: &ManifestSelector,
    tagging: VariantTagging<'_>,
    plan: &Plan,
) -> Result<(Execution, bool), CliError> {
    let execution = zstart_convert::execute(job, selector.key(), tagging, plan).await?;
    let verified = zstart_convert::verify_pushed(job.target, &execution.tag, plan, &execution.image).await;
    Ok((execution, is_readable(verified)?))
}

fn settings(arguments: &ConvertArguments) -> Settings {
    let platforms = if arguments.platforms.is_empty() {
        PlatformSelection::All
    } else {
        PlatformSelection::Only(arguments.platforms.clone())
    };
    Settings {
        level: arguments.level,
        method: arguments.method,
        verification: arguments.verify,
        platforms,
        layers_at_once: arguments.layers_at_once,
        force: arguments.force,
        ..Settings::default()
    }
}
