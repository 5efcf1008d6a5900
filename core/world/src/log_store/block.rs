//! Checksummed blocks: what the sections of a run are made of.
//!
//! A block is a checksum (4), the payload's length (4) and the payload. The checksum also covers
//! which run, which section and where in it the block is, so a block that strayed doesn't verify.

use super::record::{Flaw, Reader, length_u32, put_at};
use super::run_name::RunName;

/// Bytes of a block before its payload.
pub(super) const BLOCK_HEADER_BYTES: usize = 8;

/// A block is closed once its payload has so many bytes.
const PAYLOAD_BYTES: usize = 32 * 1024;

/// No payload is longer: the last item of a block is a record at most.
const PAYLOAD_BYTES_MAX: usize = PAYLOAD_BYTES + 64 * 1024;

/// Which part of which run a block belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) run: RunName,
    pub(super) kind: SectionKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectionKind {
    /// Where the strides of channels begin. Offsets are those of the file: each channel that has
    /// strides has its marks behind its records.
    Marks = 1,
    /// The records that say who is a member.
    State = 2,
    /// Sorted nonces.
    Nonces = 3,
    /// Where each channel's records lie.
    Channels = 4,
}

impl Section {
    fn checksum(self, offset: u64, checked: &[u8]) -> u32 {
        let mut place = [0; 24];
        let numbers = [self.run.shard.0, self.run.first, self.run.last, self.kind as u32];
        let (places, rest) = place.as_chunks_mut::<4>();
        debug_assert!(rest.is_empty(), "24 bytes are six numbers");
        for (place, number) in places.iter_mut().zip(numbers) {
            *place = number.to_le_bytes();
        }
        if let Some(place) = place.last_chunk_mut() {
            *place = offset.to_le_bytes();
        }
        crc32c::crc32c_append(crc32c::crc32c(&place), checked)
    }
}

/// Collects items into the blocks of one section.
pub(super) struct BlockWriter {
    section: Section,
    /// Finished blocks that were not taken, then the unfinished one from `open` on, if it has any.
    bytes: Vec<u8>,
    open: usize,
    /// The offset of the first of these bytes in the section.
    start: u64,
}

impl BlockWriter {
    /// Goes on at `start` of `section`.
    pub(super) fn new(section: Section, start: u64) -> Self {
        Self { section, bytes: Vec::new(), open: 0, start }
    }

    /// Adds an item, which stays in one block.
    pub(super) fn push(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.len() == self.open {
            self.bytes.extend_from_slice(&[0; BLOCK_HEADER_BYTES]);
        }
        put(&mut self.bytes);
        if self.bytes.len() - self.open >= PAYLOAD_BYTES {
            self.close();
        }
    }

    /// Ends the current block.
    pub(super) fn close(&mut self) {
        if self.bytes.len() == self.open {
            return;
        }
        let payload = self.bytes.len() - self.open - BLOCK_HEADER_BYTES;
        assert!(payload <= PAYLOAD_BYTES_MAX, "an item is larger than any record");
        put_at(&mut self.bytes, self.open + 4, length_u32(payload));
        let checked = self.bytes.get(self.open + 4..).unwrap_or_default();
        let checksum = self.section.checksum(self.start + self.open as u64, checked);
        put_at(&mut self.bytes, self.open, checksum);
        self.open = self.bytes.len();
    }

    /// Moves the finished blocks to the end of `buffer`.
    pub(super) fn take(&mut self, buffer: &mut Vec<u8>) {
        buffer.extend(self.bytes.drain(..self.open));
        self.start += self.open as u64;
        self.open = 0;
    }

    /// Where in the section the next block begins.
    pub(super) fn end(&self) -> u64 {
        self.start + self.open as u64
    }
}

/// What is at the start of some bytes.
pub(super) enum Decoded<'a> {
    Block {
        payload: &'a [u8],
        length: usize,
    },
    /// The block has this length, and not all of it is there.
    Longer(usize),
}

/// Verifies the block at the start of `bytes`, which is at `offset` of `section`.
pub(super) fn decode(bytes: &[u8], section: Section, offset: u64) -> Result<Decoded<'_>, Flaw> {
    let mut reader = Reader::new(bytes);
    let (Some(checksum), Some(payload)) = (reader.u32(), reader.u32()) else {
        return Ok(Decoded::Longer(BLOCK_HEADER_BYTES));
    };
    let payload = usize::try_from(payload)
        .ok()
        .filter(|&length| length <= PAYLOAD_BYTES_MAX)
        .ok_or("a block is longer than any block may be")?;
    let length = BLOCK_HEADER_BYTES + payload;
    let Some(checked) = bytes.get(4..length) else { return Ok(Decoded::Longer(length)) };
    if section.checksum(offset, checked) != checksum {
        return Err("a block's checksum does not match");
    }
    Ok(Decoded::Block { payload: checked.get(4..).unwrap_or_default(), length })
}

#[cfg(test)]
mod tests {
    use seriatim_engine::ids::ShardId;

    use super::*;

    const RUN: RunName = RunName { shard: ShardId(3), first: 5, last: 8 };
    const STATE: Section = Section { run: RUN, kind: SectionKind::State };

    fn blocks() -> Vec<u8> {
        let mut writer = BlockWriter::new(STATE, 0);
        let mut bytes = Vec::new();
        for number in 0..3_u8 {
            writer.push(|buffer| buffer.extend([number; 100]));
            writer.push(|buffer| buffer.extend([number; 50]));
            writer.close();
            writer.take(&mut bytes);
        }
        assert_eq!(writer.end(), bytes.len() as u64);
        bytes
    }

    fn sound(bytes: &[u8], section: Section, offset: u64) -> bool {
        matches!(decode(bytes, section, offset), Ok(Decoded::Block { .. }))
    }

    #[test]
    fn blocks_come_back_in_their_place_only() {
        let bytes = blocks();
        let second = &bytes[158..];
        let Ok(Decoded::Block { payload, length }) = decode(second, STATE, 158) else {
            panic!("the second block is not there");
        };
        assert_eq!((payload, length), (&[1; 150][..], 158));
        assert!(!sound(second, STATE, 0));
        assert!(!sound(second, Section { kind: SectionKind::Nonces, ..STATE }, 158));
        assert!(!sound(second, Section { run: RunName { last: 9, ..RUN }, ..STATE }, 158));
    }

    #[test]
    fn block_with_a_flipped_bit_or_a_missing_end_is_refused() {
        let bytes = &blocks()[..158];
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!sound(&flipped, STATE, 0), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(!sound(&bytes[..length], STATE, 0), "length {length}");
        }
    }

    #[test]
    fn full_block_is_closed_by_itself() {
        let mut writer = BlockWriter::new(STATE, 0);
        for _ in 0..1_000 {
            writer.push(|buffer| buffer.extend([7; 100]));
        }
        assert!(writer.end() >= 3 * PAYLOAD_BYTES as u64);
    }
}
