//! A segment: one file of the log.

use std::sync::Arc;

use bytes::Bytes;
use seriatim_engine::ids::ShardId;

use super::group::Place;
use super::record::{Flaw, Reader};
use crate::{Disk, DiskFile, StoreError};

/// Bytes of a segment before its first group.
pub(super) const SEGMENT_HEADER_BYTES: u32 = 28;

/// The largest [`super::LogStoreOptions::segment_bytes`]: recovery reads a segment into memory,
/// and an offset in a segment has 4 bytes.
pub const SEGMENT_BYTES_MAX: u32 = 1 << 30;

const MAGIC: [u8; 8] = *b"seriatim";
pub(super) const FORMAT_VERSION: u32 = 4;

/// There is no conversion yet.
pub(super) const OTHER_VERSION: Flaw = "the file's format is of another version than this program \
    reads: run the release that wrote it, or begin with an empty data folder";

/// The name of a segment's file.
pub(super) fn file_name(place: Place) -> String {
    format!("{}{:08}", name_prefix(place.shard), place.segment)
}

/// The number in a segment's file name; none if it is not a segment of `shard`.
pub(super) fn number_of(name: &str, shard: ShardId) -> Option<u32> {
    let segment = name.strip_prefix(&name_prefix(shard))?.parse().ok()?;
    (file_name(Place { shard, segment }) == name).then_some(segment)
}

fn name_prefix(shard: ShardId) -> String {
    format!("shard-{:04}.log.", shard.0)
}

pub(super) fn encode_header(place: Place, length_before: u32) -> Vec<u8> {
    let mut header = Vec::from(MAGIC);
    for number in [FORMAT_VERSION, place.shard.0, place.segment, length_before] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&header);
    header.extend_from_slice(&checksum.to_le_bytes());
    header
}

/// Why a header does not introduce the segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderFlaw {
    /// It was never written whole, or has rotted.
    Torn(Flaw),
    /// It is sound, but not what should be there.
    Foreign(Flaw),
}

impl HeaderFlaw {
    pub(super) fn what(&self) -> Flaw {
        match self {
            Self::Torn(flaw) | Self::Foreign(flaw) => flaw,
        }
    }
}

/// Verifies the header at the start of `file`. Gives the length of the segment before.
pub(super) fn decode_header(file: &[u8], place: Place) -> Result<u32, HeaderFlaw> {
    const TOO_SHORT: HeaderFlaw = HeaderFlaw::Torn("the segment's header is incomplete");
    let mut reader = Reader::new(file);
    if reader.array().ok_or(TOO_SHORT)? != MAGIC {
        return Err(HeaderFlaw::Torn("the file is not a log segment"));
    }
    let mut number = || reader.u32().ok_or(TOO_SHORT);
    let version = number()?;
    let found = Place { shard: ShardId(number()?), segment: number()? };
    let length_before = number()?;
    let checksum = number()?;
    if crc32c::crc32c(file.get(..24).unwrap_or_default()) != checksum {
        return Err(HeaderFlaw::Torn("the segment header's checksum does not match"));
    }
    if version != FORMAT_VERSION {
        return Err(HeaderFlaw::Foreign(OTHER_VERSION));
    }
    if found != place {
        return Err(HeaderFlaw::Foreign("the segment has another shard or number than its name"));
    }
    Ok(length_before)
}

/// Creates the segment so that it outlives a power loss.
pub(super) async fn create(
    disk: &dyn Disk,
    place: Place,
    length_before: u32,
) -> Result<Arc<dyn DiskFile>, StoreError> {
    let name = file_name(place);
    let header = Bytes::from(encode_header(place, length_before));
    let file = disk.create(&name).await.map_err(|source| failed("create", &name, source))?;
    let written = file.write_and_sync(0, header).await;
    written.map_err(|source| failed("write and sync", &name, source))?;
    disk.sync_directory().await.map_err(|source| failed("sync the name of", &name, source))?;
    Ok(Arc::from(file))
}

/// The first `length` bytes of a segment; fewer only if it is shorter.
pub(super) async fn read(
    file: &dyn DiskFile,
    place: Place,
    length: u32,
) -> Result<Bytes, StoreError> {
    file.read_at(0, length as usize)
        .await
        .map_err(|source| failed("read", &file_name(place), source))
}

pub(super) fn failed(verb: &str, name: &str, source: std::io::Error) -> StoreError {
    StoreError::Failed { action: format!("{verb} {name}"), source }
}

pub(super) fn corrupt(place: Place, offset: u32, what: &str) -> StoreError {
    StoreError::Corrupt { file: file_name(place), offset: u64::from(offset), what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { shard: ShardId(12), segment: 7 };

    #[test]
    fn names_tell_shard_and_number_and_nothing_else_passes_for_one() {
        assert_eq!(file_name(PLACE), "shard-0012.log.00000007");
        assert_eq!(number_of("shard-0012.log.00000007", PLACE.shard), Some(7));
        assert_eq!(number_of("shard-0012.log.123456789", PLACE.shard), Some(123_456_789));
        for other in ["shard-0013.log.00000007", "shard-0012.log.7", "shard-0012.log.+0000007"] {
            assert_eq!(number_of(other, PLACE.shard), None, "{other}");
        }
    }

    #[test]
    fn header_of_another_version_is_refused_and_says_what_to_do() {
        let mut header = encode_header(PLACE, 0);
        header[8] = 1;
        let checksum = crc32c::crc32c(&header[..24]);
        header[24..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(decode_header(&header, PLACE), Err(HeaderFlaw::Foreign(OTHER_VERSION)));
    }

    #[test]
    fn header_is_refused_in_another_place_or_with_a_flipped_bit() {
        let header = encode_header(PLACE, 99);
        assert_eq!(header.len(), SEGMENT_HEADER_BYTES as usize);
        assert_eq!(decode_header(&header, PLACE), Ok(99));
        let elsewhere = decode_header(&header, Place { segment: 8, ..PLACE });
        assert!(matches!(elsewhere, Err(HeaderFlaw::Foreign(_))));
        for bit in 0..header.len() * 8 {
            let mut flipped = header.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = decode_header(&flipped, PLACE);
            assert!(matches!(refused, Err(HeaderFlaw::Torn(_))), "bit {bit}");
        }
    }
}
