//! One record of a group: a claim, an entry or a confirmation, with its own checksum.

use std::sync::Arc;

use seriatim_engine::entry::{ChannelEntry, ChannelKind, Confirmation, Content, Entry, ReadCursor};
use seriatim_engine::ids::{
    ChannelId, ChannelKey, Epoch, NameError, Nonce, SeqNo, UserId, WorkspaceId,
};
use seriatim_engine::limits::CREATED_MEMBERS_MAX;
use seriatim_engine::time::WallTime;

/// Checksum, length and kind.
pub(super) const RECORD_HEADER_BYTES: usize = 9;

pub(super) const KIND_CLAIM: u8 = 1;
pub(super) const KIND_MESSAGE: u8 = 2;
const KIND_JOINED: u8 = 3;
const KIND_CREATED: u8 = 4;
const KIND_ADDED: u8 = 5;
const KIND_LEFT: u8 = 6;
const KIND_REMOVED: u8 = 7;
/// Only in the file of read positions.
const KIND_READ: u8 = 8;
pub(super) const KIND_CONFIRMATION: u8 = 9;

const PUBLIC: u8 = 1;
const PRIVATE: u8 = 2;
const DIRECT: u8 = 3;

/// What a group is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    Claim { epoch: Epoch },
    Entry(ChannelEntry),
}

/// What is wrong with some bytes.
pub(super) type Flaw = &'static str;

pub(super) const TOO_SHORT: Flaw = "a record ends too early";

/// Takes numbers and texts off the front of some bytes.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*array)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    /// What was not taken yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Flaw> {
        let bytes = self.bytes(length).ok_or(TOO_SHORT)?;
        std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")
    }

    fn name<T>(&mut self, new: impl Fn(&str) -> Result<T, NameError>) -> Result<T, Flaw> {
        let length = self.u8().ok_or(TOO_SHORT)?;
        new(self.text(usize::from(length))?).map_err(|_| "a name is not a name")
    }

    fn end(&self) -> Result<(), Flaw> {
        if self.rest.is_empty() { Ok(()) } else { Err("a record has bytes left over") }
    }
}

/// Bytes of the record of `entry`, estimated from above by a few.
pub(super) fn entry_bytes(entry: &ChannelEntry) -> usize {
    let ChannelEntry { channel, entry } = entry;
    channel.workspace.as_str().len() + channel.channel.as_str().len() + entry.link_bytes()
}

/// Bytes of the record of `confirmation`.
pub(super) fn confirmation_bytes(confirmation: &Confirmation) -> usize {
    const NUMBERS_BYTES: usize = 8 + 8 + 4;
    let Confirmation { channel, by, nonce, .. } = confirmation;
    let names = channel.workspace.as_str().len() + channel.channel.as_str().len();
    RECORD_HEADER_BYTES + NUMBERS_BYTES + names + by.as_str().len() + nonce.as_str().len()
}

/// Appends the record of `entry` to `buffer`. Gives its length in bytes.
pub(super) fn encode_entry(entry: &ChannelEntry, buffer: &mut Vec<u8>) -> u32 {
    let ChannelEntry { channel, entry: Entry { seq, at, content } } = entry;
    let kind = match content {
        Content::Message { .. } => KIND_MESSAGE,
        Content::Created { .. } => KIND_CREATED,
        Content::Joined { .. } => KIND_JOINED,
        Content::Added { .. } => KIND_ADDED,
        Content::Left { .. } => KIND_LEFT,
        Content::Removed { .. } => KIND_REMOVED,
    };
    encode(kind, buffer, |buffer| {
        put_request(channel, (*seq, *at), content.author(), buffer);
        match content {
            Content::Message { body, .. } => {
                buffer.extend_from_slice(&length_u32(body.len()).to_le_bytes());
                buffer.extend_from_slice(body.as_bytes());
            }
            Content::Created { kind, members, .. } => {
                buffer.push(match kind {
                    ChannelKind::Public => PUBLIC,
                    ChannelKind::Private => PRIVATE,
                    ChannelKind::Direct => DIRECT,
                });
                assert!(members.len() <= CREATED_MEMBERS_MAX, "a channel begins with too many");
                buffer.extend_from_slice(&length_u32(members.len()).to_le_bytes());
                for member in members {
                    put_name(member.as_str(), buffer);
                }
            }
            Content::Joined { .. } | Content::Left { .. } => {}
            Content::Added { user, .. } | Content::Removed { user, .. } => {
                put_name(user.as_str(), buffer);
            }
        }
    })
}

/// Appends the record of a confirmation to `buffer`.
pub(super) fn encode_confirmation(confirmation: &Confirmation, buffer: &mut Vec<u8>) {
    let Confirmation { channel, seq, at, by, nonce } = confirmation;
    encode(KIND_CONFIRMATION, buffer, |buffer| {
        put_request(channel, (*seq, *at), (by, nonce), buffer);
    });
}

/// What the content of entries and confirmations begins with.
fn put_request(
    channel: &ChannelKey,
    (seq, at): (SeqNo, WallTime),
    (by, nonce): (&UserId, &Nonce),
    buffer: &mut Vec<u8>,
) {
    put_name(channel.workspace.as_str(), buffer);
    put_name(channel.channel.as_str(), buffer);
    buffer.extend_from_slice(&seq.0.to_le_bytes());
    buffer.extend_from_slice(&at.0.to_le_bytes());
    put_name(by.as_str(), buffer);
    put_name(nonce.as_str(), buffer);
}

/// Appends the record of a claim to `buffer`.
pub(super) fn encode_claim(epoch: Epoch, buffer: &mut Vec<u8>) -> u32 {
    encode(KIND_CLAIM, buffer, |buffer| buffer.extend_from_slice(&epoch.0.to_le_bytes()))
}

/// Appends the record of a read position to `buffer`.
pub(super) fn encode_read(cursor: &ReadCursor, buffer: &mut Vec<u8>) -> u32 {
    let ReadCursor { channel, user, seq } = cursor;
    encode(KIND_READ, buffer, |buffer| {
        put_name(channel.workspace.as_str(), buffer);
        put_name(channel.channel.as_str(), buffer);
        buffer.extend_from_slice(&seq.0.to_le_bytes());
        put_name(user.as_str(), buffer);
    })
}

/// Splits the first record, a read position, off `bytes`. Gives it with its length.
pub(super) fn decode_read(bytes: &[u8]) -> Result<(ReadCursor, usize), Flaw> {
    let (kind, content, length) = verify(bytes)?;
    if kind != KIND_READ {
        return Err(ANOTHER_RECORD);
    }
    let mut reader = Reader::new(content);
    let workspace = reader.name(WorkspaceId::new)?;
    let channel = ChannelKey { workspace, channel: reader.name(ChannelId::new)? };
    let seq = SeqNo(reader.u64().ok_or(TOO_SHORT)?);
    let user = reader.name(UserId::new)?;
    reader.end()?;
    Ok((ReadCursor { channel, user, seq }, length as usize))
}

/// Bytes of the body, which is what a page counts.
pub(super) fn body_bytes(entry: &Entry) -> usize {
    match &entry.content {
        Content::Message { body, .. } => body.len(),
        Content::Created { .. }
        | Content::Joined { .. }
        | Content::Added { .. }
        | Content::Left { .. }
        | Content::Removed { .. } => 0,
    }
}

/// The channel's key from its name as records spell it.
pub(super) fn decode_channel(name: &[u8]) -> Result<ChannelKey, Flaw> {
    let mut reader = Reader::new(name);
    let workspace = reader.name(WorkspaceId::new)?;
    let channel = reader.name(ChannelId::new)?;
    reader.end()?;
    Ok(ChannelKey { workspace, channel })
}

/// Splits the first record, verified, off `bytes`. Gives it with its length.
pub(super) fn decode(bytes: &[u8]) -> Result<(Record, u32), Flaw> {
    let (kind, content, length) = verify(bytes)?;
    let mut reader = Reader::new(content);
    if kind == KIND_CLAIM {
        let epoch = Epoch(reader.u64().ok_or(TOO_SHORT)?);
        reader.end()?;
        return Ok((Record::Claim { epoch }, length));
    }
    let workspace = reader.name(WorkspaceId::new)?;
    let channel = ChannelKey { workspace, channel: reader.name(ChannelId::new)? };
    let entry = decode_entry(kind, reader)?;
    Ok((Record::Entry(ChannelEntry { channel, entry }), length))
}

/// The entry whose record `bytes` are, if it is one of the channel with this name.
pub(super) fn decode_in(bytes: &[u8], channel: &[u8]) -> Result<Entry, Flaw> {
    let (kind, content, length) = verify(bytes)?;
    match content.strip_prefix(channel) {
        Some(rest) if kind != KIND_CLAIM && length as usize == bytes.len() => {
            decode_entry(kind, Reader::new(rest))
        }
        Some(_) | None => Err(ANOTHER_RECORD),
    }
}

pub(super) const ANOTHER_RECORD: Flaw = "another record lies here than was written";

/// The kind and content of the first record in `bytes`, and the record's length.
fn verify(bytes: &[u8]) -> Result<(u8, &[u8], u32), Flaw> {
    let mut header = Reader::new(bytes);
    let checksum = header.u32().ok_or(TOO_SHORT)?;
    let content_length = header.u32().ok_or(TOO_SHORT)?;
    let kind = header.u8().ok_or(TOO_SHORT)?;
    let length = usize::try_from(content_length)
        .ok()
        .and_then(|length| length.checked_add(RECORD_HEADER_BYTES))
        .ok_or(TOO_SHORT)?;
    let checked = bytes.get(4..length).ok_or(TOO_SHORT)?;
    if crc32c::crc32c(checked) != checksum {
        return Err("a record's checksum does not match");
    }
    let content = bytes.get(RECORD_HEADER_BYTES..length).ok_or(TOO_SHORT)?;
    Ok((kind, content, u32::try_from(length).map_err(|_| TOO_SHORT)?))
}

/// What follows the channel in the content of an entry of this kind.
fn decode_entry(kind: u8, mut reader: Reader<'_>) -> Result<Entry, Flaw> {
    let seq = SeqNo(reader.u64().ok_or(TOO_SHORT)?);
    let at = WallTime(reader.u64().ok_or(TOO_SHORT)?);
    let content = decode_content(kind, &mut reader)?;
    reader.end()?;
    Ok(Entry { seq, at, content })
}

fn decode_content(kind: u8, reader: &mut Reader<'_>) -> Result<Content, Flaw> {
    let (by, nonce) = (reader.name(UserId::new)?, reader.name(Nonce::new)?);
    Ok(match kind {
        KIND_MESSAGE => {
            let length = reader.u32().ok_or(TOO_SHORT)?;
            let body = reader.text(usize::try_from(length).map_err(|_| TOO_SHORT)?)?;
            Content::Message { sender: by, nonce, body: Arc::from(body) }
        }
        KIND_CREATED => {
            let kind = match reader.u8().ok_or(TOO_SHORT)? {
                PUBLIC => ChannelKind::Public,
                PRIVATE => ChannelKind::Private,
                DIRECT => ChannelKind::Direct,
                _ => return Err("a channel is of an unknown kind"),
            };
            let count = usize::try_from(reader.u32().ok_or(TOO_SHORT)?).unwrap_or(usize::MAX);
            if count > CREATED_MEMBERS_MAX {
                return Err("a channel begins with more members than one may");
            }
            let members = (0..count).map(|_| reader.name(UserId::new)).collect::<Result<_, _>>()?;
            Content::Created { by, nonce, kind, members }
        }
        KIND_JOINED => Content::Joined { user: by, nonce },
        KIND_LEFT => Content::Left { user: by, nonce },
        KIND_ADDED => Content::Added { user: reader.name(UserId::new)?, by, nonce },
        KIND_REMOVED => Content::Removed { user: reader.name(UserId::new)?, by, nonce },
        _ => return Err("a record is of an unknown kind"),
    })
}

fn encode(kind: u8, buffer: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) -> u32 {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; RECORD_HEADER_BYTES - 1]);
    buffer.push(kind);
    content(buffer);
    let length = buffer.len() - start;
    let content_length = length_u32(length - RECORD_HEADER_BYTES);
    put_at(buffer, start + 4, content_length);
    let checksum = crc32c::crc32c(buffer.get(start + 4..).unwrap_or_default());
    put_at(buffer, start, checksum);
    length_u32(length)
}

/// Overwrites the four bytes at `offset`.
pub(super) fn put_at(buffer: &mut [u8], offset: usize, number: u32) {
    let place = buffer.get_mut(offset..offset + 4).expect("room was made for the number");
    place.copy_from_slice(&number.to_le_bytes());
}

fn put_name(name: &str, buffer: &mut Vec<u8>) {
    buffer.push(u8::try_from(name.len()).expect("names have at most 64 bytes"));
    buffer.extend_from_slice(name.as_bytes());
}

/// A length within one group, which has a limit far below 4 GiB.
pub(super) fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a group is smaller than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_store::tests::{changes, message};

    fn encoded(entry: &ChannelEntry) -> Vec<u8> {
        let mut buffer = Vec::new();
        let length = encode_entry(entry, &mut buffer);
        assert_eq!(length as usize, buffer.len());
        buffer
    }

    #[test]
    fn records_come_back_as_they_were() {
        let texts = [message("c", 7, "grüß dich"), message("c", 8, "")];
        for entry in texts.into_iter().chain(changes("c", 9)) {
            let bytes = encoded(&entry);
            assert!(bytes.len() <= entry_bytes(&entry), "{entry:?}");
            let (record, length) = decode(&bytes).unwrap();
            assert_eq!(record, Record::Entry(entry));
            assert_eq!(length as usize, bytes.len());
        }
        let mut claim = Vec::new();
        encode_claim(Epoch(5), &mut claim);
        assert_eq!(decode(&claim).unwrap().0, Record::Claim { epoch: Epoch(5) });
    }

    #[test]
    fn each_kind_of_record_has_a_number_of_its_own() {
        let kinds = changes("c", 1).map(|entry| encoded(&entry)[8]);
        assert_eq!(kinds, [4, 4, 4, 3, 5, 6, 7]);
    }

    #[test]
    fn records_with_a_flipped_bit_or_a_missing_end_are_refused() {
        let mut records = vec![encoded(&message("c", 1, "hello"))];
        records.extend(changes("c", 1).iter().map(encoded));
        for bytes in records {
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&flipped).is_err(), "bit {bit}");
            }
            for length in 0..bytes.len() {
                assert!(decode(&bytes[..length]).is_err(), "length {length}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(
            kind in 0_u8..10,
            content in proptest::collection::vec(0_u8.., 0..64),
        ) {
            let mut bytes = Vec::new();
            encode(kind, &mut bytes, |buffer| buffer.extend_from_slice(&content));
            drop(decode(&bytes));
            drop(decode(&content));
            drop(decode_in(&bytes, &content));
        }
    }
}
