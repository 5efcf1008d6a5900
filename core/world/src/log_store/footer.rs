//! The end of a run: what the run is and where its sections lie.

use seriatim_engine::ids::{Epoch, ShardId};
use seriatim_engine::time::{LogTime, WallTime};

use super::record::{Flaw, Reader};
use super::run_name::RunName;
use super::segment::{FORMAT_VERSION, OTHER_VERSION};

/// The level of the run that has what outlives trimmed entries; no run is merged into it.
pub(super) const TRIMMED_LEVEL: u32 = u32::MAX;

/// Bytes of a run before its first record.
pub(super) const RUN_HEADER_BYTES: u64 = 8;

pub(super) const RUN_MAGIC: [u8; 8] = *b"seri-run";
const FOOTER_MAGIC: [u8; 8] = *b"seri-end";

/// Bytes of a footer.
pub(super) const FOOTER_BYTES: usize = 8 + 7 * 4 + 8 * 8 + 4;

/// What a run says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) name: RunName,
    /// 0 for what was written from a segment; one more than its inputs' for what was merged.
    pub(super) level: u32,
    /// The epoch at the end of the last segment.
    pub(super) epoch: Epoch,
    /// The length of the last segment, which the next one's header repeats.
    pub(super) segment_length: u32,
    /// The log's time at the end of the last segment.
    pub(super) log_time: LogTime,
    /// The latest wall time of its entries.
    pub(super) newest_at: WallTime,
    pub(super) entries: u64,
    pub(super) nonces: u64,
    /// Where the records end and the sections begin: state, nonces, channels, without gaps.
    pub(super) data_end: u64,
    pub(super) state_bytes: u64,
    pub(super) nonces_bytes: u64,
    pub(super) channels_bytes: u64,
}

impl Footer {
    /// The entries of its segments are gone.
    pub(super) fn is_trimmed(&self) -> bool {
        self.level == TRIMMED_LEVEL
    }

    pub(super) fn nonces_start(&self) -> u64 {
        self.data_end.saturating_add(self.state_bytes)
    }

    pub(super) fn channels_start(&self) -> u64 {
        self.nonces_start().saturating_add(self.nonces_bytes)
    }

    /// The length of the whole file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.channels_start()
            .saturating_add(self.channels_bytes)
            .saturating_add(FOOTER_BYTES as u64)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::from(FOOTER_MAGIC);
        let RunName { shard, first, last } = self.name;
        let numbers = [FORMAT_VERSION, shard.0, first, last, self.level];
        for number in numbers.into_iter().chain([self.segment_length, self.log_time.0]) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let numbers = [
            self.epoch.0,
            self.newest_at.0,
            self.entries,
            self.nonces,
            self.data_end,
            self.state_bytes,
            self.nonces_bytes,
            self.channels_bytes,
        ];
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Verifies the footer of the run `name`, whose file has `file_bytes` bytes.
    pub(super) fn decode(bytes: &[u8], name: RunName, file_bytes: u64) -> Result<Self, Flaw> {
        const TOO_SHORT: Flaw = "the run's footer is incomplete";
        let mut reader = Reader::new(bytes);
        if reader.array().ok_or(TOO_SHORT)? != FOOTER_MAGIC {
            return Err("the run has no footer");
        }
        let mut number = || reader.u32().ok_or(TOO_SHORT);
        let version = number()?;
        let found = RunName { shard: ShardId(number()?), first: number()?, last: number()? };
        let level = number()?;
        let (segment_length, log_time) = (number()?, LogTime(number()?));
        let mut number = || reader.u64().ok_or(TOO_SHORT);
        let footer = Self {
            name: found,
            level,
            segment_length,
            log_time,
            epoch: Epoch(number()?),
            newest_at: WallTime(number()?),
            entries: number()?,
            nonces: number()?,
            data_end: number()?,
            state_bytes: number()?,
            nonces_bytes: number()?,
            channels_bytes: number()?,
        };
        let checksum = reader.u32().ok_or(TOO_SHORT)?;
        if crc32c::crc32c(bytes.get(..FOOTER_BYTES - 4).unwrap_or_default()) != checksum {
            return Err("the run footer's checksum does not match");
        }
        if version != FORMAT_VERSION {
            return Err(OTHER_VERSION);
        }
        if found != name {
            return Err("the run has another shard or other segments than its name");
        }
        if footer.is_trimmed() && (found.first, footer.data_end) != (1, RUN_HEADER_BYTES) {
            return Err("what was trimmed is not the beginning of the log");
        }
        if footer.data_end < RUN_HEADER_BYTES || footer.file_bytes() != file_bytes {
            return Err("the run has another length than its footer says");
        }
        Ok(footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: RunName = RunName { shard: ShardId(3), first: 5, last: 8 };

    #[test]
    fn footer_comes_back_and_is_refused_elsewhere_or_with_a_flipped_bit() {
        let footer = Footer {
            name: NAME,
            level: 1,
            epoch: Epoch(9),
            segment_length: 77,
            log_time: LogTime(4_000_000_000),
            newest_at: WallTime(1_000),
            entries: 12,
            nonces: 11,
            data_end: 1_000,
            state_bytes: 100,
            nonces_bytes: 0,
            channels_bytes: 40,
        };
        let bytes = footer.encode();
        assert_eq!(bytes.len(), FOOTER_BYTES);
        let file_bytes = 1_140 + FOOTER_BYTES as u64;
        assert_eq!(Footer::decode(&bytes, NAME, file_bytes), Ok(footer));
        assert!(Footer::decode(&bytes, NAME, file_bytes - 1).is_err());
        assert!(Footer::decode(&bytes, RunName { last: 9, ..NAME }, file_bytes).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::decode(&flipped, NAME, file_bytes).is_err(), "bit {bit}");
        }
    }
}
