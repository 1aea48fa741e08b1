//! `zstart convert`.

use std::time::Instant;

use zstart_convert::{Execution, Existing};
use zstart_convert::{Job, Plan, Settings};
use zstart_core::variant;

use self::report::{ConvertReport, Outcome};
use crate::args::ConvertArguments;
use crate::error::CliError;
use crate::image_ref::ImageRef;
use crate::layer_cache::LayerCacheFile;
use crate::progress;
use crate::registries::Registries;

mod report;

/// Converts an image, or plans the conversion with `--dry-run`, and prints the outcome.
pub(crate) async fn run(arguments: ConvertArguments) -> Result<(), CliError> {
    let started = Instant::now();
    let settings = settings(&arguments);
    let target_image = arguments.target.as_ref().unwrap_or(&arguments.source);
    let chosen_tag = arguments.target.as_ref().map(ImageRef::target_tag).transpose()?.flatten();
    let selector = arguments.source.selector().await?;
    let registries = Registries::new(&arguments.registry);
    let source = arguments.source.open(&registries).await?;
    let target = target_image.open(&registries).await?;
    let same_repository = source.location() == target.location();
    if same_repository && chosen_tag.is_some() && chosen_tag.as_ref() == selector.tag() {
        return Err(CliError::TargetIsSource { target: target_image.to_string() });
    }

    let resolved = zstart_convert::resolve(&*source, selector.key()).await?;
    let mut plan = zstart_convert::plan(&*source, &resolved, &settings).await?;
    let tag = chosen_tag.unwrap_or_else(|| variant::tag_for(selector.tag(), resolved.digest()));
    let format = arguments.output.format();
    let print = |plan: &Plan, outcome| {
        let source = &arguments.source;
        ConvertReport { source, target: target.location(), tag: &tag, plan, outcome }.print(format)
    };

    if plan.already_zstd() && same_repository && !settings.force {
        return print(&plan, Outcome::AlreadyZstd);
    }
    if !settings.force {
        match zstart_convert::find_variant(&*target, &tag, &plan).await? {
            Existing::Variant(image) => return print(&plan, Outcome::Reused { image }),
            Existing::Partial(platforms) => {
                let settings = settings.with_platforms(&platforms);
                plan = zstart_convert::plan(&*source, &resolved, &settings).await?;
            }
            Existing::Nothing => {}
        }
    }
    if arguments.dry_run {
        return print(&plan, Outcome::Planned);
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
    zstart_convert::verify(&*target, &tag, &plan, &image).await?;
    drop(progress);
    print(&plan, Outcome::Converted { image, took: started.elapsed(), layers_reused })
}

fn settings(arguments: &ConvertArguments) -> Settings {
    let platforms = if arguments.platforms.is_empty() {
        zstart_convert::PlatformSelection::All
    } else {
        zstart_convert::PlatformSelection::Only(arguments.platforms.clone())
    };
    Settings {
        level: arguments.level,
        platforms,
        layers_at_once: arguments.layers_at_once,
        force: arguments.force,
        ..Settings::default()
    }
}
