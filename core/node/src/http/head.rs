//! Reads the head of a request off a stream.

use std::io;

use tokio::io::AsyncReadExt;

use seriatim_engine::handshake::{HandshakeError, Parsed, Request, parse_request};
use seriatim_world::BoxStream;

/// What a peer's bytes turned out to be.
pub(super) enum Head {
    Request(Box<Request>),
    /// Not a request; the connection can't go on.
    Refused(HandshakeError),
    /// The peer ended the connection.
    End,
}

/// Reads into `bytes`, which may hold the beginning already, until the head is there; what follows
/// it stays in `bytes`.
///
/// # Errors
/// The stream failed.
pub(super) async fn read(stream: &mut BoxStream, bytes: &mut Vec<u8>) -> io::Result<Head> {
    loop {
        match parse_request(bytes) {
            Ok(Parsed::Incomplete) => {}
            Ok(Parsed::Complete { value, consumed }) => {
                bytes.drain(..consumed);
                return Ok(Head::Request(Box::new(value)));
            }
            Err(error) => return Ok(Head::Refused(error)),
        }
        if stream.read_buf(bytes).await? == 0 {
            return Ok(Head::End);
        }
    }
}
