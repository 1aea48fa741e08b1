//! Form of the log lines.

use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line: `timestamp`, `level`, `target`, `message`, and the fields of the event on the same level.
    Json,
}

impl LogFormat {
    /// Returns a subscriber that writes lines of this form to `output`. Only text can have colours.
    pub(crate) fn subscriber<W>(
        self,
        filter: EnvFilter,
        output: W,
        colours: bool,
    ) -> Box<dyn Subscriber + Send + Sync>
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let builder =
            tracing_subscriber::fmt().with_writer(output).with_ansi(colours).with_env_filter(filter);
        match self {
            Self::Text => Box::new(builder.finish()),
            Self::Json => {
                Box::new(builder.with_ansi(false).json().flatten_event(true).with_span_list(false).finish())
            }
        }
    }
}
