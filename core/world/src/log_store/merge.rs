//! Merges neighbouring runs into one, channel by channel: a channel's positions never interleave
//! between runs, so its records are put one after the other as they are, each one verified.

use std::sync::Arc;

use bytes::Bytes;
use seriatim_engine::ids::SeqNo;
use seriatim_engine::nonces::NonceKey;
use seriatim_engine::time::{LogTime, WallTime};

use super::extent::{Extent, Stored};
use super::flush::{NONCE_PARTS, part_of};
use super::maintenance::{SWITCHED_AT_ONCE, Setback};
use super::pace::Pace;
use super::peek::{Peek, peek, record_length};
use super::record::{ANOTHER_RECORD, Flaw, Reader, TOO_SHORT};
use super::run::{Blocks, Run};
use super::run_name::{Job, RunName};
use super::run_writer::{CHUNK_BYTES, CONFIRMATION_BIT, RunFacts, RunWriter, StoredNonce};
use super::store::LogStore;
use crate::StoreError;

impl LogStore {
    /// Merges the oldest neighbouring runs of a level that are due. Gives whether there were any.
    pub(super) async fn merge_due_runs(
        &self,
        nonces_since: LogTime,
        pace: Pace,
    ) -> Result<bool, Setback> {
        let inputs = self.runs_to_merge();
        if inputs.is_empty() {
            return Ok(false);
        }
        self.merge(&inputs, nonces_since, pace).await?;
        Ok(true)
    }

    fn runs_to_merge(&self) -> Vec<Arc<Run>> {
        let count = self.options.merge_runs();
        let index = self.index();
        let damaged = self.damaged();
        let is_due = |(place, runs): &(usize, &[Arc<Run>])| {
            let level = runs.first().map_or(0, |run| run.footer.level);
            let before = place.checked_sub(1).and_then(|place| index.runs().get(place));
            level < self.options.level_max
                && runs.iter().all(|run| run.footer.level == level)
                && !runs.iter().any(|run| damaged.contains(&run.name()))
                && self.is_one_file(before, runs)
        };
        let mut windows = index.runs().windows(count).enumerate();
        windows.find(is_due).map(|(_, runs)| runs.to_vec()).unwrap_or_default()
    }

    /// Whether the runs may become one file, which the log's limits let go as a whole. `before` is
    /// the run before them: they begin when it ends.
    fn is_one_file(&self, before: Option<&Arc<Run>>, runs: &[Arc<Run>]) -> bool {
        let retention = self.options.retention;
        let time = |run: Option<&Arc<Run>>| run.map_or(LogTime(0), |run| run.footer.log_time);
        let bytes: u64 = runs.iter().map(|run| run.footer.file_bytes()).sum();
        retention.file_bytes().is_none_or(|most| bytes <= most)
            && retention
                .file_age()
                .is_none_or(|most| time(runs.last()).before(most) <= time(before))
    }

    async fn merge(
        &self,
        inputs: &[Arc<Run>],
        nonces_since: LogTime,
        mut pace: Pace,
    ) -> Result<(), Setback> {
        let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else { return Ok(()) };
        let name = RunName { shard: self.shard, first: first.name().first, last: last.name().last };
        let begun = RunWriter::begin(&*self.disk, name, Job::Merge, pace.clone()).await;
        let mut run = begun.map_err(Setback::Retry)?;
        self.copy_records(inputs, name, &mut run).await?;
        run.end_records();
        copy_nonces(inputs, nonces_since, &mut run).await.map_err(|error| self.judge(error))?;
        let facts = RunFacts {
            level: first.footer.level + 1,
            epoch: last.footer.epoch,
            segment_length: last.footer.segment_length,
            log_time: last.footer.log_time,
        };
        let (run, extents) = run.finish(&*self.disk, facts).await?;
        let switch = |(name, extent): &(Box<[u8]>, Extent)| {
            let stored = Stored { run: run.clone(), extent: *extent };
            self.index().switch_to_merged(name, stored);
        };
        for extents in extents.chunks(SWITCHED_AT_ONCE) {
            extents.iter().for_each(switch);
            pace.pause().await;
        }
        self.index().runs_are_merged(run);
        for input in inputs {
            self.remove_needless(&input.name().file()).await;
        }
        Ok(())
    }

    async fn copy_records(
        &self,
        inputs: &[Arc<Run>],
        merged: RunName,
        run: &mut RunWriter,
    ) -> Result<(), Setback> {
        let mut readers: Vec<Records> = inputs.iter().map(Records::of).collect();
        let mut last: Option<Box<[u8]>> = None;
        loop {
            let next = self.index().next_extents(last.as_deref(), merged);
            let Some((name, extents)) = next else { return Ok(()) };
            for Stored { run: input, extent } in extents {
                let reader = readers.iter_mut().find(|reader| Arc::ptr_eq(&reader.run, &input));
                let reader = reader.expect("the merged runs are the inputs");
                let (mut offset, mut seq) = (extent.offset, extent.first);
                while offset < extent.end() {
                    let record = reader.at(offset, extent.end()).await;
                    let record = record.map_err(|error| self.judge(error))?;
                    let record = check(&record, &name, seq)
                        .map_err(|flaw| self.judge(input.corrupt(offset, flaw)))?;
                    run.push(&record);
                    offset += record.bytes.len() as u64;
                    seq = seq.next();
                    if run.is_full() {
                        run.drain().await.map_err(Setback::Retry)?;
                    }
                }
                if seq != extent.last().next() {
                    let flaw = "a channel has another count of records than it says";
                    return Err(self.judge(input.corrupt(extent.offset, flaw)));
                }
            }
            last = Some(name);
        }
    }

    /// What an error of reading means. A run that is damaged is not merged again.
    pub(super) fn judge(&self, error: StoreError) -> Setback {
        let StoreError::Corrupt { file, .. } = &error else { return Setback::Retry(error) };
        match RunName::of(file, self.shard) {
            Some(name) => {
                self.damaged().insert(name);
                Setback::Damaged(name, error)
            }
            None => Setback::Retry(error),
        }
    }
}

pub(super) fn check<'a>(record: &'a [u8], channel: &[u8], seq: SeqNo) -> Result<Peek<'a>, Flaw> {
    let record = peek(record)?;
    if record.channel == channel && record.seq == seq { Ok(record) } else { Err(ANOTHER_RECORD) }
}

/// Reads a run's records from its start to its end.
pub(super) struct Records {
    run: Arc<Run>,
    window: Bytes,
    start: u64,
}

impl Records {
    pub(super) fn of(run: &Arc<Run>) -> Self {
        Self { run: Arc::clone(run), window: Bytes::new(), start: 0 }
    }

    /// The record at `offset`, not verified, which ends at `end` or before.
    pub(super) async fn at(&mut self, offset: u64, end: u64) -> Result<Bytes, StoreError> {
        if let Some(record) = self.in_window(offset) {
            return Ok(record);
        }
        let left = self.run.footer.data_end.saturating_sub(offset);
        let length = CHUNK_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
        self.window = self.run.read(offset, length).await?;
        self.start = offset;
        self.in_window(offset)
            .filter(|record| offset + record.len() as u64 <= end)
            .ok_or_else(|| self.run.corrupt(offset, "a record ends outside its channel"))
    }

    fn in_window(&self, offset: u64) -> Option<Bytes> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let length = record_length(self.window.get(from..)?)?;
        let end = from.checked_add(length).filter(|end| *end <= self.window.len())?;
        Some(self.window.slice(from..end))
    }
}

/// Copies the nonces of all inputs, sorted, without those that are too old.
pub(super) async fn copy_nonces(
    inputs: &[Arc<Run>],
    since: LogTime,
    run: &mut RunWriter,
) -> Result<(), StoreError> {
    let mut readers: Vec<NonceReader<'_>> =
        inputs.iter().map(|input| NonceReader::of(input)).collect();
    for part in 0..NONCE_PARTS as usize {
        let mut nonces = Vec::new();
        for reader in &mut readers {
            while let Some(nonce) = reader.next_of(part).await? {
                if nonce.logged >= since {
                    nonces.push(nonce);
                }
            }
        }
        // It is made of sorted pieces, which a stable sort takes advantage of.
        nonces.sort();
        nonces.iter().for_each(|nonce| run.push_nonce(nonce));
        if run.is_full() {
            run.drain().await?;
        }
    }
    Ok(())
}

/// Reads a run's nonces one by one.
pub(super) struct NonceReader<'a> {
    run: &'a Run,
    blocks: Blocks<'a>,
    payload: Bytes,
    place: u64,
    last: Option<StoredNonce>,
    waiting: Option<StoredNonce>,
}

impl<'a> NonceReader<'a> {
    pub(super) fn of(run: &'a Run) -> Self {
        let blocks = run.nonces();
        Self { run, blocks, payload: Bytes::new(), place: 0, last: None, waiting: None }
    }

    /// The next nonce, if it belongs to `part`.
    async fn next_of(&mut self, part: usize) -> Result<Option<StoredNonce>, StoreError> {
        if self.waiting.is_none() {
            self.waiting = self.next().await?;
        }
        Ok(self.waiting.take_if(|nonce| part_of(nonce) == part))
    }

    pub(super) async fn next(&mut self) -> Result<Option<StoredNonce>, StoreError> {
        if self.payload.is_empty() {
            let Some((place, payload)) = self.blocks.next().await? else { return Ok(None) };
            (self.place, self.payload) = (place, payload);
        }
        let mut reader = Reader::new(&self.payload);
        let nonce = decode_nonce(&mut reader);
        let nonce = nonce.map_err(|flaw| self.run.corrupt(self.place, flaw))?;
        if self.last.is_some_and(|last| last > nonce) {
            return Err(self.run.corrupt(self.place, "nonces are out of order"));
        }
        let used = self.payload.len() - reader.rest().len();
        drop(self.payload.split_to(used));
        self.last = Some(nonce);
        Ok(Some(nonce))
    }
}

fn decode_nonce(reader: &mut Reader<'_>) -> Result<StoredNonce, Flaw> {
    let key = NonceKey(u128::from_be_bytes(reader.array().ok_or(TOO_SHORT)?));
    let marked = reader.u64().ok_or(TOO_SHORT)?;
    let (seq, is_confirmation) =
        (SeqNo(marked & !CONFIRMATION_BIT), marked & CONFIRMATION_BIT != 0);
    let at = WallTime(reader.u64().ok_or(TOO_SHORT)?);
    let logged = LogTime(reader.u32().ok_or(TOO_SHORT)?);
    if seq == SeqNo::ZERO {
        return Err("a nonce leads to no position");
    }
    Ok(StoredNonce { key, seq, at, logged, is_confirmation })
}
