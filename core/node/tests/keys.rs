//! Keys that change under a running server, and tokens that expire during a session.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for some kinds of events")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use seriatim_client::{ClientEvent, ClientOptions, TokenSource, start};
use seriatim_engine::ids::{ChannelId, Nonce, SeqNo, UserId, WorkspaceId};
use seriatim_engine::time::WallTime;
use seriatim_engine::token::{Claims, TokenKeys};
use seriatim_world::World;
use seriatim_world::clock::sleep;
use tokio::sync::mpsc;

use crate::plain_http::Plain;
use crate::process::Server;
use crate::user::world;

/// Runs `key` on the server's data; gives what it printed.
fn key(data: &Path, arguments: &[&str]) -> String {
    let data = ["--data", data.to_str().unwrap()];
    Server::print(&[&["key"], arguments, &data].concat())
}

fn options(server: &Server, token: String, renew_token: Option<TokenSource>) -> ClientOptions {
    ClientOptions {
        token,
        renew_token,
        name: "test".to_owned(),
        gateways: vec![server.address.clone()],
        first_gateway: 0,
        background_timer: None,
    }
}

/// Whether the server lets `token` in; else what it says.
async fn try_token(world: &World, server: &Server, token: &str) -> Result<(), String> {
    let (sender, mut events) = mpsc::channel(64);
    let on_event = move |event| drop(sender.try_send(event));
    let (_handle, _) = start(world.clone(), options(server, token.to_owned(), None), on_event);
    loop {
        match events.recv().await.expect("the client runs") {
            ClientEvent::Opened { .. } => return Ok(()),
            ClientEvent::Ended { message } => return Err(message),
            _ => {}
        }
    }
}

/// Waits until the server lets `token` in, or no longer does.
async fn until(world: &World, server: &Server, token: &str, let_in: bool) -> String {
    for _ in 0..600 {
        match (try_token(world, server, token).await, let_in) {
            (Ok(()), true) => return String::new(),
            (Err(message), false) => return message,
            (Ok(()), false) | (Err(_), true) => {}
        }
        sleep(&*world.clock, Duration::from_millis(100)).await;
    }
    panic!("the server has not read its keys again");
}

#[tokio::test]
async fn keys_are_rotated_and_retired_under_a_running_server() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);
    let old = Server::token(&data, "ada");
    assert_eq!(key(&data, &["list"]), "1  signs, verifies\n");
    assert_eq!(try_token(&world, &server, &old).await, Ok(()));

    assert!(key(&data, &["rotate"]).starts_with("key 2 signs from now on."));
    assert_eq!(key(&data, &["list"]), "1  verifies\n2  signs, verifies\n");
    let new = Server::token(&data, "ada");
    until(&world, &server, &new, true).await;
    assert_eq!(try_token(&world, &server, &old).await, Ok(()), "the old key still verifies");

    let (code, complaint) = Server::fail(&["key", "retire", "2", "--data", data.to_str().unwrap()]);
    assert!(code == Some(70) && complaint.contains("rotate first"), "{code:?} {complaint}");
    assert!(key(&data, &["retire", "1"]).starts_with("key 1 is gone"));
    let message = until(&world, &server, &old, false).await;
    assert!(message.contains("names the key 1, which is not in use here"), "{message}");
    assert_eq!(try_token(&world, &server, &new).await, Ok(()));

    std::fs::write(data.join("token.key"), "half").unwrap();
    sleep(&*world.clock, Duration::from_millis(2_500)).await;
    assert_eq!(try_token(&world, &server, &new).await, Ok(()), "a bad file changes nothing");
    server.assert_sound();
}

/// A token for `user` of workspace `demo` that expires in so many seconds, rounded down.
fn short_token(world: &World, data: &Path, user: &str, seconds: u64) -> String {
    let text = std::fs::read_to_string(data.join("token.key")).unwrap();
    TokenKeys::parse(&text).unwrap().sign(&Claims {
        workspace: WorkspaceId::new("demo").unwrap(),
        user: UserId::new(user).unwrap(),
        expires_at: WallTime(world.clock.wall_now().0 + seconds * 1_000),
    })
}

#[tokio::test]
async fn a_client_whose_token_expires_renews_it_and_misses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);
    let channel = ChannelId::new("general").unwrap();
    let (sender, mut events) = mpsc::channel(4_096);
    let on_event = move |event| drop(sender.try_send(event));
    let asked = Arc::<AtomicUsize>::default();
    let (counted, issuer, folder) = (asked.clone(), world.clone(), data.clone());
    let renew = TokenSource::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let token = short_token(&issuer, &folder, "ada", 3_600);
        Box::pin(async move { Some(token) })
    });
    let token = short_token(&world, &data, "ada", 3);
    let (handle, _) = start(world.clone(), options(&server, token, Some(renew)), on_event);
    handle.join(channel.clone(), Nonce::new("join").unwrap()).unwrap();

    let (mut sessions, mut number, mut seqs) = (0, 0, Vec::new());
    // Through the first session's end and for a while into the second.
    while sessions < 2 || seqs.len() < number + 1 {
        // Its join comes first.
        if !seqs.is_empty() && (sessions < 2 || number < 10) {
            number += 1;
            let nonce = Nonce::new(&format!("n{number}")).unwrap();
            handle.send(channel.clone(), nonce, "hi".into()).unwrap();
        }
        sleep(&*world.clock, Duration::from_millis(10)).await;
        while let Ok(event) = events.try_recv() {
            match event {
                ClientEvent::Opened { .. } => sessions += 1,
                ClientEvent::Delivered { entry, .. } => seqs.push(entry.seq),
                ClientEvent::Ended { message } => panic!("{message}"),
                ClientEvent::Rejected { message, .. } => panic!("{message}"),
                _ => {}
            }
        }
    }

    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let all: Vec<SeqNo> = (1..=number as u64 + 1).map(SeqNo).collect();
    assert_eq!(seqs, all, "each entry once, across both sessions");
    let figures = Plain::connect(&world, &server.address).await.get("/metrics").await.body;
    assert!(figures.contains("seriatim_goodbyes_total{code=\"token_expired\"} 1\n"), "{figures}");
    server.assert_sound();
}
