//! WebSocket frames (RFC 6455), for both roles, without a socket.
//!
//! A [`Decoder`] turns the bytes of one connection into [`Message`]s, whatever pieces they arrive
//! in. [`encode_text`] makes the frame that a server shares among all readers of a channel;
//! [`encode_frame`] and [`encode_close`] make everything else. Extensions are never negotiated.
//! The connection tasks of the server and of the reference client are the drivers: they read the
//! socket, answer pings, and send the close frame that a [`ProtocolError`] asks for.

mod decoder;
mod error;
mod frame;

pub use decoder::{Decoder, FRAGMENTS_MAX, Message, Role};
pub use error::ProtocolError;
pub use frame::{
    CONTROL_BYTES_MAX, Opcode, close_code_allowed, encode_close, encode_frame, encode_text,
};
