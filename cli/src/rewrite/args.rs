//! Arguments of `zstart rewrite`.

use std::path::PathBuf;

use clap::Args;
use zstart_core::{Glob, Platform};

use crate::args::LayerCacheArguments;
use crate::registries::RegistryArguments;

/// Arguments of `zstart rewrite`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct RewriteArguments {
    /// File to rewrite: Kubernetes manifests (YAML, JSON), an Amazon ECS task definition or a CloudFormation template
    /// (JSON, YAML), or Terraform (`.tf`, `.tf.json`). `-` for stdin. A folder means its `.yaml`, `.yml`, `.json`, `.tf`
    /// and `.tofu` files. Repeat the flag for several.
    #[arg(long = "filename", short = 'f', value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Read the folders in a folder too. Hidden folders are skipped.
    #[arg(long, short = 'R')]
    pub(crate) recursive: bool,
    /// Write the files instead of stdout. A file is replaced at once and keeps its mode; an unchanged file isn't
    /// written.
    #[arg(long, short = 'i')]
    pub(crate) in_place: bool,
    /// Write nothing, and exit with code 9 if a file would change. With `--convert` also if an image would be
    /// converted.
    #[arg(long, conflicts_with = "in_place")]
    pub(crate) check: bool,
    /// Convert images that have no variant, as `zstart convert IMAGE` does.
    #[arg(long)]
    pub(crate) convert: bool,
    /// Rewrite only images that match this pattern, e.g. `registry.example/*`. Repeat the flag for several.
    /// Default: all images whose reference names a registry.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) only: Vec<Glob>,
    /// Platform on which the images start, e.g. `linux/arm64`. A variant of these platforms suffices, and `--convert`
    /// converts no others. Repeat the flag for several. Default: the `cpuArchitecture` that a task definition names,
    /// otherwise all platforms of an image.
    #[arg(long = "platform", value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platforms: Vec<Platform>,
    #[command(flatten)]
    pub(crate) layer_cache: LayerCacheArguments,
    #[command(flatten, next_help_heading = "Registry options")]
    pub(crate) registry: RegistryArguments,
}
