//! One WebSocket frame: its header read and written, its payload masked.
//!
//! Reading checks every rule that the header alone can break, so that nothing is buffered for a
//! frame that will be refused. The decoder and the encoding functions here are the only users.

use bytes::Bytes;

use super::decoder::Role;
use super::error::ProtocolError;

/// The most payload bytes of a close, ping or pong frame (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Two bytes, a length of eight, a mask of four.
pub(super) const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn parse(bits: u8) -> Result<Self, ProtocolError> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            opcode => Err(ProtocolError::ReservedOpcode { opcode }),
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    pub(super) fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

/// A frame's header, checked against the rules that need no context.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    /// As announced, and so not yet believed.
    pub(super) payload_bytes: u64,
    /// Zero when the frame is not masked: applying it changes nothing.
    pub(super) mask: [u8; 4],
}

/// How far the bytes of a header reach.
pub(super) enum Progress {
    /// The header has this many bytes, as far as can be told.
    Needs(usize),
    Done(Header),
}

impl Header {
    /// Reads the header that starts `bytes`. Rules are checked as soon as their bytes are there.
    pub(super) fn parse(bytes: &[u8], reader: Role) -> Result<Progress, ProtocolError> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk() else {
            return Ok(Progress::Needs(2));
        };
        if first & RESERVED != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode = Opcode::parse(first & OPCODE)?;
        let fin = first & FIN != 0;
        let masked = second & MASKED != 0;
        match reader {
            Role::Server if !masked => return Err(ProtocolError::MissingMask),
            Role::Client if masked => return Err(ProtocolError::UnexpectedMask),
            Role::Server | Role::Client => {}
        }
        let length = second & LENGTH;
        if opcode.is_control() {
            if !fin {
                return Err(ProtocolError::FragmentedControl);
            }
            if usize::from(length) > CONTROL_BYTES_MAX {
                return Err(ProtocolError::ControlTooLong);
            }
        }
        let mask_bytes = if masked { 4 } else { 0 };
        let Some((payload_bytes, rest)) = parse_length(length, rest)? else {
            let length_bytes = if length == LENGTH_16 { 2 } else { 8 };
            return Ok(Progress::Needs(2 + length_bytes + mask_bytes));
        };
        let mask = match rest.first_chunk::<4>() {
            Some(mask) if masked => *mask,
            None if masked => return Ok(Progress::Needs(bytes.len() - rest.len() + mask_bytes)),
            Some(_) | None => [0; 4],
        };
        Ok(Progress::Done(Self { fin, opcode, payload_bytes, mask }))
    }
}

/// The payload's length and what follows it; `None` while its bytes are missing.
fn parse_length(length: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    let (bytes, rest, bytes_min) = match length {
        LENGTH_16 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest, 126),
            None => return Ok(None),
        },
        LENGTH_64 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest, 1 << 16),
            None => return Ok(None),
        },
        length => (u64::from(length), rest, 0),
    };
    if bytes >> 63 != 0 {
        return Err(ProtocolError::LengthTopBit);
    }
    if bytes < bytes_min {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok(Some((bytes, rest)))
}

/// Masks `bytes`, or unmasks them: it is the same.
pub(super) fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    if mask == [0; 4] {
        return;
    }
    let half = u64::from(u32::from_ne_bytes(mask));
    let twice = half << 32 | half;
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ twice).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Whether a close frame may carry `code`: those of RFC 6455 §7.4.1, 1012–1014 from its IANA
/// registry, and 3000–4999 for libraries and applications. 1005, 1006 and 1015 only name what
/// happened without a close frame.
pub fn close_code_allowed(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A server's text frame, to be shared by all its readers. `payload` must be UTF-8.
pub fn encode_text(payload: &[u8]) -> Bytes {
    debug_assert!(str::from_utf8(payload).is_ok(), "a text frame must hold UTF-8");
    let mut out = Vec::new();
    encode_frame(Opcode::Text, payload, None, &mut out);
    out.into()
}

/// Appends a whole, unfragmented frame to `out`. A client must give a `mask`, fresh from a random
/// generator for each frame; a server must not.
///
/// # Panics
///
/// On a control frame over [`CONTROL_BYTES_MAX`] and on [`Opcode::Continuation`].
pub fn encode_frame(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    assert!(opcode != Opcode::Continuation, "we never fragment");
    assert!(
        !opcode.is_control() || payload.len() <= CONTROL_BYTES_MAX,
        "a control frame of {} bytes was asked for",
        payload.len()
    );
    encode(true, opcode, payload, mask, out);
}

/// Appends a close frame, with a code and a reason or with neither. A reason that does not fit is
/// cut at a character's end. `mask` as in [`encode_frame`].
///
/// # Panics
///
/// On a code that must not be sent, see [`close_code_allowed`].
pub fn encode_close(close: Option<(u16, &str)>, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let Some((code, reason)) = close else {
        return encode_frame(Opcode::Close, &[], mask, out);
    };
    assert!(close_code_allowed(code), "close code {code} must not be sent");
    let mut payload = code.to_be_bytes().to_vec();
    let room = CONTROL_BYTES_MAX - payload.len();
    let (reason, _) = reason.split_at(reason.floor_char_boundary(room));
    payload.extend_from_slice(reason.as_bytes());
    encode_frame(Opcode::Close, &payload, mask, out);
}

pub(super) fn encode(
    fin: bool,
    opcode: Opcode,
    payload: &[u8],
    mask: Option<[u8; 4]>,
    out: &mut Vec<u8>,
) {
    let length_bytes = match payload.len() {
        0..=125 => 0,
        126..=0xffff => 2,
        _ => 8,
    };
    let mask_bytes: &[u8] = mask.as_ref().map_or(&[], |mask| mask);
    // To the byte, so that a shared frame needs no second allocation.
    out.reserve_exact(2 + length_bytes + mask_bytes.len() + payload.len());
    out.push(if fin { FIN } else { 0 } | opcode.bits());
    let masked = if mask.is_some() { MASKED } else { 0 };
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if length < LENGTH_16 => out.push(masked | length),
        (_, Ok(length)) => {
            out.push(masked | LENGTH_16);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(masked | LENGTH_64);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(mask_bytes);
    let start = out.len();
    out.extend_from_slice(payload);
    if let (Some(mask), Some(written)) = (mask, out.get_mut(start..)) {
        apply_mask(written, mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc_are_encoded_as_it_says() {
        assert_eq!(*encode_text(b"Hello"), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        let mut out = Vec::new();
        encode_frame(Opcode::Pong, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]), &mut out);
        assert_eq!(out, [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        assert!(encode_text(&[b'x'; 256]).starts_with(&[0x81, 0x7e, 0x01, 0x00]));
        assert!(encode_text(&[b'x'; 65_536]).starts_with(&[0x81, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]));
    }

    #[test]
    fn frames_are_appended_and_take_no_more_memory_than_they_need() {
        let mut out = Vec::new();
        for (count, header_bytes) in [(3, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            out.clear();
            out.shrink_to_fit();
            encode_frame(Opcode::Binary, &vec![1; count], Some([1; 4]), &mut out);
            assert_eq!(out.len(), count + header_bytes);
            assert_eq!(out.capacity(), out.len());
        }
        let before = out.len();
        encode_frame(Opcode::Ping, b"", None, &mut out);
        assert_eq!(out.get(before..), Some([0x89, 0x00].as_slice()));
    }

    #[test]
    fn masking_works_byte_by_byte_whatever_the_length() {
        let mask = [1, 2, 4, 8];
        for count in 0..40 {
            let mut bytes = vec![0xf0; count];
            apply_mask(&mut bytes, mask);
            let expected: Vec<u8> = (0..count).map(|index| 0xf0 ^ mask[index % 4]).collect();
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn long_reason_of_a_close_is_cut_at_a_character() {
        let mut out = Vec::new();
        encode_close(Some((1002, &"€".repeat(60))), None, &mut out);
        assert_eq!(out.len(), 2 + 2 + 123);
        out.clear();
        encode_close(Some((1002, &format!("a{}", "€".repeat(60)))), None, &mut out);
        assert_eq!(out.len(), 2 + 2 + 121);
        assert!(str::from_utf8(&out[4..]).is_ok());
    }

    #[test]
    #[should_panic(expected = "must not be sent")]
    fn close_code_that_must_not_be_sent_is_our_bug() {
        encode_close(Some((1005, "")), None, &mut Vec::new());
    }

    #[test]
    #[should_panic(expected = "control frame of 126 bytes")]
    fn control_frame_too_long_is_our_bug() {
        encode_frame(Opcode::Ping, &[0; 126], None, &mut Vec::new());
    }
}
