//! A record seen in place: what writing runs and finding pages need of it, without building the
//! entry.

use seriatim_engine::ids::{ChannelKey, SeqNo};
use seriatim_engine::nonces::NonceKey;
use seriatim_engine::time::WallTime;

use super::record::{
    Flaw, KIND_CLAIM, KIND_CONFIRMATION, KIND_MESSAGE, RECORD_HEADER_BYTES, Reader, TOO_SHORT,
};

/// A record whose checksum was verified.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peek<'a> {
    /// The whole record.
    pub(super) bytes: &'a [u8],
    kind: u8,
    /// The channel's name as records spell it: workspace and channel, each its length and text.
    pub(super) channel: &'a [u8],
    pub(super) seq: SeqNo,
    pub(super) at: WallTime,
    /// What follows the wall time.
    rest: &'a [u8],
}

/// The length that the record at the start of `bytes` says it has; none if that is not there.
pub(super) fn record_length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(4..8)?.first_chunk().copied().map(u32::from_le_bytes)?;
    usize::try_from(length).ok()?.checked_add(RECORD_HEADER_BYTES)
}

/// The records of a block, one after the other, not verified.
pub(super) fn records_of(block: &[u8]) -> impl Iterator<Item = Result<&[u8], Flaw>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let split = record_length(rest).and_then(|length| rest.split_at_checked(length));
        let (record, after) = split.unwrap_or_default();
        rest = after;
        Some(split.map(|_| record).ok_or("a record ends outside its block"))
    })
}

/// Looks at the record at the start of `bytes`, which must be an entry or a confirmation.
pub(super) fn peek(bytes: &[u8]) -> Result<Peek<'_>, Flaw> {
    let length = record_length(bytes).ok_or(TOO_SHORT)?;
    let bytes = bytes.get(..length).ok_or(TOO_SHORT)?;
    let mut reader = Reader::new(bytes);
    let checksum = reader.u32().ok_or(TOO_SHORT)?;
    if crc32c::crc32c(bytes.get(4..).unwrap_or_default()) != checksum {
        return Err("a record's checksum does not match");
    }
    reader.u32().ok_or(TOO_SHORT)?;
    let kind = reader.u8().ok_or(TOO_SHORT)?;
    if kind == KIND_CLAIM {
        return Err("a claim lies among entries");
    }
    let content = reader.rest();
    let (_, _) = (name(&mut reader)?, name(&mut reader)?);
    let channel_bytes = content.len() - reader.rest().len();
    let channel = content.get(..channel_bytes).ok_or(TOO_SHORT)?;
    let seq = SeqNo(reader.u64().ok_or(TOO_SHORT)?);
    let at = WallTime(reader.u64().ok_or(TOO_SHORT)?);
    Ok(Peek { bytes, kind, channel, seq, at, rest: reader.rest() })
}

fn name<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Flaw> {
    let length = reader.u8().ok_or(TOO_SHORT)?;
    reader.bytes(usize::from(length)).ok_or(TOO_SHORT)
}

impl Peek<'_> {
    /// The nonce of the request that this came of.
    pub(super) fn nonce(&self) -> Result<NonceKey, Flaw> {
        let mut channel = Reader::new(self.channel);
        let (workspace, channel) = (name(&mut channel)?, name(&mut channel)?);
        let mut rest = Reader::new(self.rest);
        let (by, nonce) = (name(&mut rest)?, name(&mut rest)?);
        Ok(NonceKey::of_names([workspace, channel, by, nonce]))
    }

    /// Whether it is no entry, but says only that a request was answered with the entry at `seq`.
    pub(super) fn is_confirmation(&self) -> bool {
        self.kind == KIND_CONFIRMATION
    }

    /// Whether the entry says something about its channel that outlives it: who is a member.
    pub(super) fn is_state(&self) -> bool {
        self.kind != KIND_MESSAGE && !self.is_confirmation()
    }
}

/// Appends a channel's name as records spell it.
pub(super) fn put_channel(key: &ChannelKey, buffer: &mut Vec<u8>) {
    for name in [key.workspace.as_str(), key.channel.as_str()] {
        buffer.push(u8::try_from(name.len()).expect("names have at most 64 bytes"));
        buffer.extend_from_slice(name.as_bytes());
    }
}

/// Takes a channel's name, as records spell it, off the front.
pub(super) fn take_channel<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Flaw> {
    let before = reader.rest();
    let (_, _) = (name(reader)?, name(reader)?);
    before.get(..before.len() - reader.rest().len()).ok_or(TOO_SHORT)
}

#[cfg(test)]
mod tests {
    use seriatim_engine::entry::{Confirmation, Content, Entry};

    use super::*;
    use crate::log_store::record::{confirmation_bytes, encode_confirmation, encode_entry};
    use crate::log_store::tests::{changes, confirmation, message};

    #[test]
    fn peek_sees_what_decoding_gives() {
        for entry in [message("c", 7, "grüß dich")].into_iter().chain(changes("c", 9)) {
            let mut bytes = Vec::new();
            encode_entry(&entry, &mut bytes);
            bytes.extend(b"the next record");
            let seen = peek(&bytes).unwrap();

            let mut name = Vec::new();
            put_channel(&entry.channel, &mut name);
            let Entry { seq, at, content } = &entry.entry;
            assert_eq!((seen.channel, seen.seq, seen.at), (&name[..], *seq, *at));
            assert_eq!(seen.bytes.len(), bytes.len() - "the next record".len());
            assert_eq!(seen.is_state(), !matches!(content, Content::Message { .. }));
            let (by, nonce) = content.author();
            let expected = NonceKey::new(&entry.channel, by, nonce);
            assert_eq!(seen.nonce().unwrap(), expected);
        }
    }

    #[test]
    fn a_confirmation_is_no_entry_and_tells_its_nonce() {
        let confirmation = confirmation("c", 7, "ada", "j");
        let Confirmation { channel, by, nonce, .. } = &confirmation;
        let mut bytes = Vec::new();
        encode_confirmation(&confirmation, &mut bytes);
        assert_eq!(bytes.len(), confirmation_bytes(&confirmation));
        let seen = peek(&bytes).unwrap();
        assert_eq!((seen.is_confirmation(), seen.is_state()), (true, false));
        assert_eq!((seen.seq, seen.nonce()), (SeqNo(7), Ok(NonceKey::new(channel, by, nonce))));
    }

    #[test]
    fn record_with_a_flipped_bit_or_a_missing_end_is_refused() {
        let mut bytes = Vec::new();
        encode_entry(&message("c", 1, "hello"), &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(peek(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(peek(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
