//! `zstart rewrite`: replaces images in manifests and task definitions by their variants.

mod args;
mod error;
mod input;
mod outcome;
mod table;
mod write;

use std::collections::HashMap;

use futures::{StreamExt as _, stream};
use zstart_convert::{PlatformSelection, Settings};
use zstart_core::units::count;
use zstart_core::{Platform, Reference};
use zstart_rewrite::{Cpu, EditError, FoundImage, ImageValue, Target};

pub(crate) use self::args::RewriteArguments;
pub(crate) use self::error::RewriteError;
use self::input::Input;
use self::outcome::Outcome;
use self::table::Row;
use crate::convert::ready::{self, Found};
use crate::error::CliError;
use crate::layer_cache::LayerCacheFile;
use crate::output::{self, OutputFormat};
use crate::progress;
use crate::registries::Registries;

/// Number of images that are looked up concurrently.
const LOOKUPS_AT_ONCE: usize = 8;

/// Source and the platforms that its variant must have.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Wanted {
    source: Reference,
    /// Empty for all platforms.
    platforms: Vec<Platform>,
}

/// Index of an image's outcome, or the reason why the image needs none.
type Decision = Result<usize, String>;

/// File with its decisions and its new text.
struct Rewritten {
    input: Input,
    decisions: Vec<Decision>,
    text: String,
    /// Number of images that were replaced.
    replaced: usize,
}

/// Rewrites the files, or reports what a rewrite would do.
pub(crate) async fn run(arguments: RewriteArguments) -> Result<(), CliError> {
    let inputs = input::read(&arguments.files, arguments.recursive)?;
    require_output(&arguments, &inputs)?;
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut indexes: HashMap<Wanted, usize> = HashMap::new();
    let mut decide = |image: &FoundImage| -> Decision {
        let source = outcome::source(&image.value, &arguments.only)?.identity();
        let found = Wanted { source, platforms: platforms(&arguments.platforms, image.target) };
        Ok(*indexes.entry(found.clone()).or_insert_with(|| {
            wanted.push(found);
            wanted.len() - 1
        }))
    };
    let decisions: Vec<Vec<Decision>> =
        inputs.iter().map(|input| input.manifest.images().iter().map(&mut decide).collect()).collect();

    let registries = Registries::new(&arguments.registry);
    let mut outcomes = look_up(&registries, &wanted).await;
    if arguments.convert && !arguments.check {
        require_editable(&inputs, &decisions, &outcomes)?;
        convert(&arguments, &wanted, &mut outcomes).await;
    }
    let mut files = Vec::new();
    for (input, decisions) in inputs.into_iter().zip(decisions) {
        files.push(rewrite(input, decisions, &outcomes)?);
    }
    summarize(&files, &outcomes);
    if !arguments.check {
        write(&arguments, &files)?;
    }
    conclude(&arguments, &files, outcomes)
}

/// Requires a place for the result.
fn require_output(arguments: &RewriteArguments, inputs: &[Input]) -> Result<(), RewriteError> {
    if arguments.in_place && inputs.iter().any(|input| input.path.is_none()) {
        return Err(RewriteError::StdinInPlace);
    }
    if !arguments.in_place && !arguments.check && inputs.len() > 1 {
        return Err(RewriteError::SeveralFiles { count: inputs.len() });
    }
    Ok(())
}

/// Platforms that a variant needs: those that the user chose, or that of the task definition.
fn platforms(chosen: &[Platform], target: Target) -> Vec<Platform> {
    let Target::Ecs(Some(cpu)) = target else { return chosen.to_vec() };
    if !chosen.is_empty() {
        return chosen.to_vec();
    }
    let word = match cpu {
        Cpu::X86 => "linux/amd64",
        Cpu::Arm => "linux/arm64",
    };
    word.parse().into_iter().collect()
}

/// Requires that the images to convert can be replaced afterwards: a conversion is long.
fn require_editable(
    inputs: &[Input],
    decisions: &[Vec<Decision>],
    outcomes: &[Outcome],
) -> Result<(), RewriteError> {
    for (input, decisions) in inputs.iter().zip(decisions) {
        for (image, decision) in input.manifest.images().iter().zip(decisions) {
            let (Some(obstacle), Ok(index)) = (image.obstacle, decision) else { continue };
            if matches!(outcomes[*index], Outcome::Missing(_)) {
                let (file, document, line) = (input.name.clone(), image.document, image.line);
                let source = EditError::Obstacle { document, line, obstacle };
                return Err(RewriteError::Edit { file, source });
            }
        }
    }
    Ok(())
}

async fn look_up(registries: &Registries<'_>, wanted: &[Wanted]) -> Vec<Outcome> {
    let look_up = |Wanted { source, platforms }: &Wanted| {
        let (source, platforms) = (source.clone(), platforms.clone());
        async move {
            let platforms = if platforms.is_empty() {
                PlatformSelection::All
            } else {
                PlatformSelection::Only(platforms)
            };
            match ready::find(registries, &source, Settings { platforms, ..Settings::default() }).await {
                Ok(Found::Ready(variant)) => Outcome::Ready { variant, is_new: false },
                Ok(Found::AlreadyZstd) => Outcome::Left("left alone: its layers are zstd already".to_owned()),
                Ok(Found::Missing(missing)) => Outcome::Missing(missing),
                Err(error) => Outcome::of_error(error),
            }
        }
    };
    stream::iter(wanted.iter().map(look_up)).buffered(LOOKUPS_AT_ONCE).collect().await
}

/// Converts the images without a variant, one after the other: a conversion uses several cores by itself.
#[expect(clippy::print_stderr, reason = "progress of a command line")]
async fn convert(arguments: &RewriteArguments, wanted: &[Wanted], outcomes: &mut [Outcome]) {
    let cache = LayerCacheFile::open(&arguments.layer_cache);
    for (Wanted { source, .. }, outcome) in wanted.iter().zip(outcomes) {
        let Outcome::Missing(missing) = outcome else { continue };
        eprintln!("converting {source}");
        let progress = progress::reporter(OutputFormat::Text);
        *outcome = match missing.convert(&cache.entries, &*progress).await {
            Ok(variant) => Outcome::Ready { variant, is_new: true },
            Err(error) => Outcome::of_error(error),
        };
    }
}

/// Edits a file in memory.
fn rewrite(input: Input, decisions: Vec<Decision>, outcomes: &[Outcome]) -> Result<Rewritten, RewriteError> {
    let replacements: Vec<Option<String>> = input
        .manifest
        .images()
        .iter()
        .zip(&decisions)
        .map(|(image, decision)| {
            let (Ok(index), ImageValue::Reference(written)) = (decision, &image.value) else { return None };
            outcomes[*index].replacement(written, image.target).filter(|new| new != written)
        })
        .collect();
    let replaced = replacements.iter().flatten().count();
    let text = input.manifest.replace(&replacements);
    let text = text.map_err(|source| RewriteError::Edit { file: input.name.clone(), source })?;
    Ok(Rewritten { input, decisions, text, replaced })
}

/// Prints a line for each image.
#[expect(clippy::print_stderr, reason = "stdout has the rewritten file")]
fn summarize(files: &[Rewritten], outcomes: &[Outcome]) {
    let mut rows = Vec::new();
    for Rewritten { input, decisions, .. } in files {
        for (image, decision) in input.manifest.images().iter().zip(decisions) {
            let (ImageValue::Reference(text) | ImageValue::Expression(text)) = &image.value;
            rows.push(Row {
                place: format!("{}:{}", input.name, image.line),
                holder: image.holder.clone(),
                image: text.clone(),
                result: match decision {
                    Ok(index) => outcomes[*index].describe(),
                    Err(reason) => reason.clone(),
                },
            });
        }
    }
    if rows.is_empty() {
        let names: Vec<&str> = files.iter().map(|file| file.input.name.as_str()).collect();
        eprintln!("no image of a Kubernetes workload or an ECS task definition in {}", names.join(", "));
    }
    for line in table::lines(&rows) {
        eprintln!("{line}");
    }
}

/// Writes stdout, or the changed files.
fn write(arguments: &RewriteArguments, files: &[Rewritten]) -> Result<(), CliError> {
    for Rewritten { input, text, .. } in files {
        match &input.path {
            Some(path) if arguments.in_place => {
                if text != input.manifest.text() {
                    let file = input.name.clone();
                    write::replace(path, text).map_err(|source| RewriteError::Write { file, source })?;
                }
            }
            _ => output::print(text)?,
        }
    }
    Ok(())
}

/// Returns the first failure, then the result of `--check`.
fn conclude(
    arguments: &RewriteArguments,
    files: &[Rewritten],
    outcomes: Vec<Outcome>,
) -> Result<(), CliError> {
    let missing = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Missing(_))).count();
    for outcome in outcomes {
        if let Outcome::Failed(error) = outcome {
            return Err(error);
        }
    }
    if !arguments.check {
        return Ok(());
    }
    let replaced: usize = files.iter().map(|file| file.replaced).sum();
    if replaced > 0 {
        let changed = files.iter().filter(|file| file.replaced > 0).count();
        let (images, files) = (count(replaced, "image"), count(changed, "file"));
        return Err(RewriteError::Outdated { images, files }.into());
    }
    if arguments.convert && missing > 0 {
        return Err(RewriteError::Unconverted { images: count(missing, "image") }.into());
    }
    Ok(())
}
