//! Opens what a predecessor left behind: reads every segment, verifies it, and cuts off the one
//! group that a crash may have left incomplete.
//!
//! First everything is read and judged, then files are changed, so that a corrupt log is left as
//! it was found. The changes are made durable before anything is reported, and a crash among them
//! leaves a log that recovers to the same state.

use std::sync::Arc;

use bytes::Bytes;
use seriatim_engine::ids::{Epoch, ShardId};

use super::group::{Group, Groups, Place, find_after};
use super::index::Index;
use super::record::{Flaw, Record};
use super::segment::{
    HeaderFlaw, SEGMENT_HEADER_BYTES, corrupt, decode_header, failed, file_name, number_of, read,
};
use crate::{Disk, DiskFile, StoreError};

/// What was found in a shard's log, for the operator.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryReport {
    pub segments: u64,
    /// Appends and claims.
    pub groups: u64,
    pub entries: u64,
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
    /// The last segment's number; none if there is no segment.
    pub(super) last: Option<u32>,
    pub(super) report: RecoveryReport,
}

/// Recovers the log of `shard`.
pub(super) async fn recover(disk: &dyn Disk, shard: ShardId) -> Result<RecoveredLog, StoreError> {
    let numbers = segment_numbers(disk, shard).await?;
    let mut replay = Replay::default();
    let mut torn = None;
    for &segment in &numbers {
        let place = Place { shard, segment };
        let is_last = numbers.last() == Some(&segment);
        let (file, bytes) = read_segment(disk, place).await?;
        torn = replay.segment(place, file, &bytes, is_last)?;
    }
    let last = repair(disk, shard, &mut replay, torn).await?;
    sync_all(disk, shard, &replay, last).await?;
    let report = RecoveryReport {
        segments: last.map_or(0, u64::from),
        channels: replay.index.channel_count() as u64,
        epoch: replay.epoch,
        ..replay.report
    };
    Ok(RecoveredLog { index: replay.index, epoch: replay.epoch, last, report })
}

/// The shard's segment numbers: 1, 2, 3, … without a gap.
async fn segment_numbers(disk: &dyn Disk, shard: ShardId) -> Result<Vec<u32>, StoreError> {
    let names = disk.list().await.map_err(|error| failed("list", "the data directory", error))?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| number_of(name, shard)).collect();
    numbers.sort_unstable();
    for (expected, &number) in (1..).zip(&numbers) {
        if number != expected {
            let missing = Place { shard, segment: expected };
            return Err(corrupt(missing, 0, "the file is missing, but later ones are there"));
        }
    }
    Ok(numbers)
}

/// Opens a segment and reads all of it: about [`super::LogStoreOptions::segment_bytes`].
async fn read_segment(
    disk: &dyn Disk,
    place: Place,
) -> Result<(Arc<dyn DiskFile>, Bytes), StoreError> {
    let name = file_name(place);
    let file = disk.open(&name).await.map_err(|error| failed("open", &name, error))?;
    let length = file.length().await.map_err(|error| failed("measure", &name, error))?;
    let length = u32::try_from(length)
        .map_err(|_| corrupt(place, 0, "the file is longer than any segment may be"))?;
    let bytes = read(&*file, place, length).await?;
    if bytes.len() != length as usize {
        // Taking the rest for a torn end would cut off what may be there.
        let short = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        return Err(failed("read", &name, short));
    }
    Ok((Arc::from(file), bytes))
}

/// The end of the last segment that doesn't count: everything from `end` on.
struct Torn {
    segment: u32,
    end: u32,
    length: u32,
}

/// The log as read so far.
#[derive(Default)]
struct Replay {
    index: Index,
    epoch: Epoch,
    /// The length of the segment before.
    length_before: u32,
    /// The newest group: where it lies and its bytes.
    newest: Option<(u32, u32, Bytes)>,
    report: RecoveryReport,
}

impl Replay {
    /// Verifies and indexes one segment. Gives what a crash may have left at its end, if it is the
    /// last one.
    fn segment(
        &mut self,
        place: Place,
        file: Arc<dyn DiskFile>,
        bytes: &[u8],
        is_last: bool,
    ) -> Result<Option<Torn>, StoreError> {
        let length = u32::try_from(bytes.len()).expect("the file's length has 4 bytes");
        match decode_header(bytes, place) {
            // Nothing follows a header before it is durable.
            Err(HeaderFlaw::Torn(_)) if is_last && length <= SEGMENT_HEADER_BYTES => {
                return Ok(Some(Torn { segment: place.segment, end: 0, length }));
            }
            Err(flaw) => return Err(corrupt(place, 0, flaw.what())),
            Ok(length_before) if length_before != self.length_before => {
                let what = "the segment before has another length than when it was left";
                return Err(corrupt(place, 0, what));
            }
            Ok(_) => self.index.add_segment(place.segment, file, length),
        }
        let mut newest = None;
        let mut end = SEGMENT_HEADER_BYTES;
        for group in Groups::new(bytes, place) {
            match group {
                Ok(group) => {
                    self.group(&group).map_err(|(at, flaw)| corrupt(place, at, flaw))?;
                    end = group.end();
                    newest = Some(group);
                }
                Err((at, flaw)) if !is_last || find_after(bytes, place, at).is_some() => {
                    return Err(corrupt(place, at, flaw));
                }
                Err(_) => break,
            }
        }
        if let Some(group) = newest {
            let copy = Bytes::copy_from_slice(group.bytes);
            self.newest = Some((place.segment, group.offset, copy));
        } else if !is_last {
            return Err(corrupt(place, SEGMENT_HEADER_BYTES, "the segment lost its groups"));
        } else {
            // Not even its name is certain, so it does not stay.
            end = 0;
        }
        self.index.extend_segment(place.segment, end);
        self.length_before = end;
        Ok((end < length).then_some(Torn { segment: place.segment, end, length }))
    }

    fn group(&mut self, group: &Group<'_>) -> Result<(), (u32, Flaw)> {
        let records = group.records()?;
        self.report.groups += 1;
        for (record, location) in &records {
            let flawed = |flaw| (location.offset, flaw);
            match record {
                Record::Claim { epoch } => {
                    let next = Epoch(self.epoch.0.saturating_add(1));
                    if (*epoch, group.epoch, records.len()) != (next, next, 1) {
                        return Err(flawed("a claim does not raise the epoch by one"));
                    }
                    self.epoch = next;
                }
                Record::Entry(entry) => {
                    if group.epoch != self.epoch {
                        return Err(flawed("an entry was written under another epoch"));
                    }
                    self.index.add(entry, *location).map_err(flawed)?;
                    self.report.entries += 1;
                }
            }
        }
        Ok(())
    }
}

/// Cuts `torn` off. Gives the number of the segment that is the last one then.
async fn repair(
    disk: &dyn Disk,
    shard: ShardId,
    replay: &mut Replay,
    torn: Option<Torn>,
) -> Result<Option<u32>, StoreError> {
    let last = replay.newest.as_ref().map(|(segment, ..)| *segment);
    let Some(Torn { segment, end, length }) = torn else {
        return Ok(last);
    };
    let name = file_name(Place { shard, segment });
    if end == 0 {
        replay.index.remove_segment(segment);
        disk.remove(&name).await.map_err(|error| failed("remove", &name, error))?;
    } else {
        let file = file_of(&replay.index, segment);
        let cut = file.set_length(u64::from(end)).await;
        cut.map_err(|error| failed("truncate", &name, error))?;
    }
    replay.report.truncated_bytes = u64::from(length - end);
    Ok(last)
}

/// Makes durable what was read: a killed process leaves bytes and names in the kernel's memory
/// only, and a restored copy may have all of its files there.
async fn sync_all(
    disk: &dyn Disk,
    shard: ShardId,
    replay: &Replay,
    last: Option<u32>,
) -> Result<(), StoreError> {
    if let Some((segment, offset, group)) = &replay.newest {
        // After a failed sync the kernel may hold bytes in memory that it takes for written.
        // Writing them again is what makes the next sync cover them.
        let name = file_name(Place { shard, segment: *segment });
        let file = file_of(&replay.index, *segment);
        let written = file.write_at(u64::from(*offset), group.clone()).await;
        written.map_err(|error| failed("write", &name, error))?;
    }
    for segment in 1..=last.unwrap_or(0) {
        let synced = file_of(&replay.index, segment).sync().await;
        synced.map_err(|error| failed("sync", &file_name(Place { shard, segment }), error))?;
    }
    disk.sync_directory().await.map_err(|error| failed("sync", "the data directory", error))
}

fn file_of(index: &Index, segment: u32) -> Arc<dyn DiskFile> {
    let segment = index.segment(segment).expect("every segment that was read is indexed");
    Arc::clone(&segment.file)
}
