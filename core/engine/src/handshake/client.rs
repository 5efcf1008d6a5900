//! The client's half of the handshake: asks for a WebSocket and checks the answer
//! (RFC 6455 §4.1).
//!
//! The reference client's connection task is the driver, and gives the random key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{NotUtf8, Parsed, SUBPROTOCOL, accept_key, has_token, joined};
use crate::limits::{HANDSHAKE_BYTES_MAX, HEADERS_MAX};

/// As much of a refusing answer's body as is worth showing.
const REFUSAL_BODY_BYTES_MAX: usize = 512;

/// Why a server's answer does not open a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    #[error("the answer's head exceeds the limit of {HANDSHAKE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer has more than {HEADERS_MAX} headers")]
    TooManyHeaders,
    #[error("the answer is not HTTP/1.x ({why}); check the address and whether it expects TLS")]
    Malformed { why: httparse::Error },
    #[error("the header {name} of the answer is not UTF-8 text")]
    HeaderNotText { name: &'static str },
    /// `body` is what of it had arrived, at most 512 bytes.
    #[error("the server refused the connection with status {status}: {body}")]
    Refused { status: u16, body: String },
    #[error("the answer has no {name} header that names {token}; a proxy may have dropped it")]
    NotUpgraded { name: &'static str, token: &'static str },
    #[error("the answer's Sec-WebSocket-Accept does not match our key; is a cache in between?")]
    Accept,
    #[error("the server chose the subprotocol {chosen:?} instead of {SUBPROTOCOL:?}")]
    Protocol { chosen: Option<String> },
    #[error("the server chose the extensions {chosen:?}, which were not offered")]
    Extensions { chosen: String },
}

impl From<NotUtf8> for ResponseError {
    fn from(NotUtf8 { name }: NotUtf8) -> Self {
        Self::HeaderNotText { name }
    }
}

/// The request that asks `host` (with its port, if that is not the default) for a WebSocket at
/// `path`. `key` is fresh from a random generator.
///
/// # Panics
///
/// If `host` or `path` has spaces, control characters or non-ASCII ones; a parsed URL has none.
pub fn client_request(host: &str, path: &str, key: [u8; 16]) -> Bytes {
    assert!(host.bytes().all(|byte| byte.is_ascii_graphic()), "{host:?} is no host");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?} is no path");
    assert!(path.starts_with('/'), "{path:?} is no path");
    let key = STANDARD.encode(key);
    format!(
        "GET {path} HTTP/1.1\r\n\
         Host: {host}\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )
    .into()
}

/// Checks the answer to a [`client_request`] with `key`. `bytes` is everything received on the
/// connection so far; what follows the answer are WebSocket frames.
pub fn parse_response(bytes: &[u8], key: [u8; 16]) -> Result<Parsed<()>, ResponseError> {
    let within_limit = bytes.get(..HANDSHAKE_BYTES_MAX).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let consumed = match head.parse(within_limit) {
        Ok(httparse::Status::Complete(consumed)) => consumed,
        Ok(httparse::Status::Partial) if bytes.len() >= HANDSHAKE_BYTES_MAX => {
            return Err(ResponseError::TooLarge);
        }
        Ok(httparse::Status::Partial) => return Ok(Parsed::Incomplete),
        Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::TooManyHeaders),
        Err(why) => return Err(ResponseError::Malformed { why }),
    };
    let status = head.code.unwrap_or_default();
    if status != 101 {
        let body = bytes.get(consumed..).unwrap_or_default();
        let body = body.get(..REFUSAL_BODY_BYTES_MAX).unwrap_or(body);
        let body = String::from_utf8_lossy(body).trim().to_owned();
        return Err(ResponseError::Refused { status, body });
    }
    check(head.headers, key)?;
    Ok(Parsed::Complete { value: (), consumed })
}

fn check(headers: &[httparse::Header<'_>], key: [u8; 16]) -> Result<(), ResponseError> {
    let header = |name| joined(headers, name);
    for (name, token) in [("Upgrade", "websocket"), ("Connection", "upgrade")] {
        if !has_token(header(name)?.as_deref(), token) {
            return Err(ResponseError::NotUpgraded { name, token });
        }
    }
    if header("Sec-WebSocket-Accept")? != Some(accept_key(&STANDARD.encode(key))) {
        return Err(ResponseError::Accept);
    }
    if let Some(chosen) = header("Sec-WebSocket-Extensions")? {
        return Err(ResponseError::Extensions { chosen });
    }
    let chosen = header("Sec-WebSocket-Protocol")?;
    if chosen.as_deref() != Some(SUBPROTOCOL) {
        return Err(ResponseError::Protocol { chosen });
    }
    Ok(())
}
