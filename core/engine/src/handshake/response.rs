//! Writes plain HTTP answers.
//!
//! Each is whole and carries its length, so that a connection may go on behind it. The server's
//! HTTP routes and refused handshakes answer with them.

use std::fmt::Write;

use bytes::Bytes;

/// A whole answer. Names and values of its headers are our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub content_type: &'static str,
    /// Beside `Content-Type`, `Content-Length` and `Connection`.
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

/// What becomes of the connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    KeepAlive,
    Close,
}

impl Response {
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into() }
    }

    /// An answer for people: `body` is a sentence, with the remedy if it is a refusal.
    pub fn text(status: u16, body: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{body}\n"))
    }

    pub fn json(status: u16, body: Vec<u8>) -> Self {
        Self::new(status, "application/json", body)
    }

    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The bytes of the answer.
    pub fn encode(&self, afterwards: Afterwards) -> Bytes {
        let mut head = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            write!(head, "{name}{value}\r\n").expect("a String takes all that is written");
        };
        line("HTTP/1.1 ", &format_args!("{} {}", self.status, reason(self.status)));
        line("Content-Type: ", &self.content_type);
        line("Content-Length: ", &self.body.len());
        line("Connection: ", &afterwards.connection());
        for (name, value) in &self.headers {
            line(name, &format_args!(": {value}"));
        }
        line("", &"");
        let mut out = head.into_bytes();
        out.extend_from_slice(&self.body);
        out.into()
    }
}

impl Afterwards {
    fn connection(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive",
            Self::Close => "close",
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // Clients go by the number; the phrase may be empty.
        _ => "",
    }
}
