//! `twice`: the determinism gate.
//!
//! Two processes run the same seeds. Where their journals' hashes differ, both run again with
//! every line kept, and the first line that differs is shown.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use seriatim_sim::campaign::{Campaign, Entry};

use super::NOT_DETERMINISTIC;
use super::progress::Progress;

/// The hashes of one process, as `hash` prints them: scenario, seed, hash.
type Hashes = Vec<(String, String, String)>;

#[expect(clippy::print_stdout, reason = "the verdict is the output")]
pub(super) fn run(campaign: &Campaign, against: Option<&Path>) -> anyhow::Result<u8> {
    let ours = std::env::current_exe().context("can't find this program")?;
    let theirs = against.unwrap_or(&ours);
    let mut progress = Progress::new(2 * campaign.scenarios.len() as u64);
    let mut compared = 0_u64;
    let mut different = Vec::new();
    for entry in &campaign.scenarios {
        let mut hash = |program: &Path| {
            let hashes = hashes_of(program, campaign, entry);
            progress.step(&entry.scenario.name, hashes.is_ok());
            hashes
        };
        let (one, other) = (hash(&ours)?, hash(theirs)?);
        if one.len() != other.len() {
            bail!("{} printed {} hashes, not {}", theirs.display(), other.len(), one.len());
        }
        compared += one.len() as u64;
        different.extend(one.into_iter().zip(other).filter(|(one, other)| one != other));
    }
    drop(progress);
    let scenarios = campaign.scenarios.len();
    println!(
        "{compared} runs of {scenarios} scenarios, each in two processes: {} differed.",
        different.len()
    );
    let Some(((name, seed, one), (_, _, other))) = different.first() else { return Ok(0) };
    println!("\n{name} seed {seed}: {one} here, {other} there.");
    let entry = campaign.scenarios.iter().find(|entry| entry.scenario.name == *name);
    if let Some(entry) = entry {
        println!("{}", first_difference(&ours, theirs, entry, seed)?);
        let argument = &entry.argument;
        println!("\nAgain: cargo sim twice {argument} --seed {seed} --seeds 1");
    }
    Ok(NOT_DETERMINISTIC)
}

/// `hash`: one line for each run.
#[expect(clippy::print_stdout, reason = "the hashes are the output")]
pub(super) fn print_hashes(campaign: &Campaign) -> anyhow::Result<u8> {
    let outcomes = campaign.run(|_, _| {})?;
    for (scenario, seed, hash) in outcomes.hashes {
        println!("{scenario} {seed} {hash:032x}");
    }
    Ok(0)
}

fn hashes_of(program: &Path, campaign: &Campaign, entry: &Entry) -> anyhow::Result<Hashes> {
    let mut command = Command::new(program);
    command.arg("hash").arg(&entry.argument).args(["--seed", &campaign.first_seed.to_string()]);
    command.args(["--seeds", &campaign.seeds.to_string()]);
    command.args(["--jobs", &campaign.jobs.to_string()]);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("can't run {}", program.display()))?;
    if !output.status.success() {
        bail!("{} ended with {}", program.display(), output.status);
    }
    let text = String::from_utf8(output.stdout).context("hashes are not text")?;
    text.lines()
        .map(|line| match line.split(' ').collect::<Vec<_>>().as_slice() {
            [scenario, seed, hash] => {
                Ok(((*scenario).to_owned(), (*seed).to_owned(), (*hash).to_owned()))
            }
            _ => bail!("{} printed {line:?}, not a hash", program.display()),
        })
        .collect()
}

/// Runs both again with their journals kept.
fn first_difference(
    ours: &Path,
    theirs: &Path,
    entry: &Entry,
    seed: &str,
) -> anyhow::Result<String> {
    let folder = std::env::temp_dir().join(format!("seriatim-twice-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let keep = |program: &Path, name: &str| -> anyhow::Result<PathBuf> {
        let journal = folder.join(name);
        Command::new(program)
            .args(["run", &entry.argument, "--seed", seed, "--seeds", "1"])
            .arg("--out")
            .arg(&folder)
            .arg("--journal")
            .arg(&journal)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .with_context(|| format!("can't run {}", program.display()))?;
        Ok(journal)
    };
    let (one, other) = (keep(ours, "here.journal")?, keep(theirs, "there.journal")?);
    let mut here = BufReader::new(File::open(&one)?).lines();
    let mut there = BufReader::new(File::open(&other)?).lines();
    for number in 1_u64.. {
        let (here, there) = (here.next().transpose()?, there.next().transpose()?);
        if here.is_none() && there.is_none() {
            break;
        }
        if here != there {
            let shown = |line: Option<String>| line.unwrap_or_else(|| "(the end)".to_owned());
            return Ok(format!(
                "First different line of the journals, {number}:\n  here   {}\n  there  {}\n\
                 Journals: {} and {}",
                shown(here),
                shown(there),
                one.display(),
                other.display()
            ));
        }
    }
    Ok("Run again, both journals were the same: the difference comes and goes.".to_owned())
}
