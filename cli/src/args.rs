//! The command line: the only place where configuration enters.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use zstart_convert::{Level, Settings};
use zstart_core::Platform;
use zstart_process::log_filter::{self, LogFilter};

use crate::image_ref::ImageRef;
use crate::tune::quantity::{Bandwidth, SampleSize};

/// Container images with zstd layers: made from images that exist, proven to hold the same files.
#[derive(Debug, Parser)]
#[command(version, bin_name = bin_name(), after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// What to log, e.g. `info` or `zstart_convert=debug`.
    #[arg(
        long, global = true, value_name = "FILTER", default_value = "warn", env = "ZSTART_LOG",
        value_parser = log_filter::parse,
    )]
    pub(crate) log: LogFilter,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 another failure; 2 wrong usage; 3 image not found; 4 no right to pull or push;
5 registry away or rate limit; 6 content is not what its digest says; 7 image left alone (the
message says why); 8 the tag moved, or the variant's tag is taken; 130 stopped.";

/// `kubectl zstart` where it was started as that plugin.
fn bin_name() -> &'static str {
    let name = std::env::args_os().next().map(PathBuf::from);
    let plugin =
        name.as_deref().and_then(|name| name.file_stem()).is_some_and(|stem| stem == "kubectl-zstart");
    if plugin { "kubectl zstart" } else { "zstart" }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the zstd variant of an image.
    ///
    /// An image is a registry reference (`registry.example/app:v1`) or an OCI layout folder
    /// (`oci:FOLDER[:TAG]`). The source is never changed.
    Convert(ConvertArguments),
    /// Show an image's platforms, layers and compression, and whether it is a variant.
    Inspect(InspectArguments),
    /// Measure what each zstd level would make of an image: its size, and how soon it is pulled and
    /// unpacked. Nothing is written.
    Tune(TuneArguments),
    /// Print the `ImageConversion` custom resource definition.
    #[command(hide = true)]
    Crd,
}

/// Arguments of `zstart convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArguments {
    /// The image to convert.
    pub(crate) source: ImageRef,
    /// Where the variant goes. Without it: beside the source. Without a tag: under the tag that
    /// zstart derives from the source, e.g. `v1-zstd-1a2b3c4d5e6f`.
    pub(crate) target: Option<ImageRef>,
    /// zstd level, 1 (fastest) to 22 (smallest).
    #[arg(long, default_value = "3", value_parser = level)]
    pub(crate) level: Level,
    /// Convert only this platform, e.g. `linux/arm64`; can be given several times. Others stay in
    /// the index as they are.
    #[arg(long = "platform", value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platforms: Vec<Platform>,
    /// How many layers to work on at once. Each keeps two cores busy and takes 20 MiB, more from level 7
    /// on. Up to level 3, one of 32 MiB or more keeps three or four busy, takes 45 MiB and counts for
    /// two.
    #[arg(long, value_name = "COUNT", default_value_t = Settings::LAYERS_AT_ONCE, value_parser = layers_at_once)]
    pub(crate) layers_at_once: NonZero<usize>,
    /// Convert even where a variant exists, and replace what stands under its tag; layers that are
    /// zstd already too.
    #[arg(long)]
    pub(crate) force: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) layer_cache: LayerCacheArguments,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
}

/// What is kept from one run for the next.
#[derive(Debug, Args)]
pub(crate) struct LayerCacheArguments {
    /// Where to keep which layers were converted into what, so that later images on the same base don't
    /// convert it again (some 500 bytes a layer, 2 MiB at most). Whoever can write to it decides what
    /// images get: keep it as private as credentials. Without it: `zstart/layers.json` in
    /// `XDG_CACHE_HOME` or `~/.cache`.
    #[arg(long, value_name = "FILE", env = "ZSTART_LAYER_CACHE")]
    pub(crate) layer_cache: Option<OsString>,
    /// Neither read nor write such a file, whatever the environment names.
    #[arg(long)]
    pub(crate) no_layer_cache: bool,
}

/// Arguments of `zstart inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// The image to look at.
    pub(crate) image: ImageRef,
    /// Print as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
}

/// Arguments of `zstart tune`.
#[derive(Debug, Args)]
pub(crate) struct TuneArguments {
    /// The image to measure.
    pub(crate) image: ImageRef,
    /// A zstd level, 1 (fastest) to 22 (smallest); several with commas, or given several times.
    #[arg(
        long = "level", alias = "levels", value_name = "LEVEL", default_value = "1,3,6,9,12,15,19",
        value_delimiter = ',', value_parser = level,
    )]
    pub(crate) levels: Vec<Level>,
    /// A link to reckon with, in bits per second: a number with K, M or G; several as above.
    #[arg(long = "bandwidth", value_name = "BITS", default_value = "200M,1G,5G", value_delimiter = ',')]
    pub(crate) bandwidths: Vec<Bandwidth>,
    /// How much of the unpacked image is kept in memory to be encoded, spread evenly; in bytes, with K,
    /// M or G. More makes the figures surer, and takes longer. From level 10 on a quarter of it is
    /// encoded.
    #[arg(long, value_name = "SIZE", default_value = "288M")]
    pub(crate) sample: SampleSize,
    /// Of an index, the platform to measure. Without it: this machine's own, or else the first.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    /// Print as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
}

/// How registries are reached.
#[derive(Debug, Args)]
pub(crate) struct RegistryArguments {
    /// Reach this registry (`HOST[:PORT]`) over plain http. Loopback addresses always are.
    #[arg(long, value_name = "HOST")]
    pub(crate) plain_http: Vec<String>,
    /// Send credentials to this token server (`HOST`) too, where a registry asks for that. Without it:
    /// only to token servers of the registry's own domain.
    #[arg(long, value_name = "HOST")]
    pub(crate) token_server: Vec<String>,
    /// Credentials, in the form of Docker's config.json. Without it: `config.json` in the folder
    /// that `DOCKER_CONFIG` names, or in `~/.docker`.
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Docker's configuration folder.
    #[arg(long, value_name = "FOLDER", env = "DOCKER_CONFIG", hide = true)]
    pub(crate) docker_config: Option<PathBuf>,
}

fn level(text: &str) -> Result<Level, String> {
    let number: i32 = text.parse().map_err(|_| "a level is a whole number".to_owned())?;
    Level::try_from(number).map_err(|error| error.to_string())
}

fn layers_at_once(text: &str) -> Result<NonZero<usize>, String> {
    text.parse().map_err(|_| "a count is a whole number, 1 or more".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn invalid_argument_error_names_the_value() {
        for (arguments, said) in [
            (&["zstart", "convert", "app", "--level", "23"][..], "1 (fastest) to 22"),
            (&["zstart", "convert", "app", "--platform", "linux"], "os/architecture"),
            (&["zstart", "convert", "App"], "repository"),
            (&["zstart", "tune", "app", "--level", "1,23"], "1 (fastest) to 22"),
            (&["zstart", "tune", "app", "--bandwidth", "1G,fast"], "\"fast\" is not a bandwidth"),
            (&["zstart", "tune", "app", "--sample", "1M"], "at least 96.0 MiB"),
            (&["zstart", "crd", "--log", "inof"], "\"inof\" is neither a level"),
        ] {
            let error = Arguments::try_parse_from(arguments).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
