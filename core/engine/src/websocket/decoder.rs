//! Reads the frames of one connection and puts their messages together.
//!
//! # Invariants
//!
//! - **Nothing held while idle**: between messages a [`Decoder`] owns no heap memory at all; what a
//!   partial message needs lives in one box that goes when the message is complete.
//! - **Bounded**: memory grows with the bytes that arrived, not with those announced, and never
//!   beyond the message limit and one control frame.
//! - **Any split**: the pieces in which the bytes arrive change nothing about the messages.

use std::mem;

use bytes::Bytes;

use super::error::ProtocolError;
use super::frame::{
    CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Opcode, Progress, apply_mask, close_code_allowed,
};

/// The most frames of one message: a full client frame's worth in pieces of 64 bytes. More: the
/// connection is closed with 1009, for frames without payload would never reach the byte limit.
pub const FRAGMENTS_MAX: u32 = 1_024;

/// Which end of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Our peer is a client, whose frames must be masked.
    Server,
    /// Our peer is a server, whose frames must not be masked.
    Client,
}

/// A message or a control frame of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Bytes),
    /// To be answered by a pong with the same payload.
    Ping(Bytes),
    Pong(Bytes),
    /// The code and reason, if the peer gave any. Nothing follows it.
    Close(Option<(u16, String)>),
}

/// The receiving half of one connection.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    /// A close frame or an error was reported.
    finished: bool,
    message_bytes_max: usize,
    /// There only while a frame or a message is partial.
    partial: Option<Box<Partial>>,
}

impl Decoder {
    /// A decoder for the end `role` that accepts messages of up to `message_bytes_max` bytes.
    pub fn new(role: Role, message_bytes_max: usize) -> Self {
        Self { role, finished: false, message_bytes_max, partial: None }
    }

    /// Takes bytes from the front of `input` up to the end of the next message and returns it.
    /// `None` means that all of `input` is taken and more is needed.
    ///
    /// A close message or an error ends the stream; whatever follows is taken and dropped.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ProtocolError> {
        if self.finished {
            *input = &[];
            return Ok(None);
        }
        let mut partial = self.partial.take().map_or_else(Partial::default, |partial| *partial);
        let result = partial.advance(self.role, self.message_bytes_max, input);
        if matches!(result, Ok(Some(Message::Close(_))) | Err(_)) {
            self.finished = true;
        } else if !partial.is_idle() {
            self.partial = Some(Box::new(partial));
        }
        result
    }

    /// Whether a frame or a fragmented message has begun and not ended.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// The heap memory held, in bytes: zero unless [`Self::is_partial`].
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            size_of::<Partial>() + partial.payload.capacity() + partial.control.capacity()
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Binary,
}

/// The frame whose payload is arriving.
#[derive(Debug, Clone, Copy)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    missing_bytes: usize,
    /// What its message's buffer may grow to, as far as known.
    buffer_bytes_max: usize,
    /// Turned so that it starts with the byte for the next payload byte.
    mask: [u8; 4],
}

/// What is known of a message before its end. Each message starts with a fresh one.
#[derive(Debug, Default)]
struct Partial {
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    frame: Option<Frame>,
    /// Of the message begun, which control frames may interrupt.
    kind: Option<Kind>,
    fragments: u32,
    payload: Vec<u8>,
    /// Up to here `payload` is known to be UTF-8, if it is text.
    utf8_until: usize,
    control: Vec<u8>,
}

impl Partial {
    fn is_idle(&self) -> bool {
        self.header_bytes == 0 && self.frame.is_none() && self.kind.is_none()
    }

    fn advance(
        &mut self,
        role: Role,
        message_bytes_max: usize,
        input: &mut &[u8],
    ) -> Result<Option<Message>, ProtocolError> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.read_header(role, input)? {
                    Some(header) => self.begin(header, message_bytes_max)?,
                    None => return Ok(None),
                },
            };
            self.read_payload(&mut frame, input);
            if frame.missing_bytes > 0 {
                self.frame = Some(frame);
                self.check_utf8_so_far()?;
                return Ok(None);
            }
            if let Some(message) = self.finish(frame)? {
                return Ok(Some(message));
            }
        }
    }

    fn read_header(
        &mut self,
        role: Role,
        input: &mut &[u8],
    ) -> Result<Option<Header>, ProtocolError> {
        loop {
            let read = self.header.get(..self.header_bytes).unwrap_or_default();
            let needed = match Header::parse(read, role)? {
                Progress::Needs(needed) => needed,
                Progress::Done(header) => {
                    self.header_bytes = 0;
                    return Ok(Some(header));
                }
            };
            let room = self.header.get_mut(self.header_bytes..needed).unwrap_or_default();
            let Some((taken, rest)) = input.split_at_checked(room.len().min(input.len())) else {
                return Ok(None);
            };
            if taken.is_empty() {
                return Ok(None);
            }
            for (to, from) in room.iter_mut().zip(taken) {
                *to = *from;
            }
            self.header_bytes += taken.len();
            *input = rest;
        }
    }

    /// Checks what a header breaks in its context, before any of its payload is kept.
    fn begin(&mut self, header: Header, message_bytes_max: usize) -> Result<Frame, ProtocolError> {
        match (header.opcode, self.kind) {
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(ProtocolError::ExpectedContinuation);
            }
            (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            (Opcode::Text, None) => self.kind = Some(Kind::Text),
            (Opcode::Binary, None) => self.kind = Some(Kind::Binary),
            (Opcode::Continuation, Some(_)) => {}
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {}
        }
        let (held, bytes_max) = if header.opcode.is_control() {
            (0, CONTROL_BYTES_MAX)
        } else {
            self.fragments += 1;
            if self.fragments > FRAGMENTS_MAX {
                return Err(ProtocolError::TooManyFragments);
            }
            (self.payload.len(), message_bytes_max)
        };
        // The announced length is below 2^63, so the sum cannot overflow.
        let bytes = held as u64 + header.payload_bytes;
        match usize::try_from(header.payload_bytes) {
            Ok(missing_bytes) if bytes <= bytes_max as u64 => Ok(Frame {
                fin: header.fin,
                opcode: header.opcode,
                missing_bytes,
                buffer_bytes_max: if header.fin { held + missing_bytes } else { bytes_max },
                mask: header.mask,
            }),
            Ok(_) | Err(_) => Err(ProtocolError::MessageTooBig { bytes, bytes_max }),
        }
    }

    fn read_payload(&mut self, frame: &mut Frame, input: &mut &[u8]) {
        let count = frame.missing_bytes.min(input.len());
        let (taken, rest) = input.split_at(count);
        let target = if frame.opcode.is_control() { &mut self.control } else { &mut self.payload };
        let start = target.len();
        grow(target, count, frame.buffer_bytes_max);
        target.extend_from_slice(taken);
        apply_mask(target.get_mut(start..).unwrap_or_default(), frame.mask);
        frame.mask.rotate_left(count % 4);
        frame.missing_bytes -= count;
        *input = rest;
    }

    fn finish(&mut self, frame: Frame) -> Result<Option<Message>, ProtocolError> {
        match frame.opcode {
            Opcode::Ping => Ok(Some(Message::Ping(mem::take(&mut self.control).into()))),
            Opcode::Pong => Ok(Some(Message::Pong(mem::take(&mut self.control).into()))),
            Opcode::Close => parse_close(&self.control).map(|close| Some(Message::Close(close))),
            Opcode::Continuation | Opcode::Text | Opcode::Binary if frame.fin => {
                self.finish_message()
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                self.check_utf8_so_far()?;
                Ok(None)
            }
        }
    }

    /// Leaves `self` idle, to be dropped with the message's counts.
    fn finish_message(&mut self) -> Result<Option<Message>, ProtocolError> {
        let payload = mem::take(&mut self.payload);
        match self.kind.take().expect("`begin` lets a data frame through only with a kind") {
            Kind::Binary => Ok(Some(Message::Binary(payload.into()))),
            Kind::Text => match String::from_utf8(payload) {
                Ok(text) => Ok(Some(Message::Text(text))),
                Err(_) => Err(ProtocolError::TextNotUtf8),
            },
        }
    }

    /// Refuses a text that no further byte can make UTF-8, so that a peer need not finish it.
    fn check_utf8_so_far(&mut self) -> Result<(), ProtocolError> {
        match self.kind {
            Some(Kind::Text) => {}
            Some(Kind::Binary) | None => return Ok(()),
        }
        match str::from_utf8(self.payload.get(self.utf8_until..).unwrap_or_default()) {
            Ok(text) => self.utf8_until += text.len(),
            // The last character is not complete yet.
            Err(error) if error.error_len().is_none() => self.utf8_until += error.valid_up_to(),
            Err(_) => return Err(ProtocolError::TextNotUtf8),
        }
        Ok(())
    }
}

/// Makes room for `count` more bytes: doubling, so that bytes one by one cost no more than bytes
/// at once, but never beyond `bytes_max`.
fn grow(target: &mut Vec<u8>, count: usize, bytes_max: usize) {
    let needed = target.len() + count;
    if needed > target.capacity() {
        let wanted = needed.max(bytes_max.min(2 * target.len()));
        target.reserve_exact(wanted - target.len());
    }
}

fn parse_close(payload: &[u8]) -> Result<Option<(u16, String)>, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(ProtocolError::CloseTruncated) };
    };
    let code = u16::from_be_bytes(*code);
    if !close_code_allowed(code) {
        return Err(ProtocolError::CloseCode { code });
    }
    match str::from_utf8(reason) {
        Ok(reason) => Ok(Some((code, reason.to_owned()))),
        Err(_) => Err(ProtocolError::CloseReasonNotUtf8),
    }
}

#[cfg(test)]
mod tests;
