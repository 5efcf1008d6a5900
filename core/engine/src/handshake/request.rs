//! Reads the head of a request, up to and including its empty line.
//!
//! It checks what every request must keep, whatever it asks for: size, header count, grammar, and
//! a length of body that is not ambiguous. [`super::upgrade`] and the server's HTTP routes judge
//! the rest.

use super::{Afterwards, NotUtf8, Parsed, has_token, joined, tokens};
use crate::limits::{HANDSHAKE_BYTES_MAX, HEADERS_MAX};

/// Why a request was not read. The driver answers with [`HandshakeError::status`] and the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    #[error("the request's head exceeds the limit of {HANDSHAKE_BYTES_MAX} bytes; send less")]
    TooLarge,
    #[error("the request has more than {HEADERS_MAX} headers; send fewer")]
    TooManyHeaders,
    #[error("this is not an HTTP/1.x request: {why}")]
    Malformed { why: httparse::Error },
    #[error("the header {name} is not UTF-8 text")]
    HeaderNotText { name: &'static str },
    #[error("Content-Length is {value:?}; give one decimal number")]
    ContentLength { value: String },
    #[error("Transfer-Encoding is not supported; send the body with a Content-Length")]
    TransferEncoding,
}

impl HandshakeError {
    /// The HTTP status to answer with.
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge | Self::TooManyHeaders => 431,
            Self::TransferEncoding => 501,
            Self::Malformed { .. } | Self::HeaderNotText { .. } | Self::ContentLength { .. } => 400,
        }
    }
}

impl From<NotUtf8> for HandshakeError {
    fn from(NotUtf8 { name }: NotUtf8) -> Self {
        Self::HeaderNotText { name }
    }
}

/// The head of a request: what routes and handshakes ask of it. A header given several times holds
/// its values joined by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Up to the `?`, not decoded.
    pub path: String,
    /// After the `?`, not decoded.
    pub query: Option<String>,
    /// 1 for HTTP/1.1.
    pub minor_version: u8,
    pub host: Option<String>,
    pub origin: Option<String>,
    pub authorization: Option<String>,
    /// Bytes of body that follow the head.
    pub content_length: u64,
    pub connection: Option<String>,
    /// The peer waits for our leave before it sends the body.
    pub expects_continue: bool,
    pub upgrade: Option<String>,
    pub websocket_key: Option<String>,
    pub websocket_version: Option<String>,
    /// The subprotocols offered, the preferred first.
    pub protocols: Vec<String>,
}

impl Request {
    /// What the peer would have of the connection once it has its answer.
    pub fn afterwards(&self) -> Afterwards {
        if self.minor_version == 0 || has_token(self.connection.as_deref(), "close") {
            Afterwards::Close
        } else {
            Afterwards::KeepAlive
        }
    }
}

/// Reads the request that starts `bytes`: everything received on the connection so far.
///
/// Its head must end within the first [`HANDSHAKE_BYTES_MAX`] bytes and have at most
/// [`HEADERS_MAX`] headers. A body is not consumed.
pub fn parse_request(bytes: &[u8]) -> Result<Parsed<Request>, HandshakeError> {
    let within_limit = bytes.get(..HANDSHAKE_BYTES_MAX).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let consumed = match head.parse(within_limit) {
        Ok(httparse::Status::Complete(consumed)) => consumed,
        Ok(httparse::Status::Partial) if bytes.len() >= HANDSHAKE_BYTES_MAX => {
            return Err(HandshakeError::TooLarge);
        }
        Ok(httparse::Status::Partial) => return Ok(Parsed::Incomplete),
        Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::TooManyHeaders),
        Err(why) => return Err(HandshakeError::Malformed { why }),
    };
    let value = read(&head)?;
    Ok(Parsed::Complete { value, consumed })
}

fn read(head: &httparse::Request<'_, '_>) -> Result<Request, HandshakeError> {
    let header = |name| joined(head.headers, name);
    if header("transfer-encoding")?.is_some() {
        return Err(HandshakeError::TransferEncoding);
    }
    let target = head.path.unwrap_or_default();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let protocols = header("sec-websocket-protocol")?.unwrap_or_default();
    Ok(Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query,
        minor_version: head.version.unwrap_or_default(),
        host: header("host")?,
        origin: header("origin")?,
        authorization: header("authorization")?,
        content_length: parse_content_length(header("content-length")?)?,
        connection: header("connection")?,
        expects_continue: has_token(header("expect")?.as_deref(), "100-continue"),
        upgrade: header("upgrade")?,
        websocket_key: header("sec-websocket-key")?,
        websocket_version: header("sec-websocket-version")?,
        protocols: tokens(&protocols).map(str::to_owned).collect(),
    })
}

fn parse_content_length(value: Option<String>) -> Result<u64, HandshakeError> {
    let Some(value) = value else {
        return Ok(0);
    };
    // `parse` alone would take a sign.
    if value.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(bytes) = value.parse()
    {
        return Ok(bytes);
    }
    Err(HandshakeError::ContentLength { value })
}
