//! Where one channel's records lie in a run, and where its strides begin.

use std::sync::Arc;

use seriatim_engine::ids::SeqNo;
use seriatim_engine::time::WallTime;

use super::block::BLOCK_HEADER_BYTES;
use super::peek::take_channel;
use super::record::{Flaw, Reader, TOO_SHORT};
use super::run::Run;

/// A channel whose records in a run take more than this has a mark for each so many bytes, so that
/// a page is found without reading all of them.
pub(super) const STRIDE_BYTES: u64 = 8 * 1024;

/// One channel's share of a run: its entries `first` and on, `count` of them. In the run of what was
/// trimmed there are none, and all before `first` are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first: SeqNo,
    pub(super) count: u64,
    /// Where the records begin in the file, and how many bytes they have.
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// The latest wall time among them; time may jump, so it need not be the last one's.
    pub(super) newest_at: WallTime,
    /// How many marks lie behind the records; none if there is but one stride.
    pub(super) marks: u32,
}

impl Extent {
    /// Its newest position.
    pub(super) fn last(&self) -> SeqNo {
        SeqNo(self.first.0.saturating_add(self.count).saturating_sub(1))
    }

    /// Where its records end, and its marks begin.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }

    pub(super) fn marks_end(&self) -> u64 {
        let blocks = u64::from(self.marks.div_ceil(MARKS_PER_BLOCK));
        let marks = u64::from(self.marks) * MARK_BYTES as u64;
        self.end().saturating_add(blocks * BLOCK_HEADER_BYTES as u64 + marks)
    }

    /// Appends the item of the channels section.
    pub(super) fn encode(&self, channel: &[u8], buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(channel);
        let numbers = [self.first.0, self.count, self.offset, self.bytes, self.newest_at.0];
        for number in numbers {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
        buffer.extend_from_slice(&self.marks.to_le_bytes());
    }

    /// Takes an item of the channels section, with the channel's name, off the front.
    pub(super) fn decode<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Self), Flaw> {
        let channel = take_channel(reader)?;
        let mut number = || reader.u64().ok_or(TOO_SHORT);
        let (first, count) = (SeqNo(number()?), number()?);
        let (offset, bytes) = (number()?, number()?);
        let newest_at = WallTime(number()?);
        let marks = reader.u32().ok_or(TOO_SHORT)?;
        if first == SeqNo::ZERO || first.0.checked_add(count).is_none() {
            return Err("a channel has no positions in the run");
        }
        Ok((channel, Self { first, count, offset, bytes, newest_at, marks }))
    }
}

/// An extent with the run that it is in.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) run: Arc<Run>,
    pub(super) extent: Extent,
}

/// Where a stride begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The first position in the stride.
    pub(super) seq: SeqNo,
    /// Bytes of the extent before the stride.
    pub(super) offset: u64,
    /// The latest wall time of the extent up to the end of the stride, so it never falls.
    pub(super) newest_at: WallTime,
}

/// Marks in a block. Every block of marks but the last is full, so a mark's place is known.
pub(super) const MARKS_PER_BLOCK: u32 = 170;

pub(super) const MARK_BYTES: usize = 24;

/// Bytes of a full block of marks.
pub(super) const MARKS_BLOCK_BYTES: u64 =
    (BLOCK_HEADER_BYTES + MARKS_PER_BLOCK as usize * MARK_BYTES) as u64;

impl Mark {
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        for number in [self.seq.0, self.offset, self.newest_at.0] {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// All marks of a block.
    pub(super) fn decode_all(payload: &[u8]) -> Result<Vec<Self>, Flaw> {
        let mut reader = Reader::new(payload);
        let mut marks = Vec::new();
        while !reader.rest().is_empty() {
            let mut number = || reader.u64().ok_or(TOO_SHORT);
            let (seq, offset) = (SeqNo(number()?), number()?);
            marks.push(Self { seq, offset, newest_at: WallTime(number()?) });
        }
        Ok(marks)
    }
}
