//! Verifies a segment: its header, its groups and every record in them.

use seriatim_engine::ids::Epoch;

use super::Check;
use super::findings::unreadable;
use crate::DiskFile;
use crate::log_store::group::{GROUP_HEADER_BYTES, Group, Groups, Place, decode, find_after};
use crate::log_store::peek::peek;
use crate::log_store::record::Flaw;
use crate::log_store::replay::CLOCK_GOES_BACK;
use crate::log_store::segment::{
    HeaderFlaw, SEGMENT_BYTES_MAX, SEGMENT_HEADER_BYTES, decode_header, file_name,
};

/// The largest group may follow the last byte at which a segment still takes one.
const FILE_BYTES_MAX: u64 = SEGMENT_BYTES_MAX as u64 + (64 << 20);

impl Check {
    pub(super) async fn segment(&mut self, file: &dyn DiskFile, segment: u32, is_last: bool) {
        let place = Place { shard: self.shard, segment };
        let name = file_name(place);
        self.report.segments += 1;
        let length = file.length().await.unwrap_or(u64::MAX);
        if length > FILE_BYTES_MAX {
            return self.fatal(&name, 0, "the file is longer than any segment may be");
        }
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = match file.read_at(0, wanted).await {
            Ok(bytes) if bytes.len() == wanted => bytes,
            Ok(_) => return self.fatal(&name, 0, "the file became shorter while it was read"),
            Err(error) => return self.fatal(&name, 0, &unreadable(&error)),
        };
        match decode_header(&bytes, place) {
            // Nothing follows a header before it is durable.
            Err(HeaderFlaw::Torn(_)) if is_last && length <= u64::from(SEGMENT_HEADER_BYTES) => {
                self.report.torn_bytes = length;
                return;
            }
            Err(flaw) => self.fatal(&name, 0, flaw.what()),
            Ok(length_before) => self.compare_length(length_before),
        }
        let end = self.groups(&bytes, place, is_last);
        if is_last {
            self.report.torn_bytes = length - end.max(u64::from(SEGMENT_HEADER_BYTES)).min(length);
        }
        self.before = Some((name, length));
    }

    /// Compares the length of the file before with what this one's header says that it was.
    fn compare_length(&mut self, said: u32) {
        let Some((before, length)) = self.before.take() else { return };
        if length == u64::from(said) || self.findings.has(&before) {
            return;
        }
        let what = format!("it has {length} bytes, but had {said} when the next segment was begun");
        self.findings.fatal(&before, length.min(u64::from(said)), &what);
        self.lose_track();
    }

    /// Verifies the groups of a segment. Gives where the last sound one ends.
    fn groups(&mut self, bytes: &[u8], place: Place, is_last: bool) -> u64 {
        let name = file_name(place);
        let (mut next, mut end) = (SEGMENT_HEADER_BYTES, 0);
        while (next as usize) < bytes.len() {
            match decode(bytes, place, next) {
                Ok(group) => {
                    if let Err((at, flaw)) = self.group(&group) {
                        self.fatal(&name, u64::from(at), flaw);
                    }
                    next = group.end();
                    end = u64::from(next);
                }
                Err(flaw) => {
                    let after = find_after(bytes, place, next);
                    if is_last && after.is_none() {
                        return end;
                    }
                    let at = first_bad_record(bytes, next, after).unwrap_or(next);
                    self.fatal(&name, u64::from(at), flaw);
                    let Some(after) = after else { return end };
                    next = after;
                }
            }
        }
        if !is_last && Groups::new(bytes, place).next().is_none() {
            self.fatal(&name, u64::from(SEGMENT_HEADER_BYTES), "the segment lost its groups");
        }
        end
    }

    fn group(&mut self, group: &Group<'_>) -> Result<(), (u32, Flaw)> {
        let at = group.offset;
        if group.at < self.log_time {
            return Err((at, CLOCK_GOES_BACK));
        }
        self.log_time = group.at;
        if let Some(claimed) = group.claim()? {
            let expected = self.epoch.map(|epoch| Epoch(epoch.0.saturating_add(1)));
            self.epoch = Some(claimed);
            self.report.epoch = self.report.epoch.max(claimed);
            let raises = expected.is_none_or(|expected| claimed == expected);
            if !raises || group.epoch != claimed {
                return Err((at, "a claim does not raise the epoch by one"));
            }
            return Ok(());
        }
        let expected = self.epoch.replace(group.epoch);
        if expected.is_some_and(|expected| expected != group.epoch) {
            return Err((at, "an entry was written under another epoch"));
        }
        for (offset, record) in group.records()? {
            if record.is_confirmation() {
                continue;
            }
            let positions = (record.seq, record.seq);
            let advanced = self.heads.advance(record.channel, positions, &mut self.findings);
            advanced.map_err(|flaw| (offset, flaw))?;
            self.report.entries += 1;
        }
        Ok(())
    }

    fn fatal(&mut self, file: &str, offset: u64, what: &str) {
        self.findings.fatal(file, offset, what);
        self.lose_track();
    }
}

/// Where in the group at `offset`, whose checksum does not match, the first record that is not
/// sound begins. None if that can't be told, or if it is the header that is damaged. The next sound
/// group is at `after`.
fn first_bad_record(file: &[u8], offset: u32, after: Option<u32>) -> Option<u32> {
    let start = usize::try_from(offset).ok()?.checked_add(GROUP_HEADER_BYTES)?;
    let end = after.map_or(Some(file.len()), |after| usize::try_from(after).ok())?;
    let mut at = start;
    while let Some(rest) = file.get(at..end).filter(|rest| !rest.is_empty()) {
        let Ok(record) = peek(rest) else { break };
        at += record.bytes.len();
    }
    (start < at && at < end).then_some(u32::try_from(at).ok()).flatten()
}
