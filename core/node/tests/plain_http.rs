//! Plain requests to the server as it ships: several on one connection, with bodies, and too large.

use std::time::Duration;

use seriatim_engine::limits::{HTTP_BODY_BYTES_MAX, HTTP_CONNECTIONS_MAX};
use seriatim_world::clock::timeout;
use seriatim_world::{BoxStream, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::process::Server;
use crate::user::world;

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A connection for plain requests.
pub(crate) struct Plain {
    world: World,
    stream: BoxStream,
    unread: Vec<u8>,
}

impl Plain {
    pub(crate) async fn connect(world: &World, address: &str) -> Self {
        let stream = world.net.connect(address).await.expect("the server listens");
        Self { world: world.clone(), stream, unread: Vec::new() }
    }

    async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the server reads");
    }

    /// Reads one answer; the connection may go on behind it.
    async fn answer(&mut self) -> Answer {
        let head = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.unread.split_off(end + 4);
                break String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap();
            }
            assert!(self.more().await, "the connection ended within an answer");
        };
        let status = head.split(' ').nth(1).expect("a status").parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.expect("a length").parse().unwrap();
        while self.unread.len() < length {
            assert!(self.more().await, "the connection ended within a body");
        }
        let body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        Answer { status, head, body }
    }

    /// False when the server has ended the connection.
    async fn more(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.unread);
        let read = timeout(&*self.world.clock, Duration::from_secs(30), read).await;
        read.expect("something within 30 s").expect("an orderly end") > 0
    }

    pub(crate) async fn ask(&mut self, request: &str) -> Answer {
        self.write(request).await;
        self.answer().await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n")).await
    }

    /// `more` are further lines of the head, each with its end.
    pub(crate) async fn post(&mut self, path: &str, more: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {length}");
        self.ask(&format!("{head}\r\n{more}\r\n{body}")).await
    }
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n";

#[tokio::test]
async fn a_connection_carries_one_request_after_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let server = Server::serve(&directory.path().join("data"));
    let mut plain = Plain::connect(&world, &server.address).await;

    for _ in 0..3 {
        let answer = plain.get("/healthz").await;
        assert_eq!((answer.status, &*answer.body), (200, "ok\n"));
        assert!(answer.head.contains("Connection: keep-alive"), "{}", answer.head);
    }
    // All at once, the second with a body that is not to be taken for a third.
    let post = "POST /healthz HTTP/1.1\r\nHost: here\r\nContent-Length: 6\r\n\r\nGET / ";
    plain.write(&format!("{HEALTH}{post}{HEALTH}")).await;
    for expected in [200, 405, 200] {
        assert_eq!(plain.answer().await.status, expected);
    }

    let refused = plain.get("/nothing").await;
    assert_eq!(refused.status, 404);
    let last = plain.ask(&HEALTH.replace("Host", "Connection: close\r\nHost")).await;
    assert!(last.head.contains("Connection: close"), "{}", last.head);
    assert!(!plain.more().await, "a connection that the peer asked to close goes on");
}

#[tokio::test]
async fn bodies_are_waited_for_and_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let server = Server::serve(&directory.path().join("data"));
    let post = |bytes: usize, more: &str| {
        format!("POST /healthz HTTP/1.1\r\nHost: here\r\nContent-Length: {bytes}\r\n{more}\r\n")
    };

    let mut plain = Plain::connect(&world, &server.address).await;
    plain.write(&post(HTTP_BODY_BYTES_MAX, "Expect: 100-continue\r\n")).await;
    while plain.unread.len() < 25 {
        assert!(plain.more().await, "no leave to send the body");
    }
    assert_eq!(plain.unread, b"HTTP/1.1 100 Continue\r\n\r\n");
    plain.unread.clear();
    let refused = plain.ask(&"x".repeat(HTTP_BODY_BYTES_MAX)).await;
    assert_eq!(refused.status, 405, "{refused:?}");
    assert!(refused.head.contains("Allow: GET"), "{}", refused.head);
    assert_eq!(plain.get("/healthz").await.status, 200, "the connection goes on behind a body");

    let too_large = plain.ask(&post(HTTP_BODY_BYTES_MAX + 1, "")).await;
    assert_eq!(too_large.status, 413, "{too_large:?}");
    assert!(!plain.more().await, "what follows a body that isn't read can't be a request");
}

#[tokio::test]
async fn plain_connections_beyond_the_limit_are_told_to_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let server = Server::serve(&directory.path().join("data"));
    let mut held = Vec::new();
    for _ in 0..HTTP_CONNECTIONS_MAX {
        let mut plain = Plain::connect(&world, &server.address).await;
        assert_eq!(plain.get("/healthz").await.status, 200);
        held.push(plain);
    }

    let refused = Plain::connect(&world, &server.address).await.get("/healthz").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.head.contains("Retry-After: "), "{}", refused.head);

    held.pop();
    let mut status = 503;
    while status == 503 {
        status = Plain::connect(&world, &server.address).await.get("/healthz").await.status;
    }
    assert_eq!(status, 200, "a connection that ended makes room");
}
