//! One client's bytes on their way through the decoder.

use seriatim_engine::limits::CLIENT_FRAME_BYTES_MAX;
use seriatim_engine::websocket::{
    CONTROL_BYTES_MAX, Decoder, Message, ProtocolError, Role, close_code_allowed, encode_close,
};

use crate::random::Random;

/// What a decoder may hold besides payload: its own bookkeeping, in a box.
const BOOKKEEPING_BYTES_MAX: usize = 256;

/// What a run did, to show that it reached what it is for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) connections: u64,
    pub(crate) texts: u64,
    pub(crate) texts_refused: u64,
    pub(crate) protocol_errors: u64,
    pub(crate) closes: u64,
    pub(crate) welcomes: u64,
    pub(crate) goodbyes: u64,
    pub(crate) rejections: u64,
    pub(crate) accepted: u64,
    pub(crate) pages: u64,
    pub(crate) entries: u64,
    pub(crate) caught_up: u64,
    pub(crate) left: u64,
    pub(crate) unavailable: u64,
    pub(crate) busy: u64,
    pub(crate) resume_ahead: u64,
    pub(crate) measured: u64,
    pub(crate) presences: u64,
    pub(crate) typings: u64,
}

impl Counts {
    /// A fuzzer that stops at the door proves nothing.
    pub(crate) fn assert_deep(&self) {
        for (count, what) in [
            (self.texts / 100, "texts"),
            (self.texts_refused / 100, "refused texts"),
            (self.protocol_errors / 10, "protocol errors"),
            (self.closes, "closes"),
            (self.welcomes, "welcomes"),
            (self.goodbyes, "goodbyes"),
            (self.rejections / 10, "rejections"),
            (self.accepted / 10, "accepted requests"),
            (self.pages, "pages"),
            (self.entries / 10, "entries"),
            (self.caught_up, "sessions caught up"),
            (self.left, "sessions let go of a channel"),
            (self.unavailable, "rejections as unavailable"),
            (self.busy, "rejections as busy"),
            (self.resume_ahead, "resumes ahead of the log"),
            (self.measured, "queues measured"),
            (self.presences, "presences told"),
            (self.typings, "typings relayed"),
        ] {
            assert!(count >= 10, "the fuzzer hardly made any {what}: {self:#?}");
        }
    }
}

/// How a connection ended, if it did.
pub(crate) enum Fed {
    Texts(Vec<String>),
    Over(Vec<String>),
}

pub(crate) struct Connection {
    decoder: Decoder,
    /// Given the same bytes in other pieces, to see that pieces don't matter.
    unsplit: Decoder,
    arrived: usize,
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self {
            decoder: Decoder::new(Role::Server, CLIENT_FRAME_BYTES_MAX),
            unsplit: Decoder::new(Role::Server, CLIENT_FRAME_BYTES_MAX),
            arrived: 0,
        }
    }

    /// Gives `bytes` to the decoder in random pieces.
    pub(crate) fn feed(&mut self, random: &mut Random, bytes: &[u8], counts: &mut Counts) -> Fed {
        let piece_max = match random.below(4) {
            0 if bytes.len() < 2_000 => 1,
            1 => 16,
            2 => 600,
            _ => bytes.len(),
        };
        let mut messages = Vec::new();
        let mut error = None;
        let mut rest = bytes;
        while !rest.is_empty() && error.is_none() {
            let count =
                if piece_max == bytes.len() { piece_max } else { 1 + random.below(piece_max) };
            let (piece, after) = rest.split_at(count.min(rest.len()));
            rest = after;
            self.arrived += piece.len();
            error = drain(&mut self.decoder, piece, &mut messages);
            self.check_memory();
        }
        let mut same = Vec::new();
        let same_error = drain(&mut self.unsplit, bytes, &mut same);
        assert_eq!((&messages, &error), (&same, &same_error), "the pieces made a difference");
        self.read(messages, error, counts)
    }

    fn check_memory(&self) {
        let held = self.decoder.held_bytes();
        let held_max = CLIENT_FRAME_BYTES_MAX + CONTROL_BYTES_MAX + BOOKKEEPING_BYTES_MAX;
        assert!(held <= held_max, "the decoder holds {held} bytes");
        let arrived_max = BOOKKEEPING_BYTES_MAX + 2 * self.arrived;
        assert!(held <= arrived_max, "the decoder holds {held} bytes of {}", self.arrived);
        assert_eq!(held > 0, self.decoder.is_partial(), "memory is held while idle");
    }

    fn read(
        &mut self,
        messages: Vec<Message>,
        error: Option<ProtocolError>,
        counts: &mut Counts,
    ) -> Fed {
        let mut texts = Vec::new();
        for message in messages {
            match message {
                Message::Text(text) => {
                    assert!(text.len() <= CLIENT_FRAME_BYTES_MAX, "a text is too long");
                    texts.push(text);
                }
                Message::Binary(bytes) => {
                    assert!(bytes.len() <= CLIENT_FRAME_BYTES_MAX, "a message is too long");
                }
                Message::Ping(payload) | Message::Pong(payload) => {
                    assert!(payload.len() <= CONTROL_BYTES_MAX, "a control frame is too long");
                }
                Message::Close(close) => {
                    counts.closes += 1;
                    if let Some((code, reason)) = close {
                        assert!(close_code_allowed(code), "close code {code}");
                        assert!(reason.len() <= CONTROL_BYTES_MAX - 2, "a reason is too long");
                    }
                    self.assert_finished();
                    return Fed::Over(texts);
                }
            }
        }
        let Some(error) = error else { return Fed::Texts(texts) };
        counts.protocol_errors += 1;
        let reason = error.to_string();
        assert!(!reason.is_empty(), "{error:?} says nothing");
        // Panics on a code that must not be sent.
        encode_close(Some((error.close_code(), &reason)), None, &mut Vec::new());
        self.assert_finished();
        Fed::Over(texts)
    }

    fn assert_finished(&mut self) {
        let mut more: &[u8] = &[0x89, 0x80, 1, 2, 3, 4];
        assert_eq!(self.decoder.decode(&mut more), Ok(None), "the stream went on after its end");
        assert_eq!((more.len(), self.decoder.held_bytes()), (0, 0), "something was kept");
    }
}

fn drain(
    decoder: &mut Decoder,
    mut piece: &[u8],
    messages: &mut Vec<Message>,
) -> Option<ProtocolError> {
    // Every message takes two bytes at least.
    for _ in 0..=piece.len() {
        match decoder.decode(&mut piece) {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => {
                assert!(piece.is_empty(), "bytes were left behind");
                return None;
            }
            Err(error) => return Some(error),
        }
    }
    panic!("the decoder does not come to an end");
}
