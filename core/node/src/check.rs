//! `seriatim-server check`: verifies the log of a data folder that no server uses.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use seriatim_engine::ids::ShardId;
use seriatim_world::log_store::{self, CheckReport, Damage, LostEntries, Progress};
use seriatim_world::{Clock as _, real};

use crate::cli::{Usage, say};

/// How often a long check tells how far it has come.
const TOLD_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The data folder of a server that is stopped.
    #[arg(default_value = "data")]
    data: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The log is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Damaged(pub(crate) String);

impl Check {
    /// Of this data folder.
    pub(crate) fn of(data: &Path) -> Self {
        Self { data: data.to_owned(), json: false }
    }

    /// Prints what was found. An error is [`Damaged`] when the log is.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let reports = runtime.block_on(self.check())?;
        if self.json {
            say(&to_json(&reports).to_string());
        } else {
            reports.iter().for_each(print_report);
        }
        match reports.iter().map(|(_, report)| report.damages.len()).sum() {
            0 => Ok(()),
            1 => Err(Damaged("1 file is damaged or missing".to_owned()).into()),
            count => Err(Damaged(format!("{count} files are damaged or missing")).into()),
        }
    }

    pub(crate) async fn check(&self) -> anyhow::Result<Vec<(ShardId, CheckReport)>> {
        let folder = self.data.join("log");
        let nothing = || Usage(format!("there is no log in {}", self.data.display()));
        if !folder.is_dir() {
            return Err(nothing().into());
        }
        let disk = match real::RealDisk::open(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                return Err(Usage(error.to_string()).into());
            }
            opened => opened.with_context(|| format!("can't use {}", folder.display()))?,
        };
        let shards = log_store::shards(&disk).await?;
        if shards.is_empty() {
            return Err(nothing().into());
        }
        let clock = real::RealClock::new();
        let mut told_at = clock.mono_now();
        let mut reports = Vec::new();
        for shard in shards {
            let progress = |Progress { bytes, bytes_total }| {
                let now = clock.mono_now();
                if now - told_at >= TOLD_EVERY {
                    told_at = now;
                    let mib = |bytes| bytes >> 20;
                    let (done, all) = (mib(bytes), mib(bytes_total));
                    // Nobody may be watching.
                    let mut output = std::io::stderr().lock();
                    drop(writeln!(output, "shard {shard}: {done} of {all} MiB checked"));
                }
            };
            reports.push((shard, log_store::check(&disk, shard, progress).await?));
        }
        Ok(reports)
    }
}

fn print_report((shard, report): &(ShardId, CheckReport)) {
    let CheckReport { runs, segments, entries, channels, epoch, bytes, read_positions, .. } =
        report;
    let state = if report.damages.is_empty() { "sound" } else { "DAMAGED" };
    say(&format!(
        "shard {shard}: {state}. {entries} sound entries of {channels} channels in {runs} runs and \
         {segments} segments, and {read_positions} sound read positions: {bytes} bytes, epoch {epoch}"
    ));
    if report.trimmed > 0 {
        say(&format!(
            "  {} older entries are gone, by the limits that the server was started with.",
            report.trimmed
        ));
    }
    if report.torn_bytes > 0 {
        let torn = report.torn_bytes;
        say(&format!(
            "  The last {torn} bytes are the rest of a write that a crash cut short. Nobody was \
             told that it was durable; the next start cuts it off."
        ));
    }
    for file in &report.needless {
        say(&format!("  {file} counts for nothing; the next start removes it."));
    }
    report.damages.iter().for_each(print_damage);
}

fn print_damage(damage: &Damage) {
    let Damage { file, offset, what, is_of_reads, lost_entries, lost, .. } = damage;
    say(&format!("  {file}, byte {offset}: {what}"));
    if !is_of_reads {
        say(&format!("    known to be lost: {lost_entries} entries"));
    }
    let mut listed = 0;
    for LostEntries { channel, first, last } in lost {
        say(&format!("      {channel}: {first} to {last}"));
        listed += last.0 - first.0 + 1;
    }
    if listed < *lost_entries {
        say(&format!("      and {} more", lost_entries - listed));
    }
    say(&format!("    {}.", damage.remedy()));
}

fn to_json(reports: &[(ShardId, CheckReport)]) -> serde_json::Value {
    let lost = |lost: &LostEntries| {
        serde_json::json!({
            "workspace": lost.channel.workspace.as_str(),
            "channel": lost.channel.channel.as_str(),
            "first": lost.first.0,
            "last": lost.last.0,
        })
    };
    let damage = |damage: &Damage| {
        serde_json::json!({
            "file": damage.file,
            "offset": damage.offset,
            "what": damage.what,
            "starts": !damage.is_fatal,
            "read_positions": damage.is_of_reads,
            "lost_entries": damage.lost_entries,
            "lost": damage.lost.iter().map(lost).collect::<Vec<_>>(),
            "remedy": damage.remedy(),
        })
    };
    let shard = |(shard, report): &(ShardId, CheckReport)| {
        serde_json::json!({
            "shard": shard.0,
            "runs": report.runs,
            "segments": report.segments,
            "entries": report.entries,
            "channels": report.channels,
            "trimmed": report.trimmed,
            "epoch": report.epoch.0,
            "read_positions": report.read_positions,
            "bytes": report.bytes,
            "torn_bytes": report.torn_bytes,
            "needless": report.needless,
            "damages": report.damages.iter().map(damage).collect::<Vec<_>>(),
        })
    };
    let is_sound = reports.iter().all(|(_, report)| report.damages.is_empty());
    serde_json::json!({
        "sound": is_sound,
        "shards": reports.iter().map(shard).collect::<Vec<_>>(),
    })
}
