//! Verifies a log that no server has open: every checksum, every index against what it indexes,
//! and that each channel's positions are dense. It changes nothing.
//!
//! Opening a log stops at the first damage; this goes on behind it, so that an operator learns of
//! every damaged file and of what is lost. Three things can't be told from the files: that the
//! newest of them are missing, that the last segment lost groups from its end (a crash does that to
//! a group that nobody was told of), and that a run has fewer nonces than it was written with.
//! Of the read positions beside the log the last can't be told either that were lost from the end.

mod findings;
mod heads;
mod reads;
mod run;
mod segment;

use seriatim_engine::ids::{Epoch, ShardId};
use seriatim_engine::time::LogTime;

pub use findings::{Damage, LostEntries};
use findings::{Findings, unreadable};
use heads::Heads;

use super::group::Place;
use super::read_cursors;
use super::run_name::{Job, RunName};
use super::segment::{failed, file_name, number_of};
use crate::{Disk, DiskFile, StoreError};

/// What was found in a shard's log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CheckReport {
    pub runs: u64,
    /// Those that no run replaces.
    pub segments: u64,
    /// Entries that are what was written, and the channels that they are in.
    pub entries: u64,
    pub channels: u64,
    /// Entries that are gone because the log was not to keep them.
    pub trimmed: u64,
    /// The newest epoch; 0 if nobody ever claimed the shard.
    pub epoch: Epoch,
    /// Users' positions in channels that are known: one for each of both at most.
    pub read_positions: u64,
    pub bytes: u64,
    /// Bytes at the end that a crash left of a group. Opening the log cuts them off.
    pub torn_bytes: u64,
    /// Files that count for nothing. Opening the log removes them.
    pub needless: Vec<String>,
    /// One for each damaged or missing file, in the order of the log.
    pub damages: Vec<Damage>,
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub bytes: u64,
    pub bytes_total: u64,
}

/// The shards that have files on `disk`.
///
/// # Errors
/// [`StoreError::Failed`] when the directory can't be read.
pub async fn shards(disk: &dyn Disk) -> Result<Vec<ShardId>, StoreError> {
    let names = disk.list().await.map_err(|error| failed("list", "the log directory", error))?;
    let shard = |name: &String| {
        let (number, _) = name.strip_prefix("shard-")?.split_once('.')?;
        let shard = ShardId(number.parse().ok()?);
        let is_ours = number_of(name, shard).is_some() || RunName::of(name, shard).is_some();
        is_ours.then_some(shard)
    };
    let mut shards: Vec<ShardId> = names.iter().filter_map(shard).collect();
    shards.sort_unstable();
    shards.dedup();
    Ok(shards)
}

/// Verifies the log of `shard`. `progress` is called once for each file that was read.
///
/// # Errors
/// [`StoreError::Failed`] when the directory can't be read. A file that can't be read is damage.
pub async fn check(
    disk: &dyn Disk,
    shard: ShardId,
    mut progress: impl FnMut(Progress),
) -> Result<CheckReport, StoreError> {
    let names = disk.list().await.map_err(|error| failed("list", "the log directory", error))?;
    let mut check = Check::new(shard);
    let parts = check.parts(&names);
    let mut sizes = Vec::new();
    for part in &parts {
        sizes.push(check.measure(disk, part).await);
    }
    let bytes_total = sizes.iter().flatten().map(|(_, bytes)| bytes).sum();
    for (index, (part, size)) in parts.iter().zip(sizes).enumerate() {
        let Some((file, bytes)) = size else {
            check.skip(part);
            continue;
        };
        let is_last = matches!(parts.get(index + 1), None | Some(Part::Reads));
        match part {
            Part::Run(name) => check.run(disk, *name).await,
            Part::Segment(number) => check.segment(&*file, *number, is_last).await,
            Part::Missing(_) => {}
            Part::Reads => check.reads(&*file).await,
        }
        check.report.bytes += bytes;
        progress(Progress { bytes: check.report.bytes, bytes_total });
    }
    Ok(check.finish())
}

/// A piece of the log, in its order.
enum Part {
    Run(RunName),
    Segment(u32),
    /// Described by the segments that should be in it.
    Missing(RunName),
    /// How far users have read. It follows all of the log.
    Reads,
}

struct Check {
    shard: ShardId,
    report: CheckReport,
    findings: Findings,
    heads: Heads,
    /// None after damage: a claim may have been lost.
    epoch: Option<Epoch>,
    /// The file before and the length that its last segment had, if it is known.
    before: Option<(String, u64)>,
    /// The greatest time that was seen.
    log_time: LogTime,
}

impl Check {
    fn new(shard: ShardId) -> Self {
        Self {
            shard,
            report: CheckReport::default(),
            findings: Findings::default(),
            heads: Heads::default(),
            epoch: Some(Epoch(0)),
            before: None,
            log_time: LogTime::default(),
        }
    }

    /// The shard's files that count, and where some are missing.
    fn parts(&mut self, names: &[String]) -> Vec<Part> {
        let shard = self.shard;
        let temporary = [Job::Flush, Job::Merge].map(|job| job.temporary(shard));
        self.report.needless =
            names.iter().filter(|name| temporary.contains(name)).cloned().collect();
        let has_reads = names.contains(&read_cursors::file_name(shard));
        if has_reads {
            let left = read_cursors::temporary(shard);
            self.report.needless.extend(names.iter().find(|name| **name == left).cloned());
        }
        let mut runs: Vec<RunName> =
            names.iter().filter_map(|name| RunName::of(name, shard)).collect();
        // Of those that begin with the same segment, the one that covers the others is first.
        runs.sort_unstable_by_key(|run| (run.first, std::cmp::Reverse(run.last)));
        let mut parts = Vec::new();
        let (mut upto, mut widest) = (0, None::<RunName>);
        for run in runs {
            if widest.is_some_and(|widest| widest.covers(run)) {
                self.report.needless.push(run.file());
                continue;
            }
            if run.first <= upto {
                self.findings.fatal(&run.file(), 0, "it overlaps another run");
                continue;
            }
            if run.first > upto + 1 {
                parts.push(Part::Missing(RunName { shard, first: upto + 1, last: run.first - 1 }));
            }
            parts.push(Part::Run(run));
            (upto, widest) = (run.last, Some(run));
        }
        let covered = upto;
        let mut numbers: Vec<u32> =
            names.iter().filter_map(|name| number_of(name, shard)).collect();
        numbers.sort_unstable();
        for segment in numbers {
            if segment <= covered {
                self.report.needless.push(file_name(Place { shard, segment }));
                continue;
            }
            if segment > upto + 1 {
                parts.push(Part::Missing(RunName { shard, first: upto + 1, last: segment - 1 }));
            }
            parts.push(Part::Segment(segment));
            upto = segment;
        }
        parts.extend(has_reads.then_some(Part::Reads));
        parts
    }

    /// Opens a file and measures it. What can't be, is damage.
    async fn measure(&mut self, disk: &dyn Disk, part: &Part) -> Option<(Box<dyn DiskFile>, u64)> {
        let (name, opened) = match part {
            Part::Run(run) => (run.file(), disk.open(&run.file()).await),
            Part::Segment(segment) => {
                let name = file_name(Place { shard: self.shard, segment: *segment });
                let opened = disk.open(&name).await;
                (name, opened)
            }
            Part::Reads => {
                let name = read_cursors::file_name(self.shard);
                let opened = disk.open(&name).await;
                (name, opened)
            }
            Part::Missing(_) => return None,
        };
        let opened = match opened {
            Ok(file) => file.length().await.map(|bytes| (file, bytes)),
            Err(error) => Err(error),
        };
        opened.map_err(|error| self.findings.fatal(&name, 0, &unreadable(&error))).ok()
    }

    /// Goes on behind what can't be read.
    fn skip(&mut self, part: &Part) {
        if let Part::Missing(run) = part {
            let what = "the file, or files for the same segments, are missing";
            self.findings.fatal(&missing_name(*run), 0, what);
        }
        self.lose_track();
    }

    /// What comes next may have other epochs and positions than what was read says.
    fn lose_track(&mut self) {
        self.epoch = None;
        self.before = None;
    }

    fn finish(self) -> CheckReport {
        let Self { mut report, findings, heads, .. } = self;
        report.channels = heads.count();
        report.damages = findings.into_damages();
        report
    }
}

/// A single missing segment is called by its own name.
fn missing_name(run: RunName) -> String {
    let RunName { shard, first, last } = run;
    if first == last { file_name(Place { shard, segment: first }) } else { run.file() }
}
