//! The log as far as it was read: runs first, then segment by segment.

use std::sync::Arc;

use bytes::Bytes;
use seriatim_engine::ids::Epoch;
use seriatim_engine::time::LogTime;

use super::footer::Footer;
use super::group::{Group, Groups, Place, find_after};
use super::index::{Index, Sealed};
use super::record::Flaw;
use super::recovery::RecoveryReport;
use super::run::corrupt as corrupt_run;
use super::segment::{
    HeaderFlaw, SEGMENT_HEADER_BYTES, corrupt, decode_header, failed, file_name, read,
};
use crate::{Disk, DiskFile, StoreError};

/// The end of the last segment that doesn't count: everything from `end` on.
pub(super) struct Torn {
    pub(super) segment: u32,
    pub(super) end: u32,
    pub(super) length: u32,
}

#[derive(Default)]
pub(super) struct Replay {
    pub(super) index: Index,
    pub(super) epoch: Epoch,
    /// The time of the newest group.
    pub(super) log_time: LogTime,
    /// The newest segment and its length.
    pub(super) last: (u32, u32),
    /// Every segment that was read.
    pub(super) files: Vec<(u32, Arc<dyn DiskFile>)>,
    /// The newest segment's last group: where it lies and its bytes.
    pub(super) newest: Option<(u32, Bytes)>,
    pub(super) report: RecoveryReport,
}

impl Replay {
    /// The run's channels were added to the index.
    pub(super) fn after_run(&mut self, footer: &Footer) -> Result<(), StoreError> {
        let flawed = |flaw| corrupt_run(footer.name, footer.channels_start(), flaw);
        self.last = (footer.name.last, footer.segment_length);
        if footer.epoch < self.epoch {
            return Err(flawed("the epoch goes back"));
        }
        if footer.log_time < self.log_time {
            return Err(flawed(CLOCK_GOES_BACK));
        }
        (self.epoch, self.log_time) = (footer.epoch, footer.log_time);
        self.report.entries += footer.entries;
        Ok(())
    }

    /// Reads, verifies and indexes one segment. Gives what a crash may have left at its end, if it
    /// is the last one.
    pub(super) async fn segment(
        &mut self,
        disk: &dyn Disk,
        place: Place,
        is_last: bool,
    ) -> Result<Option<Torn>, StoreError> {
        let (file, bytes) = open_segment(disk, place).await?;
        let length = u32::try_from(bytes.len()).expect("the file's length has 4 bytes");
        match decode_header(&bytes, place) {
            // Nothing follows a header before it is durable.
            Err(HeaderFlaw::Torn(_)) if is_last && length <= SEGMENT_HEADER_BYTES => {
                return Ok(Some(Torn { segment: place.segment, end: 0, length }));
            }
            Err(flaw) => return Err(corrupt(place, 0, flaw.what())),
            Ok(length_before) if length_before != self.last.1 => {
                let what = "the segment before has another length than when it was left";
                return Err(corrupt(place, 0, what));
            }
            Ok(_) => self.files.push((place.segment, file)),
        }
        self.index.add_segment(place.segment);
        let mut newest = None;
        let mut end = SEGMENT_HEADER_BYTES;
        for group in Groups::new(&bytes, place) {
            match group {
                Ok(group) => {
                    let added = self.group(&group, place, bytes.slice_ref(group.bytes));
                    added.map_err(|(at, flaw)| corrupt(place, at, flaw))?;
                    end = group.end();
                    newest = Some((group.offset, bytes.slice_ref(group.bytes)));
                }
                Err((at, flaw)) if !is_last || find_after(&bytes, place, at).is_some() => {
                    return Err(corrupt(place, at, flaw));
                }
                Err(_) => break,
            }
        }
        if newest.is_none() {
            if !is_last {
                return Err(corrupt(place, SEGMENT_HEADER_BYTES, "the segment lost its groups"));
            }
            // Not even its name is certain, so it does not stay.
            return Ok(Some(Torn { segment: place.segment, end: 0, length }));
        }
        self.newest = newest;
        self.last = (place.segment, end);
        if !is_last {
            let sealed = Sealed {
                segment: place.segment,
                epoch: self.epoch,
                length: end,
                log_time: self.log_time,
            };
            self.index.seal(sealed);
        }
        Ok((end < length).then_some(Torn { segment: place.segment, end, length }))
    }

    /// The newest segment holds nothing and is removed: the one before is the newest.
    pub(super) fn forget(&mut self, segment: u32) {
        self.files.retain(|(number, _)| *number != segment);
        self.index.forget_segment(segment);
    }

    fn group(&mut self, group: &Group<'_>, place: Place, bytes: Bytes) -> Result<(), (u32, Flaw)> {
        self.report.groups += 1;
        if group.at < self.log_time {
            return Err((group.offset, CLOCK_GOES_BACK));
        }
        self.log_time = group.at;
        if let Some(epoch) = group.claim()? {
            let next = Epoch(self.epoch.0.saturating_add(1));
            if (epoch, group.epoch) != (next, next) {
                return Err((group.offset, "a claim does not raise the epoch by one"));
            }
            self.epoch = next;
            return Ok(());
        }
        if group.epoch != self.epoch {
            return Err((group.offset, "an entry was written under another epoch"));
        }
        let records = group.records()?;
        let chunk = self.index.add_chunk(place.segment, bytes, group.at);
        for (offset, record) in records {
            let in_chunk = (chunk, offset - group.offset);
            if record.is_confirmation() {
                self.index.add_confirmation(place.segment, in_chunk);
                continue;
            }
            let added = self.index.replay(&record, place.segment, in_chunk);
            added.map_err(|flaw| (offset, flaw))?;
            self.report.entries += 1;
        }
        Ok(())
    }
}

pub(super) const CLOCK_GOES_BACK: Flaw = "the log's clock goes back";

/// Opens a segment and reads all of it.
async fn open_segment(
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
