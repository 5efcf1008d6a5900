//! The log: to standard error, for people or for programs.
//!
//! Whoever logs gives identifiers and figures as fields; secrets and bodies of messages never reach
//! a log line.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Args)]
pub(crate) struct LogFlags {
    /// What to log: `error`, `warn`, `info`, `debug` or `trace`; or levels of parts, such as
    /// `warn,seriatim_node=debug`.
    #[arg(
        long,
        global = true,
        default_value = "info",
        env = "SERIATIM_LOG",
        value_parser = check_filter
    )]
    log_level: String,
    /// How to log: lines for people, or an object a line for programs.
    #[arg(long, global = true, default_value = "human", env = "SERIATIM_LOG_FORMAT")]
    log_format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Human,
    Json,
}

impl LogFlags {
    /// From now on what is logged is written. Once only.
    pub(crate) fn init(&self) {
        let filter = EnvFilter::new(&self.log_level);
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.log_format {
            Format::Human => lines.with_ansi(std::io::stderr().is_terminal()).init(),
            Format::Json => lines.json().flatten_event(true).with_current_span(false).init(),
        }
    }
}

fn check_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
