//! `zstart-webhook`: starts the process and runs the library.

use std::process::ExitCode;

use clap::Parser;
use zstart_admission::config::Config;
use zstart_process::boot;
use zstart_webhook::run::Webhook;

/// Admission webhook that rewrites new pods to their zstd variants.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    server: boot::ServerArguments,
}

#[tokio::main]
async fn main() -> ExitCode {
    boot::run(Arguments::parse().server, async |config, identity, shutdown| {
        let webhook = Webhook::bind(Config::read(config)?).await?;
        let api_server = kube::Config::infer().await?;
        Ok(webhook.run(api_server, identity.namespace, shutdown).await?)
    })
    .await
}
