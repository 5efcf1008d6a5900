//! Both halves of the handshake, against the RFC's example and against each other.

use proptest::prelude::*;

use super::*;
use crate::limits::{HANDSHAKE_BYTES_MAX, HEADERS_MAX};

/// The nonce of RFC 6455 §1.3.
const KEY: [u8; 16] = *b"the sample nonce";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// RFC 6455 §1.2, with our subprotocol.
const REQUEST: &str = "GET /v1/ws?client=web HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, seriatim.v1\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: seriatim.v1\r\n\r\n";

fn complete<T: std::fmt::Debug, E: std::fmt::Debug>(parsed: Result<Parsed<T>, E>) -> (T, usize) {
    match parsed {
        Ok(Parsed::Complete { value, consumed }) => (value, consumed),
        other => panic!("{other:?}"),
    }
}

fn request(text: &str) -> Request {
    complete(parse_request(text.as_bytes())).0
}

/// The refusal of [`REQUEST`] with `from` replaced.
fn refusal(from: &str, to: &str) -> Refusal {
    assert!(REQUEST.contains(from), "{from:?} is not in the request");
    upgrade(&request(&REQUEST.replace(from, to))).expect_err("a rule is broken")
}

fn response_error(from: &str, to: &str) -> ResponseError {
    assert!(RESPONSE.contains(from), "{from:?} is not in the response");
    parse_response(RESPONSE.replace(from, to).as_bytes(), KEY).expect_err("a rule is broken")
}

#[test]
fn accept_key_is_that_of_the_rfc() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), ACCEPT);
}

#[test]
fn handshake_of_the_rfc_is_accepted() {
    let answer = upgrade(&request(REQUEST)).unwrap();
    assert_eq!(str::from_utf8(&answer).unwrap(), RESPONSE);
}

#[test]
fn request_is_read_with_all_that_routes_need() {
    let text = "POST /v1/admin/users?dry HTTP/1.1\r\nhost: localhost:8080\r\n\
        AUTHORIZATION: Bearer abc\r\nContent-Length: 12\r\n\r\n{\"rest\":1}";
    let (request, consumed) = complete(parse_request(text.as_bytes()));
    assert_eq!(&text[consumed..], "{\"rest\":1}");
    assert_eq!((&*request.method, &*request.path), ("POST", "/v1/admin/users"));
    assert_eq!(request.query.as_deref(), Some("dry"));
    assert_eq!(request.host.as_deref(), Some("localhost:8080"));
    assert_eq!(request.authorization.as_deref(), Some("Bearer abc"));
    assert_eq!((request.content_length, request.minor_version), (12, 1));
    assert_eq!(request.protocols, Vec::<String>::new());

    let parsed = parse_request(REQUEST.as_bytes());
    let (websocket, _) = complete(parsed);
    assert_eq!(websocket.origin.as_deref(), Some("http://example.com"));
    assert_eq!(websocket.protocols, ["chat", SUBPROTOCOL]);
    assert_eq!(websocket.content_length, 0);
}

#[test]
fn heads_are_incomplete_until_their_last_byte() {
    for at in 0..REQUEST.len() {
        assert_eq!(parse_request(&REQUEST.as_bytes()[..at]), Ok(Parsed::Incomplete), "{at}");
    }
    for at in 0..RESPONSE.len() {
        let parsed = parse_response(&RESPONSE.as_bytes()[..at], KEY);
        assert_eq!(parsed, Ok(Parsed::Incomplete), "{at}");
    }
}

#[test]
fn frames_behind_the_head_are_left_alone() {
    let (_, consumed) = complete(parse_request(format!("{REQUEST}\u{1}x").as_bytes()));
    assert_eq!(consumed, REQUEST.len());
    let ((), consumed) = complete(parse_response(format!("{RESPONSE}\u{1}x").as_bytes(), KEY));
    assert_eq!(consumed, RESPONSE.len());
}

#[test]
fn both_halves_understand_each_other() {
    let asked = client_request("[::1]:8080", "/v1/ws", KEY);
    let (request, consumed) = complete(parse_request(&asked));
    assert_eq!((&*request.path, consumed), ("/v1/ws", asked.len()));
    assert_eq!(request.host.as_deref(), Some("[::1]:8080"));
    let answer = upgrade(&request).unwrap();
    assert_eq!(complete(parse_response(&answer, KEY)), ((), answer.len()));
    assert_eq!(parse_response(&answer, [0; 16]), Err(ResponseError::Accept));
}

/// A request of `bytes` bytes in all.
fn request_of(bytes: usize) -> String {
    let (start, end) = ("GET / HTTP/1.1\r\nX: ", "\r\n\r\n");
    format!("{start}{}{end}", "x".repeat(bytes - start.len() - end.len()))
}

#[test]
fn head_over_the_limit_is_refused() {
    let largest = request_of(HANDSHAKE_BYTES_MAX);
    assert_eq!(complete(parse_request(largest.as_bytes())).1, HANDSHAKE_BYTES_MAX);
    let behind = format!("{largest}{largest}");
    assert_eq!(complete(parse_request(behind.as_bytes())).1, HANDSHAKE_BYTES_MAX);

    let too_large = request_of(HANDSHAKE_BYTES_MAX + 1);
    assert_eq!(parse_request(too_large.as_bytes()), Err(HandshakeError::TooLarge));
    let unfinished = &too_large.as_bytes()[..HANDSHAKE_BYTES_MAX];
    assert_eq!(parse_request(unfinished), Err(HandshakeError::TooLarge));
    assert_eq!(HandshakeError::TooLarge.status(), 431);

    let answer = RESPONSE.replace("Upgrade: w", &format!("X: {}\r\nUpgrade: w", "x".repeat(8_192)));
    assert_eq!(parse_response(answer.as_bytes(), KEY), Err(ResponseError::TooLarge));
}

#[test]
fn more_headers_than_the_limit_are_refused() {
    let with = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert!(parse_request(with(HEADERS_MAX).as_bytes()).is_ok());
    let error = parse_request(with(HEADERS_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!((error.status(), error), (431, HandshakeError::TooManyHeaders));

    let answer = RESPONSE.replace("Upgrade: w", &format!("{}Upgrade: w", "a: b\r\n".repeat(64)));
    assert_eq!(parse_response(answer.as_bytes(), KEY), Err(ResponseError::TooManyHeaders));
}

#[test]
fn what_is_not_http_is_refused_at_once() {
    for bytes in [b"\x16\x03\x01\x02\x00".as_slice(), b"GET / HTTP/2.0\r\n", b"GET /\0", b"\xff"] {
        let error = parse_request(bytes).unwrap_err();
        assert!(matches!(error, HandshakeError::Malformed { .. }), "{error}");
        assert_eq!(error.status(), 400);
    }
    let error = parse_response(b"\x15\x03\x01", KEY).unwrap_err();
    assert!(matches!(error, ResponseError::Malformed { .. }), "{error}");
}

#[test]
fn body_of_unclear_length_is_refused() {
    let with =
        |header: &str| parse_request(format!("POST / HTTP/1.1\r\n{header}\r\n\r\n").as_bytes());
    for value in ["", "x", "-1", "+1", "1 1", "99999999999999999999"] {
        let error = with(&format!("Content-Length: {value}")).unwrap_err();
        assert_eq!(error, HandshakeError::ContentLength { value: value.into() });
        assert_eq!(error.status(), 400);
    }
    let twice = with("Content-Length: 1\r\nContent-Length: 1").unwrap_err();
    assert_eq!(twice, HandshakeError::ContentLength { value: "1, 1".into() });
    let chunked = with("Transfer-Encoding: chunked").unwrap_err();
    assert_eq!((chunked.status(), chunked), (501, HandshakeError::TransferEncoding));
    assert_eq!(
        parse_request(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"),
        Err(HandshakeError::HeaderNotText { name: "host" })
    );
}

#[test]
fn header_lists_are_read_in_any_case_and_over_several_lines() {
    let text = REQUEST
        .replace("Upgrade: websocket", "uPGRADE: h2c , WebSocket")
        .replace("Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nConnection: UPGRADE")
        .replace("chat, seriatim.v1", "chat\r\nsec-websocket-protocol: seriatim.v1");
    assert_eq!(&*upgrade(&request(&text)).unwrap(), RESPONSE.as_bytes());
}

#[test]
fn requests_that_are_no_handshake_are_refused_with_the_remedy() {
    let rules = [
        ("GET", "POST", 405, "GET"),
        ("HTTP/1.1", "HTTP/1.0", 505, "HTTP/1.1"),
        ("Host: server.example.com\r\n", "", 400, "Host"),
        ("server.example.com", "", 400, "Host"),
        ("server.example.com", "a\r\nHost: b", 400, "Host"),
        ("Origin: http://example.com", "Content-Length: 3", 400, "body"),
        ("Upgrade: websocket\r\n", "", 426, "Upgrade: websocket"),
        ("Upgrade: websocket", "Upgrade: websockets", 426, "Upgrade: websocket"),
        ("keep-alive, Upgrade", "keep-alive", 400, "Connection: Upgrade"),
        ("Version: 13", "Version: 8", 426, "Version: 13"),
        ("Version: 13", "Version: 13, 8", 426, "Version: 13"),
        ("Sec-WebSocket-Version: 13\r\n", "", 426, "Version: 13"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400, "Key is missing"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "", 400, "16 bytes"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", 400, "16 bytes"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZWU=", 400, "16 bytes"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", 400, "16 bytes"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "!", 400, "16 bytes"),
        ("chat, seriatim.v1", "chat", 400, "seriatim.v1"),
        ("chat, seriatim.v1", "Seriatim.V1", 400, "seriatim.v1"),
    ];
    for (from, to, status, remedy) in rules {
        let refusal = refusal(from, to);
        assert_eq!(refusal.status, status, "{from:?} as {to:?}");
        assert!(refusal.body.contains(remedy), "{:?} for {from:?} as {to:?}", refusal.body);
    }
}

#[test]
fn client_that_offers_no_subprotocol_gets_none() {
    let text = REQUEST.replace("Sec-WebSocket-Protocol: chat, seriatim.v1\r\n", "");
    let answer = upgrade(&request(&text)).unwrap();
    assert!(!str::from_utf8(&answer).unwrap().contains("Protocol:"));
}

#[test]
fn refusal_is_an_answer_that_names_the_version_spoken() {
    let answer = refusal("Version: 13", "Version: 8").response();
    let body = "only WebSocket version 13 is spoken here; send Sec-WebSocket-Version: 13\n";
    let expected = format!(
        "HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(str::from_utf8(&answer).unwrap(), expected);
    assert_eq!(
        parse_response(&answer, KEY),
        Err(ResponseError::Refused { status: 426, body: body.trim().into() })
    );
}

#[test]
fn plain_answer_carries_its_length_and_says_what_becomes_of_the_connection() {
    let answer = Response::json(200, b"{}".to_vec()).with_header("Allow", "GET");
    let expected = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\
        Connection: close\r\nAllow: GET\r\n\r\n{}";
    assert_eq!(str::from_utf8(&answer.encode(Afterwards::Close)).unwrap(), expected);
    let kept = expected.replace("close", "keep-alive");
    assert_eq!(str::from_utf8(&answer.encode(Afterwards::KeepAlive)).unwrap(), kept);
    let unnamed = Response::new(299, "a/b", "").encode(Afterwards::Close);
    assert!(unnamed.starts_with(b"HTTP/1.1 299 \r\n"));
}

#[test]
fn the_connection_is_kept_unless_the_peer_asks_otherwise() {
    let afterwards = |version: &str, headers: &str| {
        request(&format!("GET / HTTP/{version}\r\n{headers}\r\n")).afterwards()
    };
    assert_eq!(afterwards("1.1", ""), Afterwards::KeepAlive);
    assert_eq!(afterwards("1.1", "Connection: TE, Close\r\n"), Afterwards::Close);
    assert_eq!(afterwards("1.0", "Connection: keep-alive\r\n"), Afterwards::Close);
}

#[test]
fn a_peer_that_waits_for_leave_to_send_its_body_is_seen() {
    let with = |headers: &str| request(&format!("POST / HTTP/1.1\r\n{headers}\r\n"));
    assert!(with("Expect: 100-Continue\r\n").expects_continue);
    assert!(!with("").expects_continue);
}

#[test]
fn answers_that_open_no_websocket_are_refused() {
    let upgrade = ResponseError::NotUpgraded { name: "Upgrade", token: "websocket" };
    assert_eq!(response_error("Upgrade: websocket", "Upgrade: h2c"), upgrade);
    let connection = ResponseError::NotUpgraded { name: "Connection", token: "upgrade" };
    assert_eq!(response_error("Connection: Upgrade\r\n", ""), connection);
    assert_eq!(response_error(ACCEPT, "S3pPLMBiTxaQ9kYGzzhZRbK+xOo="), ResponseError::Accept);
    let twice = format!("{ACCEPT}\r\nSec-WebSocket-Accept: {ACCEPT}");
    assert_eq!(response_error(ACCEPT, &twice), ResponseError::Accept);
    let chosen = Some("chat".to_owned());
    assert_eq!(response_error("seriatim.v1", "chat"), ResponseError::Protocol { chosen });
    let none = ResponseError::Protocol { chosen: None };
    assert_eq!(response_error("Sec-WebSocket-Protocol: seriatim.v1\r\n", ""), none);
    let chosen = "permessage-deflate".to_owned();
    assert_eq!(
        response_error("Upgrade: w", "Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade: w"),
        ResponseError::Extensions { chosen }
    );
    assert_eq!(
        response_error("101 Switching Protocols", "200 OK"),
        ResponseError::Refused { status: 200, body: String::new() }
    );
}

#[test]
fn refusing_answer_is_shown_in_part_only() {
    let answer = Response::new(503, "text/plain", vec![b'x'; 10_000]).encode(Afterwards::Close);
    let shown = ResponseError::Refused { status: 503, body: "x".repeat(512) };
    assert_eq!(parse_response(&answer, KEY), Err(shown));
}

#[test]
#[should_panic(expected = "is no host")]
fn host_that_would_smuggle_a_header_is_our_bug() {
    client_request("a\r\nX: y", "/", KEY);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        // What they make of noise is theirs to say; that they return is what counts.
        drop(parse_request(&bytes));
        drop(parse_response(&bytes, KEY));
    }

    #[test]
    fn request_with_some_bytes_changed_does_not_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = REQUEST.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(Parsed::Complete { value, consumed }) = parse_request(&bytes) {
            prop_assert!(consumed <= bytes.len());
            drop(upgrade(&value));
        }
    }
}
