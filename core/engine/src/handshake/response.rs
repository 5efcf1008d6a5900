//! Writes plain HTTP answers.
//!
//! Each is whole, carries its length and closes the connection. The server's HTTP routes and
//! refused handshakes answer with them.

use std::fmt::Write;

use bytes::Bytes;

/// A whole answer with `body`. `content_type` is one of our own constants.
pub fn response(status: u16, content_type: &str, body: &[u8]) -> Bytes {
    response_with(status, content_type, &[], body)
}

pub(super) fn response_with(
    status: u16,
    content_type: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Bytes {
    let mut head = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        write!(head, "{name}{value}\r\n").expect("a String takes all that is written");
    };
    line("HTTP/1.1 ", &format_args!("{status} {}", reason(status)));
    line("Content-Type: ", &content_type);
    line("Content-Length: ", &body.len());
    line("Connection: ", &"close");
    for (name, value) in headers {
        line(name, &format_args!(": {value}"));
    }
    line("", &"");
    let mut out = head.into_bytes();
    out.extend_from_slice(body);
    out.into()
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
