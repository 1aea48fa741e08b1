//! `zstart tune`.

use zstart_convert::plan::ManifestPlan;
use zstart_convert::{Plan, PlatformSelection, Settings};
use zstart_core::Platform;
use zstart_tune::TuneOptions;

use self::report::JsonTuneReport;
use crate::args::TuneArguments;
use crate::error::CliError;
use crate::image_ref::SourceImage;
use crate::progress;
use crate::registries::Registries;

pub(crate) mod node;
pub(crate) mod quantity;
mod report;
mod table;

/// Measures an image and prints a report.
pub(crate) async fn run(arguments: TuneArguments) -> Result<(), CliError> {
    let registries = Registries::new(&arguments.registry);
    let SourceImage { store: source, selector } = arguments.image.open_source(&registries).await?;
    let platforms = arguments
        .platform
        .clone()
        .map_or(PlatformSelection::All, |platform| PlatformSelection::Only(vec![platform]));
    let resolved = zstart_convert::resolve(&*source, selector.key()).await?;
    let plan =
        zstart_convert::plan(&*source, &resolved, &Settings { platforms, ..Settings::default() }).await?;
    let image = choose(&plan);
    let bandwidths = arguments.bandwidths.iter().map(|bandwidth| bandwidth.bits_per_second()).collect();
    let options = TuneOptions {
        levels: arguments.levels,
        sample_bytes: arguments.sample.bytes(),
        bandwidths,
        node: arguments.node.into(),
    };
    let format = arguments.output.format();
    let progress = progress::reporter(format);
    let tune_report = zstart_tune::tune(&*source, image, &options, &*progress).await?;
    drop(progress);
    let report = JsonTuneReport::new(&arguments.image, image, &options, &tune_report);
    format.print(&report, || {
        table::lines(&arguments.image, image, &arguments.bandwidths, options.node, &tune_report)
    })
}

/// Returns the image of this machine's platform, or the first image if none fits.
fn choose(plan: &Plan) -> &ManifestPlan {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    // Containers run on Linux, even if this machine runs another operating system.
    let own = Platform::new("linux", architecture);
    let mut images = plan.conversions();
    let Some(first) = images.next() else { unreachable!("a plan has at least one conversion") };
    if own.accepts(&first.platform) {
        first
    } else {
        images.find(|image| own.accepts(&image.platform)).unwrap_or(first)
    }
}
