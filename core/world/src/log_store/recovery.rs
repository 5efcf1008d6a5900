//! Opens what a predecessor left behind: the runs by their footers and channel indexes, and the
//! segments that no run replaces by reading all of them, and cuts off the one group that a crash
//! may have left incomplete.
//!
//! First everything is read and judged, then files are changed, so that a corrupt log is left as
//! it was found. The changes are made durable before anything is reported, and a crash among them
//! leaves a log that recovers to the same state.

use std::sync::Arc;

use seriatim_engine::ids::{Epoch, ShardId};
use seriatim_engine::time::LogTime;

use super::directory::Directory;
use super::group::Place;
use super::index::Index;
use super::replay::{Replay, Torn};
use super::run::{Run, corrupt as corrupt_run};
use super::segment::{failed, file_name};
use crate::{Disk, DiskFile, StoreError};

/// What was found in a shard's log, for the operator.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryReport {
    pub runs: u64,
    /// Those that no run replaces.
    pub segments: u64,
    /// Appends and claims in these segments.
    pub groups: u64,
    /// In runs and segments.
    pub entries: u64,
    /// Entries that are gone because of the log's limits.
    pub trimmed: u64,
    pub channels: u64,
    /// The newest claimed epoch; 0 if there was no claim.
    pub epoch: Epoch,
    /// Bytes of an incomplete last group or segment, which were cut off.
    pub truncated_bytes: u64,
}

/// A log that can go on.
pub(super) struct RecoveredLog {
    pub(super) index: Index,
    pub(super) epoch: Epoch,
    /// The greatest time of a group.
    pub(super) log_time: LogTime,
    /// The newest segment there was, in a run or not, and its length; 0 if there was none.
    pub(super) last: (u32, u32),
    /// The newest segment's file, unless it is in a run.
    pub(super) active: Option<Arc<dyn DiskFile>>,
    pub(super) report: RecoveryReport,
}

/// Recovers the log of `shard`.
pub(super) async fn recover(disk: &dyn Disk, shard: ShardId) -> Result<RecoveredLog, StoreError> {
    let names = disk.list().await.map_err(|error| failed("list", "the data directory", error))?;
    let directory = Directory::read(&names, shard)?;
    let mut replay = Replay::default();
    let mut runs = Vec::new();
    for &name in &directory.runs {
        let run = Arc::new(Run::open(disk, name).await?);
        for (channel, extent) in run.extents().await? {
            if run.footer.is_trimmed() {
                replay.index.add_trimmed(&channel, &extent);
                replay.report.trimmed += extent.last().0;
                continue;
            }
            let added = replay.index.add_stored(&channel, &run, extent);
            added.map_err(|flaw| corrupt_run(name, run.footer.channels_start(), flaw))?;
        }
        replay.after_run(&run.footer)?;
        replay.index.add_run(Arc::clone(&run));
        runs.push(run);
    }
    let mut torn = None;
    for &segment in &directory.segments {
        let is_last = directory.segments.last() == Some(&segment);
        torn = replay.segment(disk, Place { shard, segment }, is_last).await?;
    }
    repair(disk, shard, &mut replay, torn).await?;
    sync_all(disk, shard, &replay, &runs).await?;
    // Only what is durable replaces anything.
    for name in &directory.needless {
        disk.remove(name).await.map_err(|error| failed("remove", name, error))?;
    }
    let report = RecoveryReport {
        runs: runs.len() as u64,
        segments: replay.files.len() as u64,
        channels: replay.index.channel_count() as u64,
        epoch: replay.epoch,
        ..replay.report
    };
    let active = replay.files.last().map(|(_, file)| Arc::clone(file));
    let Replay { index, epoch, log_time, last, .. } = replay;
    Ok(RecoveredLog { index, epoch, log_time, last, active, report })
}

/// Cuts `torn` off.
async fn repair(
    disk: &dyn Disk,
    shard: ShardId,
    replay: &mut Replay,
    torn: Option<Torn>,
) -> Result<(), StoreError> {
    let Some(Torn { segment, end, length }) = torn else { return Ok(()) };
    let name = file_name(Place { shard, segment });
    if end == 0 {
        replay.forget(segment);
        disk.remove(&name).await.map_err(|error| failed("remove", &name, error))?;
    } else if let Some((_, file)) = replay.files.last() {
        let cut = file.set_length(u64::from(end)).await;
        cut.map_err(|error| failed("truncate", &name, error))?;
    }
    replay.report.truncated_bytes = u64::from(length - end);
    Ok(())
}

/// Makes durable what was read: a killed process leaves bytes and names in the kernel's memory
/// only, and a restored copy may have all of its files there.
async fn sync_all(
    disk: &dyn Disk,
    shard: ShardId,
    replay: &Replay,
    runs: &[Arc<Run>],
) -> Result<(), StoreError> {
    if let Some((offset, group)) = &replay.newest
        && let Some((segment, file)) = replay.files.last()
    {
        // After a failed sync the kernel may hold bytes in memory that it takes for written.
        // Writing them again is what makes the next sync cover them.
        let name = file_name(Place { shard, segment: *segment });
        let written = file.write_at(u64::from(*offset), group.clone()).await;
        written.map_err(|error| failed("write", &name, error))?;
    }
    for (segment, file) in &replay.files {
        let synced = file.sync().await;
        let name = file_name(Place { shard, segment: *segment });
        synced.map_err(|error| failed("sync", &name, error))?;
    }
    for run in runs {
        let synced = run.file.sync().await;
        synced.map_err(|error| failed("sync", &run.name().file(), error))?;
    }
    disk.sync_directory().await.map_err(|error| failed("sync", "the data directory", error))
}
