//! `zstart-controller`: reads the arguments and runs the library. `zstart-controller convert-one` converts one image,
//! in a Job that the controller made. `zstart-controller test-rewrite` shows that a pod is rewritten, for `helm test`.

use std::process::ExitCode;

use clap::{Args, Parser};
use zstart_controller::config::Config;
use zstart_controller::convert_one::{ConvertOneArguments, convert_one};
use zstart_controller::run::run;
use zstart_controller::test_rewrite::{TestRewriteArguments, test_rewrite};
use zstart_process::boot;
use zstart_process::log_filter::{self, LogFilter};
use zstart_process::log_format::LogFormat;

/// First argument of the conversion of one image. The controller's own arguments are all required or have a value
/// from the environment, so no subcommand of clap can stand in for them.
const CONVERT_ONE: &str = "convert-one";
/// First argument of the test of an installation.
const TEST_REWRITE: &str = "test-rewrite";

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
    #[command(flatten)]
    log: LogArguments,
}

/// Shows that a pod is rewritten, for `helm test`. No pod that it creates runs.
#[derive(Debug, Parser)]
#[command(name = "zstart-controller test-rewrite", version)]
struct TestArguments {
    #[command(flatten)]
    test: TestRewriteArguments,
    #[command(flatten)]
    log: LogArguments,
}

#[derive(Debug, Args)]
struct LogArguments {
    /// Log filter: a level or `target=level`, separated by commas.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_parser = log_filter::parse)]
    log: LogFilter,
    /// Form of the log lines.
    #[arg(long, env = "ZSTART_LOG_FORMAT", value_name = "FORM", value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[tokio::main]
async fn main() -> ExitCode {
    let first = std::env::args_os().nth(1).unwrap_or_default();
    let arguments = std::env::args_os().skip(1);
    if first == CONVERT_ONE {
        let TaskArguments { task, log: LogArguments { log, log_format } } =
            TaskArguments::parse_from(arguments);
        return boot::run_task(log, log_format, async |shutdown| Ok(convert_one(task, shutdown).await?))
            .await;
    }
    if first == TEST_REWRITE {
        let TestArguments { test, log: LogArguments { log, log_format } } =
            TestArguments::parse_from(arguments);
        return boot::run_task(log, log_format, async |shutdown| {
            let client = kube::Client::try_default().await?;
            Ok(test_rewrite(client, test, shutdown).await?)
        })
        .await;
    }
    boot::run(Arguments::parse().server, async |config, identity, shutdown| {
        let config = Config::read(config)?;
        let api_server = kube::Config::infer().await?;
        Ok(run(api_server, config, identity, shutdown).await?)
    })
    .await
}
