//! Decides whether a request becomes a WebSocket connection (RFC 6455 §4.2).
//!
//! Extensions are declined by not naming any. The server's connection task asks for every request
//! to the WebSocket's path; whether the path is welcome is the task's to say, and [`super::AllowedOrigins`]'
//! whether the origin is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{Afterwards, Request, Response, SUBPROTOCOL, accept_key, has_token};

const VERSION: &str = "13";

/// Why a request does not become a WebSocket connection, as told to whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    /// Headers that the status demands.
    pub headers: &'static [(&'static str, &'static str)],
    /// A sentence with the remedy.
    pub body: String,
}

impl Refusal {
    /// The whole HTTP answer, which closes the connection.
    pub fn response(&self) -> Bytes {
        let mut response = Response::text(self.status, &self.body);
        for (name, value) in self.headers {
            response = response.with_header(name, *value);
        }
        response.encode(Afterwards::Close)
    }
}

/// The answer that switches `request`'s connection to WebSocket.
///
/// Our subprotocol is chosen when it is offered; a client that offers none may do without.
pub fn upgrade(request: &Request) -> Result<Bytes, Refusal> {
    check_http(request)?;
    let key = check_key(request)?;
    let protocol = if request.protocols.iter().any(|offered| offered == SUBPROTOCOL) {
        format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n")
    } else if request.protocols.is_empty() {
        String::new()
    } else {
        return Err(bad(format!(
            "none of the offered subprotocols is spoken here; offer {SUBPROTOCOL:?}, or none"
        )));
    };
    let accept = accept_key(key);
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\
         {protocol}\r\n"
    )
    .into())
}

fn check_http(request: &Request) -> Result<(), Refusal> {
    let refuse = |status, headers, body: &str| Err(Refusal { status, headers, body: body.into() });
    if request.method != "GET" {
        return refuse(405, &[("Allow", "GET")], "a WebSocket handshake is a GET request");
    }
    if request.minor_version != 1 {
        return refuse(505, &[], "a WebSocket handshake needs HTTP/1.1");
    }
    let one_host = |host: &String| !host.is_empty() && !host.contains(',');
    if !request.host.as_ref().is_some_and(one_host) {
        return refuse(400, &[], "an HTTP/1.1 request has one Host header");
    }
    if request.content_length > 0 {
        return refuse(400, &[], "a WebSocket handshake has no body");
    }
    if !has_token(request.upgrade.as_deref(), "websocket") {
        return refuse(
            426,
            &[("Upgrade", "websocket")],
            "this address speaks WebSocket; send Upgrade: websocket, or mend the proxy that drops it",
        );
    }
    if !has_token(request.connection.as_deref(), "upgrade") {
        return refuse(
            400,
            &[],
            "Connection does not name Upgrade; send Connection: Upgrade, or mend the proxy that \
             drops it",
        );
    }
    if request.websocket_version.as_deref() != Some(VERSION) {
        return refuse(
            426,
            &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)],
            "only WebSocket version 13 is spoken here; send Sec-WebSocket-Version: 13",
        );
    }
    Ok(())
}

fn check_key(request: &Request) -> Result<&str, Refusal> {
    let Some(key) = &request.websocket_key else {
        return Err(bad("Sec-WebSocket-Key is missing".into()));
    };
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(key),
        Ok(_) | Err(_) => Err(bad("Sec-WebSocket-Key is not the base64 of 16 bytes".into())),
    }
}

fn bad(body: String) -> Refusal {
    Refusal { status: 400, headers: &[], body }
}
