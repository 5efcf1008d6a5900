//! What is where: each channel's head, its extents in runs, and its entries in memory.
//!
//! It takes memory for each channel and run, not for each entry, but for the entries of segments
//! that are in no run yet: these are kept whole.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use seriatim_engine::ids::{Epoch, SeqNo};
use seriatim_engine::time::{LogTime, WallTime};

use super::channel_name::ChannelName;
use super::extent::{Extent, Stored};
use super::peek::{Peek, peek, record_length};
use super::record::Flaw;
use super::run::Run;
use super::run_name::RunName;

/// Names a channel in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChannelNumber(usize);

/// Every durable entry's place.
#[derive(Default)]
pub(super) struct Index {
    numbers: BTreeMap<ChannelName, ChannelNumber>,
    channels: Vec<Channel>,
    /// Oldest first; together they replace all segments up to the last one's.
    runs: Vec<Arc<Run>>,
    /// The groups of the segments that are in no run.
    memtables: BTreeMap<u32, Memtable>,
}

/// One channel's entries: first those in runs, then those in memory.
#[derive(Default)]
pub(super) struct Channel {
    /// The newest durable position.
    head: SeqNo,
    /// The newest position that was given to the log.
    assigned: SeqNo,
    trimmed: Trimmed,
    stored: Vec<Stored>,
    fresh: Vec<Fresh>,
}

/// The oldest entries of a channel, which are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trimmed {
    /// The last of them.
    pub(super) upto: SeqNo,
    /// The latest wall time among them.
    pub(super) newest_at: WallTime,
}

/// A channel's entries in one segment.
pub(super) struct Fresh {
    segment: u32,
    first: SeqNo,
    places: Vec<Place>,
    /// The latest wall time of them.
    newest_at: WallTime,
    /// The same of the first [`STRIDE_ENTRIES`] entries, of the first two strides of them, and so
    /// on, so it never falls. Most channels have no full stride in a segment.
    strides: Vec<WallTime>,
}

/// Entries of a channel in memory that are looked at one by one to find a time.
const STRIDE_ENTRIES: usize = 128;

impl Fresh {
    fn new(segment: u32, first: SeqNo) -> Self {
        let (places, newest_at, strides) = (Vec::new(), WallTime(0), Vec::new());
        Self { segment, first, places, newest_at, strides }
    }

    fn push(&mut self, place: Place, at: WallTime) {
        self.newest_at = self.newest_at.max(at);
        self.places.push(place);
        if self.places.len().is_multiple_of(STRIDE_ENTRIES) {
            self.strides.push(self.newest_at);
        }
    }
}

/// Where in memory a record lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: u32,
    offset: u32,
}

/// One segment's groups, as they are in the file.
#[derive(Default)]
pub(super) struct Memtable {
    chunks: Vec<Chunk>,
    confirmations: Vec<Place>,
    /// None while the segment takes groups.
    sealed: Option<Sealed>,
}

/// One group.
struct Chunk {
    bytes: Bytes,
    /// The log's time when it was written.
    at: LogTime,
}

/// A record in memory, and the log's time when it was written.
pub(super) type Aged = (Bytes, LogTime);

/// How a full segment was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) segment: u32,
    pub(super) epoch: Epoch,
    pub(super) length: u32,
    /// The time of its last group.
    pub(super) log_time: LogTime,
}

/// How far the records of a segment were visited.
#[derive(Debug, Default)]
pub(super) struct SegmentCursor {
    /// The channel that is being visited, and how many of its records were.
    channel: Option<(Box<[u8]>, usize)>,
}

impl Memtable {
    /// The record at `place`, and the chunk that it is in.
    fn record(&self, place: Place) -> Option<(&[u8], &Chunk)> {
        let chunk = self.chunks.get(place.chunk as usize)?;
        let rest = chunk.bytes.get(place.offset as usize..)?;
        Some((rest.get(..record_length(rest)?).unwrap_or(rest), chunk))
    }

    /// The record at `place`; none has no bytes.
    fn at(&self, place: Place) -> Bytes {
        self.aged(place).0
    }

    fn aged(&self, place: Place) -> Aged {
        let record = self.record(place);
        record
            .map_or_else(Aged::default, |(record, chunk)| (chunk.bytes.slice_ref(record), chunk.at))
    }
}

/// Where the next entries of a page lie.
pub(super) enum Source {
    Run(Stored),
    /// One record each.
    Memory(Vec<Bytes>),
}

/// Where the first entry of a time lies.
pub(super) enum Since {
    /// Somewhere in this channel's share of a run.
    InRun(Stored),
    At(SeqNo),
}

impl Index {
    pub(super) fn number(&self, name: &[u8]) -> Option<ChannelNumber> {
        self.numbers.get(name).copied()
    }

    /// The channel's number; it gets one if it has none.
    fn number_or_new(&mut self, name: &[u8]) -> ChannelNumber {
        if let Some(number) = self.number(name) {
            return number;
        }
        let number = ChannelNumber(self.channels.len());
        self.channels.push(Channel::default());
        self.numbers.insert(name.into(), number);
        number
    }

    fn channel(&mut self, number: ChannelNumber) -> &mut Channel {
        self.channels.get_mut(number.0).expect("a channel's number stays its own")
    }

    /// `seq` is about to be given to the log. Gives the channel's newest position that was.
    pub(super) fn assign(&mut self, name: &[u8], seq: SeqNo) -> Result<ChannelNumber, SeqNo> {
        let number = self.number_or_new(name);
        let channel = self.channel(number);
        if seq != channel.assigned.next() {
            return Err(channel.assigned);
        }
        channel.assigned = seq;
        Ok(number)
    }

    pub(super) fn add_segment(&mut self, segment: u32) {
        self.memtables.insert(segment, Memtable::default());
    }

    /// Keeps a group of a segment. Gives what places in it are called by.
    pub(super) fn add_chunk(&mut self, segment: u32, bytes: Bytes, at: LogTime) -> u32 {
        let chunks = &mut self.memtables.entry(segment).or_default().chunks;
        chunks.push(Chunk { bytes, at });
        u32::try_from(chunks.len() - 1).expect("a segment has fewer groups than bytes")
    }

    /// The channel's next entry is durable: at `offset` of a chunk of `segment`.
    pub(super) fn add(
        &mut self,
        number: ChannelNumber,
        segment: u32,
        (chunk, offset): (u32, u32),
        at: WallTime,
    ) {
        let channel = self.channel(number);
        channel.head = channel.head.next();
        let place = Place { chunk, offset };
        if channel.fresh.last().is_none_or(|fresh| fresh.segment != segment) {
            channel.fresh.push(Fresh::new(segment, channel.head));
        }
        channel.fresh.last_mut().expect("one was pushed if there was none").push(place, at);
    }

    /// A confirmation is durable: at `offset` of a chunk of `segment`.
    pub(super) fn add_confirmation(&mut self, segment: u32, (chunk, offset): (u32, u32)) {
        self.memtables.entry(segment).or_default().confirmations.push(Place { chunk, offset });
    }

    /// Some of the confirmations of `segment`, after the first `skipped`.
    pub(super) fn confirmations(&self, segment: u32, skipped: usize, count: usize) -> Vec<Aged> {
        let Some(memtable) = self.memtables.get(&segment) else { return Vec::new() };
        let places = memtable.confirmations.iter().skip(skipped).take(count);
        places.map(|place| memtable.aged(*place)).collect()
    }

    /// Adds an entry that was read from a segment.
    pub(super) fn replay(
        &mut self,
        entry: &Peek<'_>,
        segment: u32,
        place: (u32, u32),
    ) -> Result<(), Flaw> {
        let gap = |_| "a channel's positions have a gap or a repeat";
        let number = self.assign(entry.channel, entry.seq).map_err(gap)?;
        self.add(number, segment, place, entry.at);
        Ok(())
    }

    /// Adds a channel's extent of a run that was opened; runs come oldest first.
    pub(super) fn add_stored(
        &mut self,
        name: &[u8],
        run: &Arc<Run>,
        extent: Extent,
    ) -> Result<(), Flaw> {
        let number = self.number_or_new(name);
        let channel = self.channel(number);
        if extent.first != channel.head.next() {
            return Err("a channel's positions have a gap or a repeat between runs");
        }
        channel.head = extent.last();
        channel.assigned = channel.head;
        channel.stored.push(Stored { run: Arc::clone(run), extent });
        Ok(())
    }

    /// Takes from the run of what was trimmed, which is the first, what of a channel is gone.
    pub(super) fn add_trimmed(&mut self, name: &[u8], extent: &Extent) {
        let number = self.number_or_new(name);
        let channel = self.channel(number);
        channel.trimmed = Trimmed { upto: extent.last(), newest_at: extent.newest_at };
        channel.head = channel.trimmed.upto;
        channel.assigned = channel.head;
    }

    pub(super) fn add_run(&mut self, run: Arc<Run>) {
        self.runs.push(run);
    }

    /// The runs, oldest first.
    pub(super) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    pub(super) fn channel_count(&self) -> usize {
        self.channels.iter().filter(|channel| channel.head > SeqNo::ZERO).count()
    }

    /// Every channel that has entries, with its head, in the order of names.
    pub(super) fn heads(&self) -> impl Iterator<Item = (&[u8], SeqNo)> {
        let channel = |number: &ChannelNumber| self.channels.get(number.0);
        self.numbers
            .iter()
            .filter_map(move |(name, number)| Some((&**name, channel(number)?.head)))
            .filter(|(_, head)| *head > SeqNo::ZERO)
    }

    /// Where the entries of the channel from `from` on lie, in order; of those in memory not much
    /// more than `count`.
    pub(super) fn sources(&self, name: &[u8], from: SeqNo, count: usize) -> Vec<Source> {
        let Some(channel) = self.number(name).and_then(|number| self.channels.get(number.0)) else {
            return Vec::new();
        };
        let mut left = count;
        let mut sources = Vec::new();
        let skipped = channel.stored.partition_point(|stored| stored.extent.last() < from);
        for stored in channel.stored.iter().skip(skipped) {
            if left == 0 {
                return sources;
            }
            let before = from.0.saturating_sub(stored.extent.first.0);
            let here = usize::try_from(stored.extent.count - before).unwrap_or(usize::MAX);
            left = left.saturating_sub(here);
            sources.push(Source::Run(stored.clone()));
        }
        for fresh in &channel.fresh {
            let Some(memtable) = self.memtables.get(&fresh.segment) else { continue };
            let before =
                usize::try_from(from.0.saturating_sub(fresh.first.0)).unwrap_or(usize::MAX);
            let places = fresh.places.iter().skip(before).take(left);
            let records: Vec<Bytes> = places.map(|place| memtable.at(*place)).collect();
            left -= records.len();
            if !records.is_empty() {
                sources.push(Source::Memory(records));
            }
        }
        sources
    }

    pub(super) fn trimmed(&self, name: &[u8]) -> Trimmed {
        let channel = self.number(name).and_then(|number| self.channels.get(number.0));
        channel.map_or_else(Trimmed::default, |channel| channel.trimmed)
    }

    /// The channel's newest durable position.
    pub(super) fn head(&self, name: &[u8]) -> SeqNo {
        let channel = self.number(name).and_then(|number| self.channels.get(number.0));
        channel.map_or(SeqNo::ZERO, |channel| channel.head)
    }

    /// Where the channel's first entry that was numbered at `at` or later is; none if there is no
    /// such entry.
    pub(super) fn first_since(&self, name: &[u8], at: WallTime) -> Result<Option<Since>, Flaw> {
        let Some(channel) = self.number(name).and_then(|number| self.channels.get(number.0)) else {
            return Ok(None);
        };
        if let Some(stored) = channel.stored.iter().find(|stored| stored.extent.newest_at >= at) {
            return Ok(Some(Since::InRun(stored.clone())));
        }
        for fresh in &channel.fresh {
            let Some(memtable) = self.memtables.get(&fresh.segment) else { continue };
            if fresh.newest_at < at {
                continue;
            }
            let stride = fresh.strides.partition_point(|newest| *newest < at);
            for number in stride * STRIDE_ENTRIES..fresh.places.len() {
                let Some(place) = fresh.places.get(number) else { break };
                if peek(&memtable.at(*place))?.at >= at {
                    return Ok(Some(Since::At(SeqNo(fresh.first.0 + number as u64))));
                }
            }
        }
        Ok(None)
    }

    /// All records in memory, in no order that counts between channels.
    pub(super) fn fresh_records(&self) -> Vec<Aged> {
        let of_part = |fresh: &Fresh| {
            let memtable = self.memtables.get(&fresh.segment);
            let aged = |place: &Place| memtable.map(|memtable| memtable.aged(*place));
            fresh.places.iter().filter_map(aged).collect::<Vec<_>>()
        };
        let entries = self.channels.iter().flat_map(|channel| &channel.fresh).flat_map(of_part);
        let confirmations = self
            .memtables
            .values()
            .flat_map(|memtable| memtable.confirmations.iter().map(|place| memtable.aged(*place)));
        entries.chain(confirmations).collect()
    }

    /// The segment takes no more groups: it waits to be rewritten as a run.
    pub(super) fn seal(&mut self, sealed: Sealed) {
        self.memtables.entry(sealed.segment).or_default().sealed = Some(sealed);
    }

    /// The newest segment, which holds no entry, is gone: the one before takes groups again.
    pub(super) fn forget_segment(&mut self, segment: u32) {
        self.memtables.remove(&segment);
        if let Some(mut newest) = self.memtables.last_entry() {
            newest.get_mut().sealed = None;
        }
    }

    /// The oldest segment that waits.
    pub(super) fn oldest_waiting(&self) -> Option<Sealed> {
        self.memtables.values().next()?.sealed
    }

    pub(super) fn waiting_count(&self) -> usize {
        self.memtables.values().filter(|memtable| memtable.sealed.is_some()).count()
    }

    /// Calls `visit` with the records of `segment` from where `cursor` stands, channel by channel,
    /// until it says that it has enough. Gives whether there may be more.
    pub(super) fn visit_segment(
        &self,
        segment: u32,
        cursor: &mut SegmentCursor,
        mut visit: impl FnMut(&[u8], LogTime) -> bool,
    ) -> bool {
        let Some(memtable) = self.memtables.get(&segment) else { return false };
        let (start, mut visited) = match &cursor.channel {
            Some((name, visited)) => (Bound::Included(&**name), *visited),
            None => (Bound::Unbounded, 0),
        };
        for (name, number) in self.numbers.range::<[u8], _>((start, Bound::Unbounded)) {
            let of_channel = self.channels.get(number.0).map_or(&[][..], |c| &c.fresh);
            let places = of_channel
                .iter()
                .find(|fresh| fresh.segment == segment)
                .map_or(&[][..], |fresh| &fresh.places);
            for place in places.iter().skip(visited) {
                visited += 1;
                let record = memtable.record(*place);
                let (record, at) =
                    record.map(|(record, chunk)| (record, chunk.at)).unwrap_or_default();
                if visit(record, at) {
                    cursor.channel = Some(((&**name).into(), visited));
                    return true;
                }
            }
            visited = 0;
        }
        false
    }

    /// The channel's entries of `segment` are read from a run from here on.
    pub(super) fn switch_to_run(&mut self, name: &[u8], segment: u32, stored: Stored) {
        let number = self.number(name).expect("what was written to a run is indexed");
        let channel = self.channel(number);
        channel.fresh.retain(|fresh| fresh.segment != segment);
        channel.stored.push(stored);
    }

    /// Every channel was switched: the segment is needed no more.
    pub(super) fn segment_is_stored(&mut self, segment: u32, run: Arc<Run>) {
        self.memtables.remove(&segment);
        self.runs.push(run);
    }

    /// The extents of the channel after `after` in the runs that `merged` covers.
    pub(super) fn next_extents(
        &self,
        after: Option<&[u8]>,
        merged: RunName,
    ) -> Option<(Box<[u8]>, Vec<Stored>)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (name, number) in self.numbers.range::<[u8], _>((start, Bound::Unbounded)) {
            let channel = self.channels.get(number.0)?;
            let covered = |stored: &&Stored| merged.covers(stored.run.name());
            let extents: Vec<Stored> = channel.stored.iter().filter(covered).cloned().collect();
            if !extents.is_empty() {
                return Some(((&**name).into(), extents));
            }
        }
        None
    }

    /// The channel's entries in the runs that the merged one covers are read from it from here on.
    pub(super) fn switch_to_merged(&mut self, name: &[u8], merged: Stored) {
        let covers = merged.run.name();
        let number = self.number(name).expect("what was merged is indexed");
        let stored = &mut self.channel(number).stored;
        let covered = |stored: &Stored| covers.covers(stored.run.name());
        let start = stored.iter().position(covered).expect("the merged extents are indexed");
        let end = stored.iter().rposition(covered).map_or(start, |last| last + 1);
        stored.splice(start..end, [merged]);
    }

    /// What will be gone of the channel after `after`, if the runs that `trimmed` covers go.
    pub(super) fn next_trimmed(
        &self,
        after: Option<&[u8]>,
        trimmed: RunName,
    ) -> Option<(Box<[u8]>, Trimmed)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (name, number) in self.numbers.range::<[u8], _>((start, Bound::Unbounded)) {
            let channel = self.channels.get(number.0)?;
            let mut gone = channel.trimmed;
            for stored in &channel.stored {
                if trimmed.covers(stored.run.name()) {
                    gone.upto = stored.extent.last();
                    gone.newest_at = gone.newest_at.max(stored.extent.newest_at);
                }
            }
            if gone.upto > SeqNo::ZERO {
                return Some(((&**name).into(), gone));
            }
        }
        None
    }

    /// The channel's entries in the runs that `trimmed` covers are gone from here on.
    pub(super) fn trim(&mut self, name: &[u8], extent: &Extent, trimmed: RunName) {
        let number = self.number(name).expect("what was trimmed is indexed");
        let channel = self.channel(number);
        assert!(extent.last() >= channel.trimmed.upto, "what is gone comes back");
        channel.trimmed = Trimmed { upto: extent.last(), newest_at: extent.newest_at };
        channel.stored.retain(|stored| !trimmed.covers(stored.run.name()));
    }

    /// When the first group of the segment that takes groups was written; none if it has none.
    pub(super) fn active_since(&self) -> Option<LogTime> {
        let newest = self.memtables.values().next_back()?;
        newest.chunks.first().filter(|_| newest.sealed.is_none()).map(|chunk| chunk.at)
    }

    /// Bytes of the full segments that are in no run.
    pub(super) fn waiting_bytes(&self) -> u64 {
        let sealed = self.memtables.values().filter_map(|memtable| memtable.sealed);
        sealed.map(|sealed| u64::from(sealed.length)).sum()
    }

    /// Every channel was switched: the runs that the merged one covers are needed no more.
    pub(super) fn runs_are_merged(&mut self, merged: Arc<Run>) {
        let covers = merged.name();
        let covered = |run: &Arc<Run>| covers.covers(run.name());
        let start = self.runs.iter().position(covered).expect("the merged runs are there");
        let end = self.runs.iter().rposition(covered).map_or(start, |last| last + 1);
        self.runs.splice(start..end, [merged]);
    }
}
