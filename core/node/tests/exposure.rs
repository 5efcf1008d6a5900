//! Who may connect at all: web pages by their origin, and the network by the operator's leave.

use std::time::Duration;

use seriatim_world::World;
use seriatim_world::clock::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::plain_http::Plain;
use crate::process::Server;
use crate::user::world;

/// Asks for a WebSocket as a page of `origin` does; gives the beginning of the answer.
async fn upgrade(world: &World, server: &Server, origin: Option<&str>) -> String {
    let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origin}\r\n",
        server.address
    );
    let mut stream = world.net.connect(&server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::with_capacity(4_096);
    let read = stream.read_buf(&mut answer);
    timeout(&*world.clock, Duration::from_secs(30), read).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_web_page_connects_from_the_same_host_or_if_it_is_listed() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let flags = ["--allow-origin", "https://a.example", "--allow-origin", "http://b.example:81"];
    let server = Server::serve_with(&data, &flags);
    let same = format!("http://{}", server.address);

    for origin in [None, Some(&*same), Some("https://a.example"), Some("http://b.example:81")] {
        let answer = upgrade(&world, &server, origin).await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{origin:?}: {answer}");
    }
    for origin in ["http://a.example", "http://127.0.0.1", "https://evil.example", "null"] {
        let answer = upgrade(&world, &server, Some(origin)).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
        assert!(answer.contains("may not connect"), "no remedy: {answer}");
    }

    let figures = Plain::connect(&world, &server.address).await.get("/metrics").await.body;
    assert!(figures.contains("\nseriatim_origins_refused_total 4\n"), "{figures}");
    assert!(figures.contains("\nseriatim_handshakes_total 4\n"), "{figures}");
}

#[test]
fn a_server_that_the_network_could_read_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let data = data.to_str().unwrap();
    let serve = ["serve", "--data", data, "--listen", "0.0.0.0:0"];
    let owner = ["node", "--name", "a", "--data", data, "--shard", "0", "--messages", "[::]:0"];
    for arguments in [serve.as_slice(), &owner] {
        let (code, complaint) = Server::fail(arguments);
        assert_eq!(code, Some(64), "{complaint}");
        assert!(complaint.contains("--insecure-plain"), "{complaint}");
    }

    let server = Server::serve_with(directory.path(), &["--insecure-plain"]);
    server.assert_sound();
}

#[test]
fn an_origin_that_is_none_is_refused_at_the_start() {
    let (code, complaint) = Server::fail(&["serve", "--allow-origin", "chat.example.org/x"]);
    assert_eq!(code, Some(64), "{complaint}");
    assert!(complaint.contains("https://chat.example.org:8443"), "{complaint}");
}
