//! `zstart report`: what zstart saved in a cluster, by the pulls that kubelets reported.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use zstart_report::Savings;

use crate::cluster::{Cluster, ClusterArguments};
use crate::error::CliError;
use crate::output;
use crate::records;

/// Arguments of `zstart report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Context of the kubeconfig. Default: the current context, or the cluster that the command runs in.
    #[arg(long, value_name = "NAME", help_heading = "Cluster options")]
    pub(crate) context: Option<String>,
    /// Form of the report. `html` is one file with plots, which loads nothing.
    #[arg(long = "output", short = 'o', value_name = "FORM", value_enum, default_value = "table")]
    pub(crate) form: ReportForm,
}

/// Form of the report of `zstart report`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportForm {
    /// Table for people.
    Table,
    /// JSON for programs.
    Json,
    /// One line an image, for spreadsheets.
    Csv,
    /// Page with plots.
    Html,
}

/// Prints the report in the chosen form.
pub(crate) async fn run(arguments: ReportArguments) -> Result<(), CliError> {
    let ReportArguments { context, form } = arguments;
    let cluster = Cluster::connect(&ClusterArguments { context, namespace: None }).await?;
    let records = records::read_all(&cluster.client).await?;
    let unreadable = records.iter().filter(|record| record.0.is_err()).count();
    let records = records.into_iter().filter_map(|DeserializeGuard(record)| record.ok());
    let savings = Savings::of_records(records, unreadable, Timestamp::now());
    output::print(&match form {
        ReportForm::Table => savings.table(),
        ReportForm::Json => savings
            .json()
            .map_err(|error| CliError::Serialize { object: "the report", source: error.into() })?,
        ReportForm::Csv => savings.csv(),
        ReportForm::Html => savings.html(),
    })
}
