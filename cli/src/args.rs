//! Command line arguments. Configuration enters the program only here.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use strum::VariantNames;
use zstart_convert::{Level, Method, Settings, Verification};
use zstart_core::Platform;
use zstart_process::log_filter::{self, LogFilter};

use crate::cluster::ClusterArguments;
use crate::image_ref::ImageRef;
use crate::opt_in::{DisableArguments, EnableArguments};
use crate::output::OutputFormat;
use crate::records::RecordArguments;
use crate::registries::RegistryArguments;
use crate::report::ReportArguments;
use crate::rewrite::RewriteArguments;
use crate::status::StatusArguments;
use crate::tune::node::GzipDecoder;
use crate::tune::quantity::{Bandwidth, SampleSize};

/// Convert container images to zstd layers, and verify that the layers unpack to the same bytes.
#[derive(Debug, Parser)]
#[command(name = "zstart", version, bin_name = bin_name(), after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// Subcommand.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Log filter: a level, or MODULE=LEVEL, e.g. `info` or `zstart_registry=debug`. Separate several
    /// with commas.
    #[arg(
        long, global = true, value_name = "FILTER", default_value = "warn", env = "ZSTART_LOG",
        value_parser = log_filter::parse,
    )]
    pub(crate) log: LogFilter,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  success
    1  any other failure; a failed check of `zstart check`
    2  wrong usage
    3  image not found
    4  pull or push denied
    5  registry unreachable, or its rate limit reached
    6  content does not match its digest or diff_id, or a variant its source
    7  image can't be converted; the message says why
    8  the source's tag moved, or the variant's tag holds another image
    9  `zstart rewrite --check` found an image to replace or to convert
  130  stopped by a signal";

/// Returns `kubectl zstart` if the program was started as that plugin.
fn bin_name() -> &'static str {
    let name = std::env::args_os().next().map(PathBuf::from);
    let plugin =
        name.as_deref().and_then(|name| name.file_stem()).is_some_and(|stem| stem == "kubectl-zstart");
    if plugin { "kubectl zstart" } else { "zstart" }
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Convert an image to zstd layers.
    ///
    /// An image is a registry reference (`registry.example/app:v1`, or `docker://…` with that), an OCI
    /// layout folder (`oci:FOLDER[:NAME|@DIGEST]`), or a tar archive of one
    /// (`oci-archive:FILE[:NAME|@DIGEST]`, for reading only). A layout that holds one image needs no name.
    ///
    /// The result is a new image, the variant. The source is never changed.
    Convert(ConvertArguments),
    /// Replace the images of Kubernetes manifests, Amazon ECS task definitions, CloudFormation templates and Terraform files
    /// by their variants.
    ///
    /// The command looks for each image's variant in the image's own repository, needs no cluster, and changes the
    /// image references and no other byte of a file. It writes one file to stdout, or any number with `--in-place`,
    /// and prints what it did with each image to stderr. An image without a variant stays as it is.
    ///
    /// A failed look-up or conversion leaves its image as it is; the exit code tells. A file that can't be edited
    /// exactly is an error (exit code 2), and then nothing is written.
    Rewrite(RewriteArguments),
    /// Show an image's platforms, layers and compression, and whether the image is a variant.
    ///
    /// An image is a registry reference (`registry.example/app:v1`, or `docker://…` with that), an OCI
    /// layout folder (`oci:FOLDER[:NAME|@DIGEST]`), or a tar archive of one
    /// (`oci-archive:FILE[:NAME|@DIGEST]`).
    Inspect(InspectArguments),
    /// Measure the size and the pull time of an image at several zstd levels.
    ///
    /// The pull time includes unpacking. The command reads the image and writes nothing.
    ///
    /// An image is a registry reference (`registry.example/app:v1`, or `docker://…` with that), an OCI
    /// layout folder (`oci:FOLDER[:NAME|@DIGEST]`), or a tar archive of one
    /// (`oci-archive:FILE[:NAME|@DIGEST]`).
    Tune(TuneArguments),
    /// Compare a variant with its source, layer by layer, with code that the conversion doesn't use.
    ///
    /// The command reads both images whole and writes nothing. It compares the uncompressed bytes of each
    /// layer with those of the source and with the config's `diff_ids`, and also configs, platforms, history
    /// and annotations. Registry client, decoders and hash function are others than those of `convert`.
    ///
    /// An image is a registry reference (`registry.example/app:v1`, or `docker://…` with that) or an OCI
    /// layout folder (`oci:FOLDER[:NAME|@DIGEST]`). A layout that holds one image needs no name.
    ///
    /// Exit code 0 means that all is equal, 6 that something differs.
    Verify(VerifyArguments),
    /// Explain the webhook's decision about each image of a pod, step by step.
    ///
    /// The command reads the live cluster and decides with the webhook's own code, as for a pod that is created
    /// now. For a running pod it also tells the decision of then. It changes nothing.
    Explain(ExplainArguments),
    /// Check a cluster before and after the installation: versions, nodes, rights, certificate, webhook, policies.
    ///
    /// Each line is a tick (✓), a warning (!), a cross (✗) or a skipped check (-), with a line that says what to
    /// do. The API server admits one pod as a dry run, to show that it reaches the webhook. The command changes
    /// nothing.
    ///
    /// Exit code 0 means that no check failed (there may be warnings), 1 that one failed.
    Check(CheckArguments),
    /// Opt namespaces in: convert their images, and point new pods at the variants.
    ///
    /// The command sets the namespaces' label `zstart.dev/rewrite`. Running pods stay as they are.
    Enable(EnableArguments),
    /// Opt namespaces out: remove their label `zstart.dev/rewrite`.
    ///
    /// Running pods stay as they are. The variants stay in the registry.
    Disable(DisableArguments),
    /// Show what zstart does in a cluster now: records by state, the queue, and what needs attention.
    ///
    /// A record is Ready, stale or unhealthy as the webhook would judge it now. The queue is the leader's, whose
    /// metrics the API server passes on. The command changes nothing.
    Status(StatusArguments),
    /// Report what zstart saved, for each image and in total.
    ///
    /// The report has the pulls that kubelets measured, sizes, added storage, and the duration of conversions. It counts
    /// the first pull of an image by each node, of source and variant.
    Report(ReportArguments),
    /// Ask the controller to look at sources now and to verify their variants in full.
    ///
    /// Use the command after the cause of a failure was removed, for example a right to push was granted. The
    /// controller forgets its backoff for these sources. A look in full reads the manifests of source and variant, and
    /// no layer.
    ///
    /// The request is the annotation `zstart.dev/retry` of a record. It waits there while no controller runs.
    Retry(RetryArguments),
    /// Ask the controller to convert sources again whose variants were made with another level.
    ///
    /// The controller keeps a variant when its level changes, and uses the new level for new sources. This command
    /// applies the level to existing variants. A new variant has a tag of its own; the old one serves until the new
    /// one is verified, and stays in the registry. A variant of the current level is left as it is.
    ///
    /// The request is the annotation `zstart.dev/reconvert` of a record. It counts once: a later change of the level
    /// needs another request.
    Reconvert(ReconvertArguments),
    /// Print the completions of a shell.
    ///
    /// bash: `source <(zstart completion bash)`. zsh: `zstart completion zsh > "${fpath[1]}/_zstart"`. fish:
    /// `zstart completion fish | source`.
    Completion {
        /// Shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages to a folder, one for each command.
    Man {
        /// Existing folder, e.g. `/usr/local/share/man/man1`.
        folder: PathBuf,
    },
    /// Print the reference of all commands in Markdown.
    #[command(hide = true)]
    Reference,
    /// Print the custom resource definitions.
    #[command(hide = true)]
    Crd,
}

/// Arguments of `zstart convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArguments {
    /// Image to convert.
    pub(crate) source: ImageRef,
    /// Reference for the variant: a registry reference, or `oci:FOLDER[:NAME]`. Default: the source's
    /// repository. A target without a tag gets the tag that zstart derives from the source and the result, e.g.
    /// `v1-zstd-1a2b3c4d5e6f-27893757`, or `sha256-1a2b3c4d5e6f-zstd-27893757` for a source without a tag. A
    /// derived tag is never overwritten.
    pub(crate) target: Option<ImageRef>,
    /// zstd level of layers that are encoded, 1 (fastest) to 22 (smallest).
    #[arg(long, default_value = "3", value_parser = level)]
    pub(crate) level: Level,
    /// Method for gzip layers.
    ///
    /// `encode` decodes and searches again, at the level. `transcode` keeps the matches that gzip found and adds some
    /// that are too far for gzip: it needs less work than level 3, and the result is smaller. `auto` transcodes up to
    /// level 5, but not a layer whose compressor hardly searched (gzip -1), and encodes at higher levels.
    #[arg(long, default_value = Method::default().name(), value_parser = word::<Method>())]
    pub(crate) method: Method,
    /// Part of each transcoded layer that is decoded again before it is stored: samples, or all of it, for 13 to
    /// 18 % of level 3's processor time and 9 MiB of memory. Every match is compared with the uncompressed bytes in
    /// any case.
    #[arg(long, default_value = Verification::default().name(), value_parser = word::<Verification>())]
    pub(crate) verify: Verification,
    /// Convert only this platform, e.g. `linux/arm64`. Repeat the flag for several. Other spellings count
    /// as for containerd, e.g. `linux/aarch64`. Other platforms stay in the index unchanged. Default: all
    /// platforms.
    #[arg(long = "platform", value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platforms: Vec<Platform>,
    /// Maximum number of layers that are converted concurrently.
    ///
    /// A layer needs 20 MiB of memory, more if it is encoded at level 7 or above. At levels 1 to 3, a layer of 32 MiB or
    /// more keeps three or four cores busy, needs 45 MiB and counts as two layers if the method encodes it from the
    /// start. A gzip layer that `auto` prefers to encode counts as one.
    #[arg(long, value_name = "COUNT", default_value_t = Settings::LAYERS_AT_ONCE, value_parser = layers_at_once)]
    pub(crate) layers_at_once: NonZero<usize>,
    /// Convert even if a variant exists. An image under a tag that TARGET names is replaced; other levels and
    /// platforms get a derived tag of their own. Layers that are already zstd are encoded again too.
    #[arg(long)]
    pub(crate) force: bool,
    /// Print the layers to convert and the start of the variant's tag, and write nothing. The end of a derived
    /// tag follows from the converted layers.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    #[command(flatten)]
    pub(crate) layer_cache: LayerCacheArguments,
    #[command(flatten, next_help_heading = "Registry options")]
    pub(crate) registry: RegistryArguments,
}

/// Arguments of the layer cache, which lasts from one run to the next.
#[derive(Debug, Args)]
pub(crate) struct LayerCacheArguments {
    /// File that records converted layers, so that later images on the same base reuse them. Default:
    /// `zstart/layers.json` in `XDG_CACHE_HOME` or `~/.cache`.
    ///
    /// An entry has about 500 bytes, the file 2 MiB at most. A program that can write to the file
    /// decides what images contain: keep the file as private as credentials.
    #[arg(long, value_name = "FILE", env = "ZSTART_LAYER_CACHE")]
    pub(crate) layer_cache: Option<OsString>,
    /// Neither read nor write a layer cache, even if `ZSTART_LAYER_CACHE` is set.
    #[arg(long)]
    pub(crate) no_layer_cache: bool,
}

/// Arguments of `zstart inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// Image to show.
    pub(crate) image: ImageRef,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    #[command(flatten, next_help_heading = "Registry options")]
    pub(crate) registry: RegistryArguments,
}

/// Arguments of `zstart tune`.
#[derive(Debug, Args)]
pub(crate) struct TuneArguments {
    /// Image to measure.
    pub(crate) image: ImageRef,
    /// zstd level to measure, 1 (fastest) to 22 (smallest). Separate several with commas, or repeat the
    /// flag.
    #[arg(
        long = "level", alias = "levels", value_name = "LEVEL", default_value = "1,3,6,9,12,15,19",
        value_delimiter = ',', value_parser = level,
    )]
    pub(crate) levels: Vec<Level>,
    /// Bandwidth of the node's link, in bits per second, with K, M or G (decimal). Separate several with
    /// commas, or repeat the flag.
    #[arg(long = "bandwidth", value_name = "BITS", default_value = "200M,1G,5G", value_delimiter = ',')]
    pub(crate) bandwidths: Vec<Bandwidth>,
    /// Program that unpacks gzip on the node. containerd runs igzip or unpigz (pigz) if the node has one of them, and
    /// uses its own decoder otherwise. Amazon Linux 2023 has unpigz, Bottlerocket has igzip, Fargate has neither.
    #[arg(long, value_name = "DECODER", default_value = "containerd")]
    pub(crate) node: GzipDecoder,
    /// Amount of the unpacked image to encode, in bytes, with K, M or G (binary). At least 96M.
    ///
    /// The sample is spread evenly over the image and kept in memory. A larger sample narrows the
    /// confidence intervals and takes longer. Levels from 10 on encode a quarter of the sample.
    #[arg(long, value_name = "SIZE", default_value = "288M")]
    pub(crate) sample: SampleSize,
    /// Platform of the index to measure. Default: this machine's platform, or the index's first.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    #[command(flatten, next_help_heading = "Registry options")]
    pub(crate) registry: RegistryArguments,
}

/// Arguments of `zstart verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Image that was converted.
    pub(crate) source: ImageRef,
    /// Variant to compare with the source.
    pub(crate) variant: ImageRef,
    /// Compare the layers of this platform only, e.g. `linux/arm64`. Repeat the flag for several. The indexes
    /// are always compared whole. Default: all platforms.
    #[arg(long = "platform", value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platforms: Vec<Platform>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    #[command(flatten, next_help_heading = "Registry options")]
    pub(crate) registry: RegistryArguments,
}

/// Arguments of `zstart explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Pod of the cluster: `pod NAME`, or `pod/NAME`.
    #[arg(value_name = "pod NAME", num_args = 1..=2, required_unless_present = "file", conflicts_with = "file")]
    pub(crate) pod: Vec<String>,
    /// Manifest of a Pod, or of an object with a pod template, in YAML or JSON; `-` for stdin.
    #[arg(long = "filename", short = 'f', value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Cluster options")]
    pub(crate) cluster: ClusterArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Arguments of `zstart check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Check only what matters before the installation. Default if the cluster has no webhook of zstart.
    #[arg(long)]
    pub(crate) pre: bool,
    /// Context of the kubeconfig. Default: the current context, or the cluster that the command runs in.
    #[arg(long, value_name = "NAME", help_heading = "Cluster options")]
    pub(crate) context: Option<String>,
    /// Namespace of zstart. An installed webhook's own namespace takes precedence.
    #[arg(
        long,
        short = 'n',
        value_name = "NAME",
        default_value = "zstart-system",
        help_heading = "Cluster options"
    )]
    pub(crate) namespace: String,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Arguments of `zstart retry`.
#[derive(Debug, Args)]
pub(crate) struct RetryArguments {
    #[command(flatten)]
    pub(crate) records: RecordArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Arguments of `zstart reconvert`.
#[derive(Debug, Args)]
pub(crate) struct ReconvertArguments {
    #[command(flatten)]
    pub(crate) records: RecordArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Arguments for the form of the result.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutputArguments {
    /// Form of the result.
    #[arg(long, short = 'o', value_name = "FORM", value_enum, default_value = "text")]
    output: OutputFormat,
    /// Print the result as JSON, like `--output json`.
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

impl OutputArguments {
    pub(crate) fn format(self) -> OutputFormat {
        if self.json { OutputFormat::Json } else { self.output }
    }
}

fn level(text: &str) -> Result<Level, String> {
    let number: i32 = text
        .parse()
        .map_err(|_| "a zstd level is a whole number, from 1 (fastest) to 22 (smallest)".to_owned())?;
    Level::try_from(number).map_err(|error| error.to_string())
}

/// Parser of the words of an enumeration.
fn word<T>() -> impl TypedValueParser<Value = T>
where
    T: FromStr + VariantNames + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(T::VARIANTS).try_map(|word| word.parse().map_err(|_| "unknown word"))
}

fn layers_at_once(text: &str) -> Result<NonZero<usize>, String> {
    text.parse().map_err(|_| "a number of layers is a whole number, 1 or more".to_owned())
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
            (&["zstart", "convert", "app", "--level", "best"], "1 (fastest) to 22"),
            (&["zstart", "convert", "app", "--platform", "linux"], "os/architecture"),
            (&["zstart", "convert", "App"], "repository"),
            (&["zstart", "tune", "app", "--level", "1,23"], "1 (fastest) to 22"),
            (&["zstart", "tune", "app", "--bandwidth", "1G,fast"], "\"fast\" is not a bandwidth"),
            (&["zstart", "tune", "app", "--sample", "1M"], "at least 96.0 MiB"),
            (&["zstart", "crd", "--log", "inof"], "\"inof\" is neither a level"),
            (&["zstart", "retry"], "<SOURCE>"),
            (&["zstart", "retry", "app", "--all"], "cannot be used with"),
            (&["zstart", "retry", "--reason", "Broken"], "the reasons are Pending"),
        ] {
            let error = Arguments::try_parse_from(arguments).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
