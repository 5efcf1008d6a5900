//! Lets the oldest entries go when there is more than the log is to keep.
//!
//! The log goes by whole runs, oldest first: as many as are too old, or too many bytes, are replaced
//! by one run that has what outlives their entries. That is who is in which channel, the nonces
//! within the window, and up to where each channel is gone. It is written, named and counted as a
//! merged run is, so a crash leaves either what was there before or what is there after, and what is
//! gone once stays gone. No entry is read for it.
//!
//! So that a run is no more than an eighth of what is kept, a segment takes no groups when its first
//! one is that old, and runs are merged only as far.

use std::sync::Arc;

use seriatim_engine::ids::{ChannelKey, SeqNo};
use seriatim_engine::time::LogTime;

use super::extent::Extent;
use super::footer::TRIMMED_LEVEL;
use super::history::in_memory;
use super::index::Index;
use super::maintenance::{SWITCHED_AT_ONCE, Setback};
use super::merge::copy_nonces;
use super::pace::Pace;
use super::peek::records_of;
use super::record::decode_channel;
use super::run::Run;
use super::run_name::{Job, RunName};
use super::run_writer::{RunFacts, RunWriter};
use super::store::LogStore;
use crate::StoreError;

/// What was let go at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrimReport {
    /// Of each channel that lost some, the last entry that is gone.
    pub channels: Vec<(ChannelKey, SeqNo)>,
    pub entries: u64,
    /// Of files, less what is kept of them.
    pub bytes: u64,
    /// Everything that was written up to this time is gone, and nothing later.
    pub upto: LogTime,
}

impl LogStore {
    /// Lets the oldest runs go that the log is not to keep at `now`. Gives what went, if any did.
    pub(super) async fn trim_due_runs(
        &self,
        now: LogTime,
        nonces_since: LogTime,
        pace: Pace,
    ) -> Result<Option<TrimReport>, Setback> {
        let inputs = self.runs_to_trim(now);
        if inputs.iter().all(|run| run.footer.is_trimmed()) {
            return Ok(None);
        }
        self.trim(&inputs, nonces_since, pace).await.map(Some)
    }

    /// The oldest runs, as many as are not to be kept, with what was trimmed before.
    fn runs_to_trim(&self, now: LogTime) -> Vec<Arc<Run>> {
        let retention = self.options.retention;
        let index = self.index();
        let runs = index.runs();
        let kept_since = retention.since(now);
        let mut bytes = bytes_kept(&index, u64::from(self.options.segment_bytes()));
        let is_over = |run: &&Arc<Run>| {
            let is_over = run.footer.is_trimmed()
                || run.footer.log_time < kept_since
                || retention.bytes.is_some_and(|most| bytes > most);
            if is_over && !run.footer.is_trimmed() {
                bytes = bytes.saturating_sub(run.footer.file_bytes());
            }
            is_over
        };
        runs.iter().take_while(is_over).cloned().collect()
    }

    async fn trim(
        &self,
        inputs: &[Arc<Run>],
        nonces_since: LogTime,
        mut pace: Pace,
    ) -> Result<TrimReport, Setback> {
        let last = inputs.last().expect("there are runs to trim").footer;
        let name = RunName { shard: self.shard, first: 1, last: last.name.last };
        let begun = RunWriter::begin(&*self.disk, name, Job::Merge, pace.clone()).await;
        let mut run = begun.map_err(Setback::Retry)?;
        run.end_records();
        copy_state(inputs, &mut run).await.map_err(|error| self.judge(error))?;
        copy_nonces(inputs, nonces_since, &mut run).await.map_err(|error| self.judge(error))?;
        let mut before: Option<Box<[u8]>> = None;
        loop {
            let next = self.index().next_trimmed(before.as_deref(), name);
            let Some((channel, trimmed)) = next else { break };
            run.push_trimmed(channel.clone(), trimmed);
            before = Some(channel);
        }
        let facts = RunFacts {
            level: TRIMMED_LEVEL,
            epoch: last.epoch,
            segment_length: last.segment_length,
            log_time: last.log_time,
        };
        let (run, extents) = run.finish(&*self.disk, facts).await?;
        let bytes_before: u64 = inputs.iter().map(|input| input.footer.file_bytes()).sum();
        let mut report = TrimReport {
            channels: Vec::with_capacity(extents.len()),
            entries: inputs.iter().map(|input| input.footer.entries).sum(),
            bytes: bytes_before.saturating_sub(run.footer.file_bytes()),
            upto: last.log_time,
        };
        for extents in extents.chunks(SWITCHED_AT_ONCE) {
            for (channel, extent) in extents {
                self.switch_to_trimmed(channel, extent, name, &mut report)?;
            }
            pace.pause().await;
        }
        self.index().runs_are_merged(run);
        // One of the same segments was replaced when the new one got its name.
        for input in inputs.iter().filter(|input| input.name() != name) {
            self.remove_needless(&input.name().file()).await;
        }
        Ok(report)
    }

    fn switch_to_trimmed(
        &self,
        channel: &[u8],
        extent: &Extent,
        trimmed: RunName,
        report: &mut TrimReport,
    ) -> Result<(), Setback> {
        let mut index = self.index();
        if index.trimmed(channel).upto < extent.last() {
            let key = decode_channel(channel).map_err(|flaw| Setback::Fatal(in_memory(flaw)))?;
            report.channels.push((key, extent.last()));
        }
        index.trim(channel, extent, trimmed);
        Ok(())
    }

    /// Lets the segment that takes groups take no more, if its first one is too old for one file.
    /// Gives whether it was.
    pub(super) async fn seal_if_old(&self, now: LogTime) -> bool {
        let Some(age) = self.options.retention.file_age() else { return false };
        let is_old = |index: &Index| {
            let waits = index.waiting_count() > 0;
            !waits && index.active_since().is_some_and(|since| since < now.before(age))
        };
        let is_old = is_old(&self.index());
        if is_old {
            self.seal_active().await;
        }
        is_old
    }
}

/// What counts against the limit: runs with entries, segments that are in none, and one that is
/// being filled, as if it were full.
fn bytes_kept(index: &Index, segment_bytes: u64) -> u64 {
    let with_entries = index.runs().iter().filter(|run| !run.footer.is_trimmed());
    let runs: u64 = with_entries.map(|run| run.footer.file_bytes()).sum();
    runs + index.waiting_bytes() + segment_bytes
}

/// Copies the state of all inputs, one after the other: within a channel it is in order then.
async fn copy_state(inputs: &[Arc<Run>], run: &mut RunWriter) -> Result<(), StoreError> {
    for input in inputs {
        let mut blocks = input.state();
        while let Some((place, payload)) = blocks.next().await? {
            for record in records_of(&payload) {
                run.push_state(record.map_err(|flaw| input.corrupt(place, flaw))?);
            }
            if run.is_full() {
                run.drain().await?;
            }
        }
    }
    run.end_state();
    Ok(())
}
