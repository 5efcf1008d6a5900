//! A run: one immutable file in which each channel's entries lie together.

use std::sync::Arc;

use bytes::Bytes;
use seriatim_engine::entry::Entry;
use seriatim_engine::ids::SeqNo;
use seriatim_engine::time::WallTime;

use super::block::{self, Decoded, Section, SectionKind};
use super::extent::{Extent, MARKS_BLOCK_BYTES, MARKS_PER_BLOCK, Mark};
use super::footer::{FOOTER_BYTES, Footer, RUN_MAGIC};
use super::page::Page;
use super::peek::record_length;
use super::record::{self, Flaw, Reader};
use super::run_name::RunName;
use super::segment::failed;
use crate::{Disk, DiskFile, StoreError};

/// What one read of records fetches at most, unless a single record is longer.
const READ_BYTES_MAX: usize = 256 * 1024;

/// What one read fetches at least, where there is so much: less would not be quicker.
const READ_BYTES_MIN: usize = 4 * 1024;

/// What one read fetches at least that looks for a time: the last stride that is too early, and the
/// one after it.
const SOUGHT_BYTES: usize = 16 * 1024;

/// A run that can be read.
pub(super) struct Run {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) footer: Footer,
}

impl Run {
    /// Opens the run and verifies its header and footer.
    pub(super) async fn open(disk: &dyn Disk, name: RunName) -> Result<Self, StoreError> {
        let file_name = name.file();
        let flawed = |offset, what| corrupt(name, offset, what);
        let file = disk.open(&file_name).await;
        let file = file.map_err(|error| failed("open", &file_name, error))?;
        let length = file.length().await.map_err(|error| failed("measure", &file_name, error))?;
        let read = |offset, length| {
            let read = file.read_at(offset, length);
            async { read.await.map_err(|error| failed("read", &file_name, error)) }
        };
        let footer_start = length.saturating_sub(FOOTER_BYTES as u64);
        let footer = read(footer_start, FOOTER_BYTES).await?;
        let footer = Footer::decode(&footer, name, length);
        let footer = footer.map_err(|what| flawed(footer_start, what))?;
        if read(0, RUN_MAGIC.len()).await? != RUN_MAGIC[..] {
            return Err(flawed(0, "the file is not a run"));
        }
        Ok(Self { file: Arc::from(file), footer })
    }

    pub(super) fn name(&self) -> RunName {
        self.footer.name
    }

    pub(super) fn corrupt(&self, offset: u64, what: Flaw) -> StoreError {
        corrupt(self.name(), offset, what)
    }

    /// Bytes `offset` and on: `length` of them, or an error.
    pub(super) async fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let bytes = self.file.read_at(offset, length).await;
        let bytes = bytes.map_err(|error| failed("read", &self.name().file(), error))?;
        if bytes.len() != length {
            return Err(self.corrupt(offset, "the file is shorter than it was"));
        }
        Ok(bytes)
    }

    /// The blocks of the state section.
    pub(super) fn state(&self) -> Blocks<'_> {
        self.blocks(SectionKind::State, self.footer.data_end, self.footer.state_bytes)
    }

    /// The blocks of the nonces section.
    pub(super) fn nonces(&self) -> Blocks<'_> {
        self.blocks(SectionKind::Nonces, self.footer.nonces_start(), self.footer.nonces_bytes)
    }

    /// The blocks of the channels section.
    pub(super) fn channels(&self) -> Blocks<'_> {
        self.blocks(SectionKind::Channels, self.footer.channels_start(), self.footer.channels_bytes)
    }

    fn blocks(&self, kind: SectionKind, start: u64, length: u64) -> Blocks<'_> {
        let section = Section { run: self.name(), kind };
        Blocks { run: self, section, start, length, offset: 0, window: Bytes::new() }
    }

    /// Every channel's extent, in the order of names.
    pub(super) async fn extents(&self) -> Result<Vec<(Box<[u8]>, Extent)>, StoreError> {
        let mut extents: Vec<(Box<[u8]>, Extent)> = Vec::new();
        let mut blocks = self.channels();
        while let Some((offset, payload)) = blocks.next().await? {
            let mut reader = Reader::new(&payload);
            while !reader.rest().is_empty() {
                let item = Extent::decode(&mut reader);
                let (name, extent) = item.map_err(|what| self.corrupt(offset, what))?;
                if (extent.count == 0) != self.footer.is_trimmed() {
                    return Err(self.corrupt(offset, "a channel has no positions in the run"));
                }
                if extents.last().is_some_and(|(last, _)| **last >= *name) {
                    return Err(self.corrupt(offset, "channels are out of order"));
                }
                if extent.marks_end() > self.footer.data_end {
                    return Err(self.corrupt(offset, "a channel's records lie outside the run"));
                }
                extents.push((name.into(), extent));
            }
        }
        Ok(extents)
    }

    /// Adds the entries of `channel` from `from` on to `page`, until it is full or the extent ends.
    /// A page that begins at a time is looked for by the marks, too.
    pub(super) async fn read_page(
        &self,
        channel: &[u8],
        extent: &Extent,
        from: SeqNo,
        page: &mut Page,
    ) -> Result<(), StoreError> {
        let mut seq = extent.first;
        let mut offset = extent.offset;
        if extent.marks > 0
            && let Some(mark) = self.last_mark(extent, is_before(from, page.since())).await?
        {
            (seq, offset) = (mark.seq, extent.offset.saturating_add(mark.offset));
        }
        // As many bytes as the wanted entries should have, and those before them.
        let average = usize::try_from(extent.bytes / extent.count).unwrap_or(READ_BYTES_MAX);
        let skipped = usize::try_from(from.0.saturating_sub(seq.0)).unwrap_or(usize::MAX);
        let wanted = page.room().saturating_add(skipped).saturating_mul(average + average / 8);
        let least = if page.since().is_some() { SOUGHT_BYTES } else { READ_BYTES_MIN };
        let mut length = wanted.clamp(least, READ_BYTES_MAX);
        while offset < extent.end() && !page.is_full() {
            let left = usize::try_from(extent.end() - offset).unwrap_or(usize::MAX);
            let bytes = self.read(offset, length.min(left)).await?;
            let mut rest = &bytes[..];
            while !page.is_full() && !rest.is_empty() {
                let Some((record, after)) = split_record(rest) else { break };
                if seq >= from {
                    let entry = entry_of(record, channel, seq);
                    page.push(entry.map_err(|what| {
                        self.corrupt(offset + (bytes.len() - rest.len()) as u64, what)
                    })?);
                }
                seq = seq.next();
                rest = after;
            }
            let used = bytes.len() - rest.len();
            offset += used as u64;
            if used == 0 {
                // The first record is longer than what was read; it may not be longer than this.
                let needed =
                    record_length(rest).filter(|needed| *needed <= left.min(READ_BYTES_MAX));
                length = needed
                    .filter(|needed| *needed > bytes.len())
                    .ok_or_else(|| self.corrupt(offset, "a record ends outside its channel"))?;
            }
        }
        Ok(())
    }

    /// The last mark for which `before` holds; it holds for a first part of them.
    pub(super) async fn last_mark(
        &self,
        extent: &Extent,
        before: impl Fn(&Mark) -> bool,
    ) -> Result<Option<Mark>, StoreError> {
        // Blocks low and before it begin with a mark that counts, those from high on do not.
        let (mut low, mut high) = (0, extent.marks.div_ceil(MARKS_PER_BLOCK));
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let marks = self.marks(extent, middle).await?;
            let count = marks.partition_point(&before);
            match count.checked_sub(1).and_then(|last| marks.get(last)) {
                Some(mark) => {
                    found = Some(*mark);
                    if count < marks.len() {
                        break;
                    }
                    low = middle + 1;
                }
                None => high = middle,
            }
        }
        Ok(found)
    }

    /// The marks of block `number` of an extent.
    pub(super) async fn marks(
        &self,
        extent: &Extent,
        number: u32,
    ) -> Result<Vec<Mark>, StoreError> {
        let offset = extent.end().saturating_add(u64::from(number) * MARKS_BLOCK_BYTES);
        let count = (extent.marks - number * MARKS_PER_BLOCK).min(MARKS_PER_BLOCK);
        let missing = u64::from(MARKS_PER_BLOCK - count) * 24;
        let length = usize::try_from(MARKS_BLOCK_BYTES - missing).unwrap_or(usize::MAX);
        let bytes = self.read(offset, length).await?;
        let section = Section { run: self.name(), kind: SectionKind::Marks };
        let flawed = |what| self.corrupt(offset, what);
        match block::decode(&bytes, section, offset).map_err(flawed)? {
            Decoded::Block { payload, length: found } if found == length => {
                Mark::decode_all(payload).map_err(flawed)
            }
            Decoded::Block { .. } | Decoded::Longer(_) => {
                Err(flawed("a block of marks has another length than its channel says"))
            }
        }
    }
}

/// Whether a page from `from` on, or the first entry as late as `since`, lies behind the start of a
/// mark's stride.
fn is_before(from: SeqNo, since: Option<WallTime>) -> impl Fn(&Mark) -> bool {
    move |mark| since.map_or(mark.seq <= from, |since| mark.newest_at < since)
}

/// The record at the start of `bytes`, and what follows it; none if it is not all there.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(record_length(bytes)?)
}

/// Verifies that `record` is entry `seq` of `channel`.
pub(super) fn entry_of(record: &[u8], channel: &[u8], seq: SeqNo) -> Result<Entry, Flaw> {
    let entry = record::decode_in(record, channel)?;
    if entry.seq == seq { Ok(entry) } else { Err(record::ANOTHER_RECORD) }
}

pub(super) fn corrupt(name: RunName, offset: u64, what: Flaw) -> StoreError {
    StoreError::Corrupt { file: name.file(), offset, what: what.to_owned() }
}

/// Reads the blocks of a section, one after the other.
pub(super) struct Blocks<'a> {
    run: &'a Run,
    section: Section,
    start: u64,
    length: u64,
    /// How much of the section was given out.
    offset: u64,
    /// What was read from there on.
    window: Bytes,
}

impl Blocks<'_> {
    /// The next block's place in the file and its payload, verified.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, Bytes)>, StoreError> {
        let left = self.length - self.offset;
        if left == 0 {
            return Ok(None);
        }
        let place = self.start.saturating_add(self.offset);
        let flawed = |what| self.run.corrupt(place, what);
        loop {
            let decoded = block::decode(&self.window, self.section, self.offset).map_err(flawed)?;
            match decoded {
                Decoded::Block { payload, length } => {
                    let payload = self.window.slice_ref(payload);
                    drop(self.window.split_to(length));
                    self.offset += length as u64;
                    return Ok(Some((place, payload)));
                }
                Decoded::Longer(needed) if needed as u64 > left => {
                    return Err(flawed("a block ends outside its section"));
                }
                Decoded::Longer(needed) => {
                    let want = needed.max(READ_BYTES_MAX);
                    let length = want.min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.window = self.run.read(place, length).await?;
                }
            }
        }
    }
}
