//! `bugs`: plants every known bug and tells how soon each is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use seriatim_sim::campaign::Entry;
use seriatim_sim::planted::hunt::{Hunt, Trail};
use seriatim_sim::planted::{Bug, overlay, switch, table};

use super::Usage;

/// What is built from the copy, below cargo's folder of build results.
const FOLDER: &str = "planted";

/// A bug was not found.
const MISSED: u8 = 1;

#[derive(Debug, Clone, Args)]
pub(super) struct Bugs {
    /// Only these, by the names of their files in sim/bugs; all of them, if none is given.
    #[arg(long)]
    only: Vec<String>,
    /// CPU seconds after which a bug is given up as missed.
    #[arg(long, default_value_t = 300)]
    budget_s: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bugs hunted at a time; as many as there are cores, if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Only write and build the copy of the source with the bugs in it.
    #[arg(long)]
    build_only: bool,
    /// Where bugs.md and bugs.json are written.
    #[arg(long, default_value = "out")]
    out: PathBuf,
}

pub(super) fn run(bugs: &Bugs, scenarios: Vec<Entry>, jobs: usize) -> anyhow::Result<u8> {
    if switch::ARE_BUILT_IN { hunt(bugs, scenarios, jobs) } else { build(bugs) }
}

/// The repository that this program was built from.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

fn load() -> anyhow::Result<Vec<Bug>> {
    Ok(Bug::load_all(&root().join("sim/bugs"))?)
}

/// Builds the copy with the bugs in it and lets it do the rest.
fn build(bugs: &Bugs) -> anyhow::Result<u8> {
    let all = load()?;
    check_names(&all, &bugs.only)?;
    let tree = overlay::plant(root(), &all)?;
    let results = std::env::var_os("CARGO_TARGET_DIR").map_or(root().join("target"), PathBuf::from);
    let results = std::path::absolute(results)?.join(FOLDER);
    let copy = results.join("source");
    overlay::write(&tree, &copy)?;
    eprintln!("building {} with every planted bug, each switched off", copy.display());
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--profile", "sim", "-p", "seriatim-sim", "--target-dir"])
        .arg(&results)
        .current_dir(&copy)
        .status()
        .context("can't run cargo, which has to build the copy with the bugs")?;
    if !status.success() {
        bail!("a planted bug doesn't compile: see above, and mend its file in sim/bugs");
    }
    if bugs.build_only {
        return Ok(0);
    }
    let program = results.join("sim").join("seriatim-sim");
    let status = Command::new(&program)
        .args(std::env::args_os().skip(1))
        .status()
        .with_context(|| format!("can't run {}", program.display()))?;
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .with_context(|| format!("{} ended with {status}", program.display()))
}

fn check_names(all: &[Bug], only: &[String]) -> Result<(), Usage> {
    match only.iter().find(|id| !all.iter().any(|bug| bug.id == **id)) {
        None => Ok(()),
        Some(unknown) => {
            Err(Usage(format!("there is no planted bug {unknown:?}; sim/bugs has a file for each")))
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn hunt(bugs: &Bugs, scenarios: Vec<Entry>, jobs: usize) -> anyhow::Result<u8> {
    // The switches keep names for as long as the program runs.
    let mut chosen = load()?;
    chosen.retain(|bug| bugs.only.is_empty() || bugs.only.contains(&bug.id));
    let planted: &'static [Bug] = chosen.leak();
    let hunt = Hunt {
        scenarios,
        first_seed: bugs.seed,
        budget: Duration::from_secs(bugs.budget_s),
        jobs: bugs.jobs.unwrap_or(jobs),
    };
    let style = "{bar:30} {pos}/{len} bugs, {msg}  {elapsed}";
    let style = ProgressStyle::with_template(style).expect("the template is sound");
    let bar = ProgressBar::new(planted.len() as u64).with_style(style);
    let trails = hunt.run(planted, |trail| {
        bar.suspend(|| eprintln!("{}", told(trail)));
        bar.inc(1);
    });
    bar.finish_and_clear();
    let text = table::render(&trails);
    println!("{text}");
    fs::create_dir_all(&bugs.out)
        .with_context(|| format!("can't create {}", bugs.out.display()))?;
    let files = [("bugs.md", text), ("bugs.json", serde_json::to_string_pretty(&trails)? + "\n")];
    for (name, text) in files {
        let path = bugs.out.join(name);
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(if trails.iter().all(|trail| trail.caught.is_some()) { 0 } else { MISSED })
}

/// One line of a bug that is done with.
fn told(trail: &Trail) -> String {
    let cpu_s = trail.cpu_s;
    match &trail.caught {
        Some(caught) => format!(
            "{}: {} fell in {} seed {}, {} runs, {cpu_s:.1} CPU s: {}",
            trail.bug,
            caught.guarantees.join(", "),
            caught.scenario,
            caught.seed,
            trail.runs,
            caught.message
        ),
        None => format!("{}: missed after {} runs, {cpu_s:.1} CPU s", trail.bug, trail.runs),
    }
}
