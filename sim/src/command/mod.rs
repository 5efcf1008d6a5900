//! Subcommands and what they share.

mod bugs;
mod list;
mod progress;
mod run;
mod twice;

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use seriatim_scenarios::{catalog, parse};
use seriatim_sim::campaign::{Campaign, Entry};
use seriatim_sim::journal::Keep;
use seriatim_sim::run::RunOptions;

/// Bad usage or a bad file (sysexits' EX_USAGE).
pub(crate) const USAGE: u8 = 64;

/// Our own failure (sysexits' EX_SOFTWARE).
pub(crate) const FAILURE: u8 = 70;

/// Two runs of one seed differed.
const NOT_DETERMINISTIC: u8 = 3;

/// Runs the shipped server in a simulated world of faults and judges what its clients saw.
///
/// Without a subcommand: runs the regressions and the whole catalog, 20 seeds each.
///
/// Exit codes: 0 all held, 1 a guarantee or an expectation is broken, 2 not converged, 3 not
/// deterministic, 64 bad usage or a bad file, 70 our own failure.
#[derive(Debug, Parser)]
#[command(name = "seriatim-sim", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios, from files or by their names in the catalog.
    Run {
        /// Paths of scenario files, or names of the catalog (see `list`).
        #[arg(required = true)]
        scenarios: Vec<String>,
        #[command(flatten)]
        selection: Selection,
        #[command(flatten)]
        output: Output,
        /// Write the journal of a single run to this file, one line for each thing that happened.
        #[arg(long)]
        journal: Option<PathBuf>,
    },
    /// Run every seed in two processes and compare the hashes of their journals.
    Twice {
        /// Paths of scenario files, or names of the catalog; all of them, and the regressions, if none is given.
        scenarios: Vec<String>,
        #[command(flatten)]
        selection: Selection,
        /// The other process runs this program: a build of another profile, for example.
        #[arg(long)]
        against: Option<PathBuf>,
    },
    /// Plant every known bug, one at a time, and tell how soon which guarantee falls.
    ///
    /// Builds a copy of the source that has the bugs of sim/bugs in it, each behind a switch, and
    /// runs what `cargo sim` runs with one switch on. Exit code 1: a bug was missed.
    Bugs(bugs::Bugs),
    /// Show the regressions and the scenarios of the catalog, each with the question that it answers.
    List,
    /// Show every kind of fault: what it does, what it can be aimed at, the keys that it takes.
    Faults {
        /// As the Markdown table of docs/scenarios.md.
        #[arg(long)]
        markdown: bool,
    },
    /// Print the hash of every run's journal. `twice` calls it.
    #[command(hide = true)]
    Hash {
        #[arg(required = true)]
        scenarios: Vec<String>,
        #[command(flatten)]
        selection: Selection,
    },
}

/// Which runs, and how.
#[derive(Debug, Clone, Args)]
struct Selection {
    /// How many seeds each scenario runs with.
    #[arg(long, default_value = "20")]
    seeds: NonZeroU64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs at a time; as many as there are cores, if not given.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
}

#[derive(Debug, Clone, Args)]
struct Output {
    /// Where report.html, results.json and junit.xml are written.
    #[arg(long, default_value = "out")]
    out: PathBuf,
}

/// The command line or a file that it names is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(String);

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<u8> {
    match arguments.command {
        None => {
            let campaign = arguments.selection.campaign(everything());
            run::run(&campaign, &arguments.output.out)
        }
        Some(Command::Run { scenarios, selection, output, journal }) => {
            let mut campaign = selection.campaign(find(&scenarios)?);
            if let Some(path) = journal {
                keep_journal(&mut campaign, path)?;
            }
            run::run(&campaign, &output.out)
        }
        Some(Command::Twice { scenarios, selection, against }) => {
            let entries = if scenarios.is_empty() { everything() } else { find(&scenarios)? };
            twice::run(&selection.campaign(entries), against.as_deref())
        }
        Some(Command::Bugs(bugs)) => bugs::run(&bugs, everything(), cores()),
        Some(Command::List) => list::run(),
        Some(Command::Faults { markdown }) => list::faults(markdown),
        Some(Command::Hash { scenarios, selection }) => {
            twice::print_hashes(&selection.campaign(find(&scenarios)?))
        }
    }
}

impl Selection {
    fn campaign(&self, scenarios: Vec<Entry>) -> Campaign {
        Campaign {
            scenarios,
            first_seed: self.seed,
            seeds: self.seeds.get(),
            jobs: self.jobs.map_or_else(cores, NonZeroUsize::get),
            options: RunOptions::default(),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn keep_journal(campaign: &mut Campaign, path: PathBuf) -> Result<(), Usage> {
    if campaign.seeds != 1 || campaign.scenarios.len() != 1 {
        let message = "--journal is for one run: give one scenario and --seeds 1".to_owned();
        return Err(Usage(message));
    }
    campaign.options.keep = Keep::File(path);
    Ok(())
}

/// The regressions, so that what was broken once is seen first, then the catalog.
fn everything() -> Vec<Entry> {
    catalog::regressions()
        .into_iter()
        .chain(catalog::all())
        .map(|scenario| Entry { argument: scenario.name.clone(), scenario })
        .collect()
}

/// Finds each scenario by its name in the catalog, else as a file.
fn find(arguments: &[String]) -> Result<Vec<Entry>, Usage> {
    arguments
        .iter()
        .map(|argument| {
            let scenario = match catalog::find(argument) {
                Some(scenario) => scenario,
                None => parse::load(argument.as_ref()).map_err(|error| Usage(told(&error)))?,
            };
            Ok(Entry { scenario, argument: argument.clone() })
        })
        .collect()
}

fn told(error: &parse::LoadError) -> String {
    match error {
        parse::LoadError::Read { .. } => {
            format!("{error}; `cargo sim list` shows the names of the catalog")
        }
        parse::LoadError::Parse(error) => error.to_string(),
    }
}
