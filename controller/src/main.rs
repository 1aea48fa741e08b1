//! `zstart-controller`: reads the arguments and runs the library. `zstart-controller convert-one` converts one image,
//! in a Job that the controller made.

use std::process::ExitCode;

use clap::Parser;
use zstart_controller::config::Config;
use zstart_controller::convert_one::{ConvertOneArguments, convert_one};
use zstart_controller::run::run;
use zstart_process::boot;
use zstart_process::log_filter::{self, LogFilter};
use zstart_process::log_format::LogFormat;

/// First argument of the conversion of one image. The controller's own arguments are all required or have a value
/// from the environment, so no subcommand of clap can stand in for them.
const CONVERT_ONE: &str = "convert-one";

/// Converts the images that a cluster runs.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    server: boot::ServerArguments,
}

/// Converts one image, in a Job that the controller made.
#[derive(Debug, Parser)]
#[command(name = "zstart-controller convert-one", version)]
struct TaskArguments {
    #[command(flatten)]
    task: ConvertOneArguments,
    /// Log filter: a level or `target=level`, separated by commas.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_parser = log_filter::parse)]
    log: LogFilter,
    /// Form of the log lines.
    #[arg(long, env = "ZSTART_LOG_FORMAT", value_name = "FORM", value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == CONVERT_ONE) {
        let TaskArguments { task, log, log_format } = TaskArguments::parse_from(std::env::args_os().skip(1));
        return boot::run_task(log, log_format, async |shutdown| Ok(convert_one(task, shutdown).await?))
            .await;
    }
    boot::run(Arguments::parse().server, async |config, identity, shutdown| {
        let config = Config::read(config)?;
        let api_server = kube::Config::infer().await?;
        Ok(run(api_server, config, identity, shutdown).await?)
    })
    .await
}
