//! `run`, and the catalog: runs, a table, and the report's files.

use std::fs;
use std::path::Path;

use anyhow::Context;
use seriatim_reports::report::{Machine, RunReport, SeedRange};
use seriatim_reports::{html, json, junit, table};
use seriatim_scenarios::judge::Outcome;
use seriatim_sim::campaign::Campaign;

use super::progress::Progress;

#[expect(clippy::print_stdout, reason = "the table is the output")]
pub(super) fn run(campaign: &Campaign, out: &Path) -> anyhow::Result<u8> {
    let mut progress = Progress::new(campaign.seeds * campaign.scenarios.len() as u64);
    let outcomes = campaign.run(|entry, result| {
        let held = result.verdict.outcome() == Outcome::Held;
        progress.step(&entry.scenario.name, held);
    })?;
    drop(progress);
    let report = RunReport {
        command: command_line(),
        commit: commit(),
        seeds: SeedRange { first: campaign.first_seed, count: campaign.seeds },
        machine: Machine { cores: cores() },
        scenarios: outcomes.reports,
    };
    println!("{}", table::render(&report));
    write_report(&report, out)?;
    println!("Report: {}", out.join("report.html").display());
    Ok(outcomes.worst.exit_code())
}

fn write_report(report: &RunReport, out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("can't create {}", out.display()))?;
    let files = [
        ("report.html", html::render(report)),
        ("results.json", json::render(report)),
        ("junit.xml", junit::render(report)),
    ];
    for (name, text) in files {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// As it would be typed with the alias.
fn command_line() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ["cargo sim".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

/// What `git` says of the working directory; "unknown" where there is none.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "--short=12", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit} with local changes"),
        (None, _) => "unknown".to_owned(),
    }
}

fn cores() -> u32 {
    std::thread::available_parallelism()
        .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}
