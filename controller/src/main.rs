//! `zstart-controller`: reads the arguments and runs the library.

use std::process::ExitCode;

use clap::Parser;
use zstart_controller::config::Config;
use zstart_controller::run::run;
use zstart_process::boot;

/// Converts the images that a cluster runs.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    server: boot::ServerArguments,
}

#[tokio::main]
async fn main() -> ExitCode {
    boot::run(Arguments::parse().server, async |config, identity, shutdown| {
        let config = Config::read(config)?;
        let api_server = kube::Config::infer().await?;
        Ok(run(api_server, config, identity, shutdown).await?)
    })
    .await
}
