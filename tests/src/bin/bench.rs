//! `bench`: compares zstart with other tools that convert images.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use zstart_tests::bench;

#[derive(Debug, Parser)]
#[command(about = "Compares zstart with other tools that convert images, on real images")]
struct Arguments {
    /// Path of the `zstart` program.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["node", "layers", "convert"])]
    zstart: Option<PathBuf>,
    /// Measure only the speed of nodes' decoders.
    #[arg(long)]
    node: bool,
    /// Measure only single layers of several kinds.
    #[arg(long)]
    layers: bool,
    /// Convert one layer: the command that `--layers` measures.
    #[arg(long, hide = true, num_args = 2..=3, value_names = ["METHOD", "LAYER", "OUTPUT"])]
    convert: Vec<PathBuf>,
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { zstart, node, layers, convert } = arguments;
    match (convert.as_slice(), zstart) {
        ([method, layer, output @ ..], _) => {
            let method = method.to_string_lossy();
            bench::convert_layer(&method, layer, output.first().map(PathBuf::as_path))
        }
        (_, Some(zstart)) if !node && !layers => bench::run(zstart).await,
        _ if layers => bench::layers().await,
        _ => bench::decoders().await,
    }
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "this is a command line")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
