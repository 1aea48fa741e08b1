//! `zstart convert`.

use std::time::Instant;

use zstart_convert::engine::{Execution, Existing};
use zstart_convert::{Job, Plan, Settings, engine};
use zstart_core::variant;

use self::outcome::{Action, Outcome};
use crate::args::ConvertArguments;
use crate::failure::Failure;
use crate::layer_cache::LayerCache;
use crate::place::Place;
use crate::progress;
use crate::registries::Registries;

mod outcome;

/// Makes the variant, or says what would be done.
pub(crate) async fn run(arguments: ConvertArguments) -> Result<(), Failure> {
    let started = Instant::now();
    let settings = settings(&arguments);
    let target_place = arguments.target.as_ref().unwrap_or(&arguments.source);
    let chosen_tag = arguments.target.as_ref().map(Place::target_tag).transpose()?.flatten();
    let name = arguments.source.name().await?;
    let registries = Registries::new(&arguments.registry);
    let source = arguments.source.open(&registries).await?;
    let target = target_place.open(&registries).await?;
    if source.location() == target.location() && chosen_tag.is_some() && chosen_tag.as_ref() == name.tag() {
        return Err(Failure::TargetIsSource { target: target_place.to_string() });
    }

    let resolved = engine::resolve(&*source, name.key()).await?;
    let mut plan = engine::plan(&*source, &resolved, &settings).await?;
    let tag = chosen_tag.unwrap_or_else(|| variant::tag_for(name.tag(), resolved.digest()));
    let outcome = |plan: &Plan, action, image| {
        Outcome::new(&arguments.source, target.location(), &tag, plan, action, image)
    };

    let same_place = source.location() == target.location();
    if plan.already_zstd() && same_place && !settings.force {
        return outcome(&plan, Action::Nothing, None).print(arguments.json);
    }
    if !settings.force {
        match engine::find_variant(&*target, &tag, &plan).await? {
            Existing::Variant(image) => {
                return outcome(&plan, Action::Reused, Some(image)).print(arguments.json);
            }
            Existing::Partial(platforms) => {
                let settings = settings.with_platforms(&platforms);
                plan = engine::plan(&*source, &resolved, &settings).await?;
            }
            Existing::Nothing => {}
        }
    }
    if arguments.dry_run {
        return outcome(&plan, Action::WouldConvert, None).print(arguments.json);
    }
    let cache = LayerCache::open(&arguments.layer_cache);
    let progress = progress::watcher(arguments.json);
    let job = Job {
        source: &*source,
        target: &*target,
        settings: &settings,
        memory: &cache.memory,
        progress: &*progress,
    };
    let Execution { image, layers_reused } = engine::execute(job, name.key(), &tag, &plan).await?;
    engine::verify(&*target, &tag, &plan, &image).await?;
    drop(progress);
    outcome(&plan, Action::Converted { took: started.elapsed(), layers_reused }, Some(image))
        .print(arguments.json)
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
