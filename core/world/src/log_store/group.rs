//! A record group: what one commit writes.

use seriatim_engine::entry::{ChannelEntry, Confirmation, ReadCursor};
use seriatim_engine::ids::{Epoch, ShardId};
use seriatim_engine::limits::{BODY_BYTES_MAX, NAME_BYTES_MAX, STORE_BATCH_MAX};
use seriatim_engine::time::LogTime;

use super::peek::{Peek, peek};
use super::record::{
    self, Flaw, KIND_CLAIM, RECORD_HEADER_BYTES, Reader, Record, length_u32, put_at,
};
use super::segment::SEGMENT_HEADER_BYTES;

/// Bytes of a group before its payload.
pub(super) const GROUP_HEADER_BYTES: usize = 44;

/// Four times the largest batch, so that a length beyond it is known to be nonsense.
const GROUP_BYTES_MAX: usize = 64 << 20;

const _: () =
    assert!(STORE_BATCH_MAX * (BODY_BYTES_MAX + 4 * NAME_BYTES_MAX + 64) < GROUP_BYTES_MAX);

/// None of these bytes occurs in UTF-8, and no eight bytes of lengths, times and checksums in a
/// row can be these: a message can't pass for a group.
const MARKER: [u8; 8] = *b"\xFF\xFE\xFD\xFC\xFB\xFA\xF9\xF8";

const CHECKSUM_AT: usize = MARKER.len();
const CHECKED_FROM: usize = CHECKSUM_AT + 4;

/// The file that a group is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) shard: ShardId,
    /// The segment's number.
    pub(super) segment: u32,
}

/// Who writes a group, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) epoch: Epoch,
    pub(super) at: LogTime,
}

/// A group whose checksum and place were verified.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) epoch: Epoch,
    /// The log's time when it was written.
    pub(super) at: LogTime,
    /// The whole group, header included.
    pub(super) bytes: &'a [u8],
    pub(super) offset: u32,
    count: u32,
}

/// Encodes `entries`, and `confirmations` after them, as the group at `offset` of `place`, and tells
/// where in it each record lies.
pub(super) fn encode_batch(
    (entries, confirmations): (&[ChannelEntry], &[Confirmation]),
    stamp: Stamp,
    place: Place,
    offset: u32,
) -> (Vec<u8>, Vec<u32>) {
    let count = entries.len() + confirmations.len();
    let mut starts = Vec::with_capacity(count);
    let group = encode(stamp, place, offset, length_u32(count), |buffer| {
        let confirmed: usize = confirmations.iter().map(record::confirmation_bytes).sum();
        buffer.reserve_exact(entries.iter().map(record::entry_bytes).sum::<usize>() + confirmed);
        for entry in entries {
            starts.push(length_u32(buffer.len()));
            record::encode_entry(entry, buffer);
        }
        for confirmation in confirmations {
            starts.push(length_u32(buffer.len()));
            record::encode_confirmation(confirmation, buffer);
        }
    });
    (group, starts)
}

/// Encodes a claim of the stamp's epoch as the group at `offset` of `place`.
pub(super) fn encode_claim(stamp: Stamp, place: Place, offset: u32) -> Vec<u8> {
    encode(stamp, place, offset, 1, |buffer| {
        record::encode_claim(stamp.epoch, buffer);
    })
}

/// Encodes read positions as the group at `offset` of `place`.
pub(super) fn encode_reads(
    cursors: &[ReadCursor],
    epoch: Epoch,
    place: Place,
    offset: u32,
) -> Vec<u8> {
    // They have no age.
    let stamp = Stamp { epoch, at: LogTime::default() };
    encode(stamp, place, offset, length_u32(cursors.len()), |buffer| {
        for cursor in cursors {
            record::encode_read(cursor, buffer);
        }
    })
}

fn encode(
    stamp: Stamp,
    place: Place,
    offset: u32,
    count: u32,
    payload: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut group = Vec::with_capacity(GROUP_HEADER_BYTES);
    group.extend_from_slice(&MARKER);
    for number in [0, 0, place.shard.0, place.segment, offset, count] {
        group.extend_from_slice(&number.to_le_bytes());
    }
    group.extend_from_slice(&stamp.epoch.0.to_le_bytes());
    group.extend_from_slice(&stamp.at.0.to_le_bytes());
    assert_eq!(group.len(), GROUP_HEADER_BYTES, "the header has another size than documented");
    payload(&mut group);
    assert!(group.len() <= GROUP_BYTES_MAX, "a batch is larger than any group may be");
    let payload_length = length_u32(group.len() - GROUP_HEADER_BYTES);
    put_at(&mut group, CHECKED_FROM, payload_length);
    let checksum = crc32c::crc32c(group.get(CHECKED_FROM..).unwrap_or_default());
    put_at(&mut group, CHECKSUM_AT, checksum);
    group
}

/// The group at `offset` of `file`, which holds the file's bytes from its start.
pub(super) fn decode(file: &[u8], place: Place, offset: u32) -> Result<Group<'_>, Flaw> {
    const TOO_SHORT: Flaw = "a group ends too early";
    let bytes = usize::try_from(offset).ok().and_then(|offset| file.get(offset..));
    let bytes = bytes.ok_or(TOO_SHORT)?;
    let mut reader = Reader::new(bytes);
    if reader.array().ok_or(TOO_SHORT)? != MARKER {
        return Err("there is no group where one should begin");
    }
    let mut number = || reader.u32().ok_or(TOO_SHORT);
    let checksum = number()?;
    let payload_length = number()?;
    let found = Place { shard: ShardId(number()?), segment: number()? };
    let found_offset = number()?;
    let count = number()?;
    let epoch = Epoch(reader.u64().ok_or(TOO_SHORT)?);
    let at = LogTime(reader.u32().ok_or(TOO_SHORT)?);
    if found != place || found_offset != offset {
        return Err("a group belongs elsewhere");
    }
    let length = usize::try_from(payload_length)
        .ok()
        .and_then(|length| length.checked_add(GROUP_HEADER_BYTES))
        .filter(|&length| length <= GROUP_BYTES_MAX)
        .ok_or("a group is longer than any group may be")?;
    let bytes = bytes.get(..length).ok_or(TOO_SHORT)?;
    if crc32c::crc32c(bytes.get(CHECKED_FROM..).unwrap_or_default()) != checksum {
        return Err("a group's checksum does not match");
    }
    Ok(Group { epoch, at, bytes, offset, count })
}

/// The groups of a segment, in order, up to its end or the first flaw (and the flaw's byte).
pub(super) struct Groups<'a> {
    file: &'a [u8],
    place: Place,
    next: Option<u32>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(file: &'a [u8], place: Place) -> Self {
        Self { file, place, next: Some(SEGMENT_HEADER_BYTES) }
    }
}

impl<'a> Iterator for Groups<'a> {
    type Item = Result<Group<'a>, (u32, Flaw)>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.next.take()?;
        if offset as usize == self.file.len() {
            return None;
        }
        let group = decode(self.file, self.place, offset);
        self.next = group.as_ref().ok().map(Group::end);
        Some(group.map_err(|flaw| (offset, flaw)))
    }
}

/// The offset of the first whole group that begins after `offset`.
pub(super) fn find_after(file: &[u8], place: Place, offset: u32) -> Option<u32> {
    let from = usize::try_from(offset).ok()?.checked_add(1)?;
    let rest = file.get(from..)?;
    let mut candidates = rest
        .windows(MARKER.len())
        .enumerate()
        .filter(|(_, window)| *window == MARKER)
        .filter_map(|(index, _)| u32::try_from(from + index).ok());
    candidates.find(|&candidate| decode(file, place, candidate).is_ok())
}

impl Group<'_> {
    /// Where the next group begins.
    pub(super) fn end(&self) -> u32 {
        self.offset.saturating_add(length_u32(self.bytes.len()))
    }

    /// The epoch that this group claims, if it is a claim. The error carries the byte of the flaw.
    pub(super) fn claim(&self) -> Result<Option<Epoch>, (u32, Flaw)> {
        let payload = self.bytes.get(GROUP_HEADER_BYTES..).unwrap_or_default();
        if payload.get(RECORD_HEADER_BYTES - 1) != Some(&KIND_CLAIM) {
            return Ok(None);
        }
        let flawed = |flaw| (self.offset.saturating_add(length_u32(GROUP_HEADER_BYTES)), flaw);
        match record::decode(payload).map_err(flawed)? {
            (Record::Claim { epoch }, length)
                if self.count == 1 && length as usize == payload.len() =>
            {
                Ok(Some(epoch))
            }
            (Record::Claim { .. } | Record::Entry(_), _) => {
                Err(flawed("a claim is not alone in its group"))
            }
        }
    }

    /// The read positions of the group.
    pub(super) fn reads(&self) -> Result<Vec<ReadCursor>, Flaw> {
        let mut rest = self.bytes.get(GROUP_HEADER_BYTES..).unwrap_or_default();
        let mut cursors = Vec::new();
        while !rest.is_empty() {
            let (cursor, length) = record::decode_read(rest)?;
            cursors.push(cursor);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(cursors)
    }

    /// The entries and confirmations of the group in order, each with the byte of the file at which
    /// it begins.
    pub(super) fn records(&self) -> Result<Vec<(u32, Peek<'_>)>, (u32, Flaw)> {
        let mut records = Vec::new();
        let mut from = GROUP_HEADER_BYTES;
        while let Some(rest) = self.bytes.get(from..).filter(|rest| !rest.is_empty()) {
            let offset = self.offset.saturating_add(length_u32(from));
            let record = peek(rest).map_err(|flaw| (offset, flaw))?;
            from += record.bytes.len();
            records.push((offset, record));
        }
        if records.len() != self.count as usize {
            return Err((self.offset, "a group has another count of records than it says"));
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_store::tests::{confirmation, joined, message};

    const PLACE: Place = Place { shard: ShardId(3), segment: 9 };
    const STAMP: Stamp = Stamp { epoch: Epoch(4), at: LogTime(77) };

    fn two_groups() -> (Vec<u8>, u32) {
        let (mut file, _) = encode_batch((&[message("c", 1, "one")], &[]), STAMP, PLACE, 0);
        let second = length_u32(file.len());
        let entries = [message("c", 2, "two"), joined("d", 1, "ada")];
        let confirmations = [confirmation("d", 1, "ada", "again")];
        file.extend(encode_batch((&entries, &confirmations), STAMP, PLACE, second).0);
        (file, second)
    }

    #[test]
    fn group_comes_back_with_its_records_and_their_places() {
        let (file, second) = two_groups();

        let group = decode(&file, PLACE, second).unwrap();
        let records: [_; 3] = group.records().unwrap().try_into().unwrap();

        let Group { epoch, at, .. } = group;
        assert_eq!((Stamp { epoch, at }, group.claim()), (STAMP, Ok(None)));
        assert_eq!(group.end() as usize, file.len());
        let (offset, seen) = records[1];
        let (record, length) = record::decode(seen.bytes).unwrap();
        assert_eq!(record, Record::Entry(joined("d", 1, "ada")));
        assert_eq!(file[offset as usize..][..length as usize], *seen.bytes);
        let confirmed = records.map(|(_, seen)| seen.is_confirmation());
        assert_eq!(confirmed, [false, false, true]);
        let claim = encode_claim(STAMP, PLACE, 0);
        assert_eq!(decode(&claim, PLACE, 0).unwrap().claim(), Ok(Some(Epoch(4))));
    }

    #[test]
    fn group_of_another_place_is_refused() {
        let (file, second) = two_groups();

        assert!(decode(&file, Place { segment: 8, ..PLACE }, second).is_err());
        assert!(decode(&file, Place { shard: ShardId(2), ..PLACE }, second).is_err());
        let moved = [&file[..], &file[second as usize..]].concat();
        assert!(decode(&moved, PLACE, length_u32(file.len())).is_err());
    }

    #[test]
    fn group_behind_a_broken_one_is_found() {
        let (mut file, second) = two_groups();
        assert_eq!(find_after(&file, PLACE, 0), Some(second));
        assert_eq!(find_after(&file, PLACE, second), None);

        *file.last_mut().unwrap() ^= 1;
        assert_eq!(find_after(&file, PLACE, 0), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            bytes in proptest::collection::vec(0_u8.., 0..128),
            offset in 0_u32..160,
        ) {
            drop(decode(&bytes, PLACE, offset));
            let marked = [&MARKER[..], &bytes].concat();
            drop(decode(&marked, PLACE, 0));
            find_after(&marked, PLACE, offset);
        }
    }
}
