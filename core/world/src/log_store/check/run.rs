//! Verifies a run: each record, and each index against the records.

use std::sync::Arc;

use seriatim_engine::ids::SeqNo;
use seriatim_engine::time::{LogTime, WallTime};

use super::Check;
use crate::log_store::extent::{Extent, MARKS_PER_BLOCK, Mark, STRIDE_BYTES};
use crate::log_store::footer::RUN_HEADER_BYTES;
use crate::log_store::history::state_entry;
use crate::log_store::merge::{NonceReader, Records};
use crate::log_store::peek::{Peek, peek, records_of};
use crate::log_store::record::{ANOTHER_RECORD, Flaw, decode_channel};
use crate::log_store::replay::CLOCK_GOES_BACK;
use crate::log_store::run::Run;
use crate::log_store::run_name::RunName;
use crate::log_store::run_writer::StoredNonce;
use crate::{Disk, StoreError};

/// What the records of a run say, which its indexes must say too.
#[derive(Default)]
struct Seen {
    entries: u64,
    newest_at: WallTime,
    /// The records that are not messages, one after the other.
    state: Vec<u8>,
    /// 48 bytes for each record: a run is as large as some segments, not as the log.
    nonces: Vec<StoredNonce>,
    /// Not all records could be read, so the indexes can't be compared.
    is_partial: bool,
}

impl Check {
    pub(super) async fn run(&mut self, disk: &dyn Disk, name: RunName) {
        let file = name.file();
        self.report.runs += 1;
        let run = match Run::open(disk, name).await {
            Ok(run) => Arc::new(run),
            Err(error) => {
                self.findings.add_error(&file, &error, true);
                return self.lose_track();
            }
        };
        let footer = run.footer;
        if self.epoch.is_some_and(|epoch| footer.epoch < epoch) {
            self.findings.fatal(&file, run.footer.channels_start(), "the epoch goes back");
        }
        if footer.log_time < self.log_time {
            self.findings.fatal(&file, run.footer.channels_start(), CLOCK_GOES_BACK);
        }
        self.log_time = footer.log_time.max(self.log_time);
        self.epoch = Some(footer.epoch);
        self.report.epoch = self.report.epoch.max(footer.epoch);
        let mut seen = Seen::default();
        match run.extents().await {
            Ok(extents) => self.extents(&run, &extents, &mut seen).await,
            Err(error) => {
                self.findings.add_error(&file, &error, true);
                seen.is_partial = true;
            }
        }
        if let Err(error) = compare_state(&run, &seen).await {
            self.findings.add_error(&file, &error, true);
        }
        if let Err(error) = compare_nonces(&run, &mut seen).await {
            self.findings.add_error(&file, &error, true);
        }
        self.report.entries += seen.entries;
        self.before = Some((file, u64::from(footer.segment_length)));
    }

    async fn extents(&mut self, run: &Arc<Run>, extents: &[(Box<[u8]>, Extent)], seen: &mut Seen) {
        let file = run.name().file();
        if run.footer.is_trimmed() {
            for (channel, extent) in extents {
                self.heads.begin(channel, extent.last());
                self.report.trimmed += extent.last().0;
            }
            // There are no records to compare its state and nonces with.
            seen.is_partial = true;
            return;
        }
        let (mut records, mut end) = (Records::of(run), RUN_HEADER_BYTES);
        for (channel, extent) in extents {
            let positions = (extent.first, extent.last());
            let advanced = self.heads.advance(channel, positions, &mut self.findings);
            if let Err(flaw) = advanced {
                self.findings.fatal(&file, run.footer.channels_start(), flaw);
            }
            if extent.offset != end {
                let what = "a channel's records begin where they should not";
                self.findings.fatal(&file, extent.offset.min(end), what);
                seen.is_partial = true;
            }
            end = extent.marks_end();
            self.extent(run, channel, extent, (&mut records, seen)).await;
        }
        let footer = run.footer;
        let counts_match = footer.entries == seen.entries && footer.newest_at == seen.newest_at;
        if !seen.is_partial && (end != footer.data_end || !counts_match) {
            let at = footer.channels_start() + footer.channels_bytes;
            self.findings.fatal(&file, at, "the footer miscounts the records");
        }
    }

    /// Verifies one channel's records and marks.
    async fn extent(
        &mut self,
        run: &Arc<Run>,
        channel: &[u8],
        extent: &Extent,
        (records, seen): (&mut Records, &mut Seen),
    ) {
        let file = run.name().file();
        let (mut offset, mut next) = (extent.offset, extent.first);
        let (mut marks, mut newest_at) = (Vec::<Mark>::new(), WallTime(0));
        let mut is_whole = true;
        while offset < extent.end() {
            let bytes = match records.at(offset, extent.end()).await {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.findings.add_error(&file, &error, false);
                    is_whole = false;
                    break;
                }
            };
            match sound(&bytes, channel, (next, extent.last())) {
                Ok(record) => {
                    self.lose(channel, next, record.seq);
                    next = record.seq.next();
                    newest_at = newest_at.max(record.at);
                    add_mark(&mut marks, (record.seq, offset - extent.offset), newest_at);
                    if let Err(flaw) = seen.add(&record) {
                        self.findings.fatal(&file, offset, flaw);
                    }
                }
                Err(flaw) => {
                    self.findings.add(&file, offset, flaw);
                    is_whole = false;
                }
            }
            offset += bytes.len() as u64;
        }
        self.lose(channel, next, extent.last().next());
        if is_whole && next != extent.last().next() {
            let what = "a channel has another count of records than it says";
            self.findings.fatal(&file, extent.offset, what);
        } else if is_whole && newest_at != extent.newest_at {
            let what = "a channel's latest time is not that of its records";
            self.findings.fatal(&file, run.footer.channels_start(), what);
        }
        if let Err(error) = compare_marks(run, extent, is_whole.then_some(&marks)).await {
            self.findings.add_error(&file, &error, false);
        }
        seen.is_partial |= !is_whole;
    }

    /// Entries from `first` on, before `until`, were not found where they should be.
    fn lose(&mut self, channel: &[u8], first: SeqNo, until: SeqNo) {
        if first < until
            && let Ok(channel) = decode_channel(channel)
        {
            self.findings.lose(channel, first, SeqNo(until.0 - 1));
        }
    }
}

/// The record, if it is one of `channel` from the first position to the last.
fn sound<'a>(
    bytes: &'a [u8],
    channel: &[u8],
    (first, last): (SeqNo, SeqNo),
) -> Result<Peek<'a>, Flaw> {
    let record = peek(bytes)?;
    let fits = record.channel == channel && first <= record.seq && record.seq <= last;
    if fits { Ok(record) } else { Err(ANOTHER_RECORD) }
}

/// As whoever writes a run marks strides.
fn add_mark(marks: &mut Vec<Mark>, (seq, offset): (SeqNo, u64), newest_at: WallTime) {
    match marks.last_mut() {
        Some(mark) if offset - mark.offset < STRIDE_BYTES => mark.newest_at = newest_at,
        _ => marks.push(Mark { seq, offset, newest_at }),
    }
}

impl Seen {
    fn add(&mut self, record: &Peek<'_>) -> Result<(), Flaw> {
        self.entries += 1;
        self.newest_at = self.newest_at.max(record.at);
        if record.is_state() {
            state_entry(record.bytes)?;
            self.state.extend_from_slice(record.bytes);
        }
        // Records don't say when they were written.
        self.nonces.push(StoredNonce::of(record, LogTime::default())?);
        Ok(())
    }
}

/// Reads all marks of a channel and compares them with those that its records should have.
async fn compare_marks(
    run: &Run,
    extent: &Extent,
    expected: Option<&Vec<Mark>>,
) -> Result<(), StoreError> {
    let mut found = Vec::new();
    for block in 0..extent.marks.div_ceil(MARKS_PER_BLOCK) {
        found.extend(run.marks(extent, block).await?);
    }
    let Some(expected) = expected else { return Ok(()) };
    let expected = if expected.len() > 1 { expected.as_slice() } else { &[] };
    if found == expected {
        return Ok(());
    }
    Err(run.corrupt(extent.end(), "marks are not where the records' strides begin"))
}

async fn compare_state(run: &Run, seen: &Seen) -> Result<(), StoreError> {
    let (mut blocks, mut state) = (run.state(), Vec::new());
    while let Some((place, payload)) = blocks.next().await? {
        for record in records_of(&payload) {
            record.and_then(state_entry).map_err(|flaw| run.corrupt(place, flaw))?;
        }
        state.extend_from_slice(&payload);
    }
    if seen.is_partial || state == seen.state {
        return Ok(());
    }
    Err(run.corrupt(run.footer.data_end, "the state is not that of the records"))
}

/// Each nonce must be that of a record, or of a confirmation. That one is missing can't be told: old
/// ones are dropped.
async fn compare_nonces(run: &Run, seen: &mut Seen) -> Result<(), StoreError> {
    seen.nonces.sort_unstable();
    let mut of_records = seen.nonces.iter().peekable();
    let (mut nonces, mut count) = (NonceReader::of(run), 0);
    let start = run.footer.nonces_start();
    while let Some(found) = nonces.next().await? {
        count += 1;
        if found.logged > run.footer.log_time {
            return Err(run.corrupt(start, "a nonce is younger than the run"));
        }
        if found.is_confirmation {
            continue;
        }
        let nonce = StoredNonce { logged: LogTime::default(), ..found };
        while of_records.next_if(|record| **record < nonce).is_some() {}
        if !seen.is_partial && of_records.next_if(|record| **record == nonce).is_none() {
            return Err(run.corrupt(start, "a nonce is that of no record"));
        }
    }
    if count == run.footer.nonces {
        return Ok(());
    }
    Err(run.corrupt(start, "there is another count of nonces than the footer says"))
}
