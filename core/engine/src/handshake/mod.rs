//! The HTTP that a connection speaks before it speaks WebSocket, for both roles, without a socket.
//!
//! [`parse_request`] reads a request. [`upgrade`] answers it by a switch to WebSocket or by a
//! [`Refusal`], once [`AllowedOrigins`] has let its page pass; a [`Response`] answers the plain HTTP of health checks, metrics and administration,
//! of which a connection may carry many. [`client_request`] and [`parse_response`] are the client's
//! side of the handshake. The connection tasks of the server and of the reference client are the
//! drivers.

mod client;
mod origin;
mod request;
mod response;
mod upgrade;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

pub use client::{ResponseError, client_request, parse_response};
pub use origin::{AllowedOrigins, NotAnOrigin, Origin};
pub use request::{HandshakeError, Request, parse_request};
pub use response::{Afterwards, Response};
pub use upgrade::{Refusal, upgrade};

/// The version of our protocol, as WebSocket's handshake negotiates it.
pub const SUBPROTOCOL: &str = "seriatim.v1";

/// What bytes that arrive piece by piece have been parsed into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<T> {
    /// So far they are sound: parse again when more have arrived.
    Incomplete,
    /// Done; what follows the first `consumed` bytes belongs to whatever comes next.
    Complete { value: T, consumed: usize },
}

/// The answer to a `Sec-WebSocket-Key` that proves a WebSocket server (RFC 6455 §1.3).
fn accept_key(key: &str) -> String {
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    STANDARD.encode(digest)
}

/// Whether the comma-separated `list` holds `token`, in any case.
fn has_token(list: Option<&str>, token: &str) -> bool {
    list.is_some_and(|list| tokens(list).any(|found| found.eq_ignore_ascii_case(token)))
}

fn tokens(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|token| !token.is_empty())
}

/// All values of the header `name`, joined by commas as RFC 9110 §5.2 has it. A header that must
/// not repeat thus turns into a value that its reader refuses. `Err` if a value is not UTF-8.
fn joined(headers: &[httparse::Header<'_>], name: &'static str) -> Result<Option<String>, NotUtf8> {
    let mut values: Option<String> = None;
    for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)) {
        let value = str::from_utf8(header.value).map_err(|_| NotUtf8 { name })?;
        match &mut values {
            Some(values) => {
                values.push_str(", ");
                values.push_str(value);
            }
            None => values = Some(value.to_owned()),
        }
    }
    Ok(values)
}

/// The header `name` has bytes that are not text.
struct NotUtf8 {
    name: &'static str,
}

#[cfg(test)]
mod tests;
