//! What breaks the rules gets the documented answer, byte by byte.

use std::time::Duration;

use serde_json::Value;
use seriatim_engine::frame::ServerFrame;
use seriatim_engine::limits::CLIENT_FRAME_BYTES_MAX;
use seriatim_engine::websocket::{Decoder, Message, Opcode, Role, encode_frame};
use seriatim_world::clock::timeout;
use seriatim_world::{BoxStream, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::process::Server;
use crate::user::world;

const UPGRADE: &str = "GET /v1/ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

/// Writes `bytes` and reads all that comes until the server ends the connection. A reset is a
/// failure: it may take the answer with it.
async fn exchange(world: &World, stream: &mut BoxStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let read = timeout(&*world.clock, Duration::from_secs(30), read).await;
    read.expect("the server ends the connection").expect("an orderly end, not a reset");
    answer
}

async fn status(world: &World, server: &Server, request: &str) -> String {
    let mut stream = world.net.connect(&server.address).await.unwrap();
    let answer = exchange(world, &mut stream, request.as_bytes()).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.ends_with('\n') && body.len() > 2, "no remedy: {answer}");
    head.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn requests_that_are_no_handshake_get_their_status_and_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let server = Server::serve(&directory.path().join("data"));
    let without = |header: &str| {
        let lines = UPGRADE.split_inclusive("\r\n").filter(|line| !line.starts_with(header));
        lines.collect::<String>()
    };
    let long = format!("GET /v1/ws HTTP/1.1\r\nHost: here\r\nX: {}\r\n\r\n", "x".repeat(60_000));
    for (request, expected) in [
        (without("Upgrade"), "426"),
        (without("Connection"), "400"),
        (without("Sec-WebSocket-Key"), "400"),
        (without("Host"), "400"),
        (UPGRADE.replace("Version: 13", "Version: 8"), "426"),
        (UPGRADE.replace("GET", "POST"), "405"),
        (UPGRADE.replace("/v1/ws", "/v2/ws").replace(": Upgrade", ": close"), "404"),
        (UPGRADE.replace("HTTP/1.1", "HTTP/1.0"), "505"),
        (UPGRADE.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"), "400"),
        ("this is not HTTP\r\n\r\n".to_owned(), "400"),
        (long, "431"),
        ("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "200"),
    ] {
        assert_eq!(status(&world, &server, &request).await, expected, "{request}");
    }
}

/// Shakes hands, writes `bytes`, and gives what came: frames, and the close code at the end.
async fn frames(world: &World, server: &Server, bytes: &[u8]) -> (Vec<Value>, Option<u16>) {
    let mut stream = world.net.connect(&server.address).await.unwrap();
    let answer = exchange(world, &mut stream, &[UPGRADE.as_bytes(), bytes].concat()).await;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    let (mut rest, mut frames, mut code) = (&answer[end..], Vec::new(), None);
    let mut decoder = Decoder::new(Role::Client, 1 << 20);
    while let Some(message) = decoder.decode(&mut rest).unwrap() {
        match message {
            Message::Text(text) => {
                ServerFrame::parse(text.as_bytes()).expect("a documented frame");
                frames.push(serde_json::from_str(&text).unwrap());
            }
            Message::Close(close) => {
                code = Some(close.expect("a code").0);
                break;
            }
            other @ (Message::Binary(_) | Message::Ping(_) | Message::Pong(_)) => {
                panic!("unexpected: {other:?}");
            }
        }
    }
    assert!(rest.is_empty(), "bytes behind the close frame");
    (frames, code)
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(opcode, payload, MASK, &mut bytes);
    bytes
}

#[tokio::test]
async fn broken_websocket_frames_close_the_connection_with_their_code() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let server = Server::serve(&directory.path().join("data"));
    let mut unmasked = Vec::new();
    encode_frame(Opcode::Text, br#"{"type":"ping"}"#, None, &mut unmasked);
    let big = masked(Opcode::Text, &vec![b'x'; 2 * CLIENT_FRAME_BYTES_MAX]);
    let fragments: Vec<u8> = [0x01, 0x80, 1, 2, 3, 4]
        .into_iter()
        .chain([0x00, 0x80, 1, 2, 3, 4].into_iter().cycle().take(6 * 1_100))
        .collect();
    for (what, bytes, expected) in [
        ("not masked", unmasked, 1002),
        ("reserved bits", vec![0xf1, 0x80, 0, 0, 0, 0], 1002),
        ("binary", masked(Opcode::Binary, b"{}"), 1003),
        ("not UTF-8", masked(Opcode::Text, &[0xff, 0xfe]), 1007),
        ("too big", big, 1009),
        ("too many fragments", fragments, 1009),
        ("closed by the peer", masked(Opcode::Close, &1001_u16.to_be_bytes()), 1000),
        ("closed without a code", masked(Opcode::Close, &[]), 1000),
    ] {
        let (frames, code) = frames(&world, &server, &bytes).await;
        assert_eq!((frames, code), (Vec::new(), Some(expected)), "{what}");
    }
}

#[tokio::test]
async fn connections_without_hello_are_told_goodbye() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let server = Server::serve(&directory.path().join("data"));
    let join = masked(Opcode::Text, br#"{"type":"join","id":1,"channel":"general","nonce":"j"}"#);
    let forged = masked(Opcode::Text, br#"{"type":"hello","token":"a.b.c"}"#);

    for (bytes, expected) in
        [(join, "protocol"), (forged, "unauthorized"), (Vec::new(), "protocol")]
    {
        let (frames, code) = frames(&world, &server, &bytes).await;

        assert_eq!(code, Some(1000));
        assert_eq!(frames.len(), 1);
        assert_eq!((&frames[0]["type"], &frames[0]["code"]), (&"goodbye".into(), &expected.into()));
    }
}
