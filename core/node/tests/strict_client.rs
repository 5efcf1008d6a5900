//! A strict WebSocket client that shares no code with ours meets the server.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use seriatim_engine::frame::{ClientFrame, LogFrame, RejectCode, ServerFrame};
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{ChannelId, Nonce, SeqNo};
use seriatim_world::clock::timeout;
use seriatim_world::{BoxStream, World};
use tokio_websockets::{ClientBuilder, CloseCode, Message, WebSocketStream};

use crate::process::Server;
use crate::user::world;

/// One connection of `tokio-websockets`.
pub(crate) struct Strict {
    world: World,
    socket: WebSocketStream<BoxStream>,
}

/// What came.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Frame(ServerFrame),
    Close(CloseCode),
    End,
}

impl Strict {
    pub(crate) async fn connect(world: &World, address: &str) -> Self {
        let stream = world.net.connect(address).await.expect("the server listens");
        let builder = ClientBuilder::new()
            .uri(&format!("ws://{address}/v1/ws"))
            .expect("a sound address")
            .add_header(
                "sec-websocket-protocol".parse().expect("a header's name"),
                "other.v9, seriatim.v1".parse().expect("a header's value"),
            )
            .expect("a header that the builder doesn't set itself");
        let (socket, response) = builder.connect_on(stream).await.expect("a sound handshake");
        let chosen = response.headers().get("sec-websocket-protocol");
        assert_eq!(chosen.and_then(|value| value.to_str().ok()), Some("seriatim.v1"));
        Self { world: world.clone(), socket }
    }

    /// Connects and gives the first frame's answer.
    pub(crate) async fn hello(world: &World, address: &str, token: String) -> (Self, Heard) {
        let mut strict = Self::connect(world, address).await;
        let client = "strict".to_owned();
        strict.say(&ClientFrame::Hello { token, resume: Vec::new(), client }).await;
        let answer = strict.hear().await;
        (strict, answer)
    }

    pub(crate) async fn say(&mut self, frame: &ClientFrame) {
        let text = String::from_utf8(frame.to_json()).expect("JSON is UTF-8");
        self.say_text(&text).await;
    }

    async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text.to_owned())).await.expect("the connection lasts");
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        let next = timeout(&*self.world.clock, Duration::from_secs(30), self.socket.next()).await;
        match next.expect("something comes within 30 s") {
            None => Heard::End,
            Some(message) => {
                let message = message.expect("the server keeps to RFC 6455");
                if let Some((code, _)) = message.as_close() {
                    return Heard::Close(code);
                }
                let text = message.as_text().expect("text frames only");
                Heard::Frame(ServerFrame::parse(text.as_bytes()).expect("a documented frame"))
            }
        }
    }

    /// The channel's log from its beginning, page by page.
    pub(crate) async fn history(&mut self, channel: &ChannelId) -> Vec<LogFrame> {
        let (mut log, mut after, mut id) = (Vec::new(), SeqNo::ZERO, 0);
        loop {
            id += 1;
            let channel = channel.clone();
            self.say(&ClientFrame::history(id, channel, HistoryBound::After(after))).await;
            let heard = self.hear().await;
            let Heard::Frame(ServerFrame::Page { reply_to, messages, more, .. }) = heard else {
                panic!("not a page: {heard:?}");
            };
            assert_eq!(reply_to, id);
            for frame in messages {
                let (_, entry) = frame.clone().into_entry();
                assert_eq!(entry.seq, after.next(), "history has a gap or a repeat");
                after = entry.seq;
                log.push(frame);
            }
            if !more {
                return log;
            }
        }
    }
}

#[tokio::test]
async fn handshake_hello_requests_and_close_are_as_documented() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);
    let channel = ChannelId::new("general").unwrap();
    let token = Server::token(&data, "ada");
    let (mut strict, welcome) = Strict::hello(&world, &server.address, token).await;

    let Heard::Frame(ServerFrame::Welcome { user, heartbeat_ms: 15_000, channels, .. }) = welcome
    else {
        panic!("not a welcome: {welcome:?}");
    };
    assert_eq!((user.as_str(), channels.len()), ("ada", 0));

    strict.say(&ClientFrame::Ping).await;
    assert_eq!(strict.hear().await, Heard::Frame(ServerFrame::Pong));

    strict.socket.send(Message::ping("a WebSocket ping")).await.unwrap();
    let pong = strict.socket.next().await.unwrap().unwrap();
    assert!(pong.is_pong(), "{pong:?}");
    assert_eq!(**pong.as_payload(), *b"a WebSocket ping");

    let nonce = Nonce::new("j1").unwrap();
    strict.say(&ClientFrame::Join { id: 1, channel: channel.clone(), nonce }).await;
    let (nonce, body) = (Nonce::new("n1").unwrap(), "hi".into());
    strict.say(&ClientFrame::Send { id: 2, channel: channel.clone(), nonce, body }).await;
    // A send behind a join that isn't durable yet may come too early: then it is refused.
    let mut replies = 0;
    while replies < 2 {
        match strict.hear().await {
            Heard::Frame(ServerFrame::Accepted { .. } | ServerFrame::Rejected { .. }) => {
                replies += 1;
            }
            Heard::Frame(ServerFrame::Channel(status)) => {
                assert_eq!((status.channel, status.after), (channel.clone(), SeqNo(0)));
            }
            Heard::Frame(ServerFrame::Log(_)) => {}
            other @ (Heard::Frame(_) | Heard::Close(_) | Heard::End) => {
                panic!("unexpected: {other:?}");
            }
        }
    }

    let close = Message::close(Some(CloseCode::NORMAL_CLOSURE), "done");
    strict.socket.send(close).await.unwrap();
    loop {
        match strict.hear().await {
            Heard::Frame(_) => {}
            Heard::Close(code) => assert_eq!(code, CloseCode::NORMAL_CLOSURE),
            Heard::End => break,
        }
    }
}

#[tokio::test]
async fn goodbye_is_followed_by_a_close_frame() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);

    let (mut strict, goodbye) =
        Strict::hello(&world, &server.address, "no.such.token".to_owned()).await;

    let Heard::Frame(ServerFrame::Goodbye { reconnect_after_ms: None, .. }) = goodbye else {
        panic!("not a goodbye: {goodbye:?}");
    };
    assert_eq!(strict.hear().await, Heard::Close(CloseCode::NORMAL_CLOSURE));
    assert_eq!(strict.hear().await, Heard::End);
}

#[tokio::test]
async fn what_is_no_frame_is_rejected_and_the_session_lives() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);
    let token = Server::token(&data, "ada");
    let (mut strict, _welcome) = Strict::hello(&world, &server.address, token).await;

    for (text, id) in [
        ("{", None),
        (r#"{"type":"dance","id":3}"#, Some(3)),
        (r#"{"type":"join","id":4,"channel":"two words","nonce":"j"}"#, Some(4)),
        (r#"{"type":"leave","id":4,"channel":"general"}"#, Some(4)),
        (r#"{"type":"send","id":5,"channel":"general","nonce":"","body":"hi"}"#, Some(5)),
    ] {
        strict.say_text(text).await;
        let heard = strict.hear().await;
        let Heard::Frame(ServerFrame::Rejected { reply_to, code, retry_after_ms, .. }) = heard
        else {
            panic!("{text} led to {heard:?}");
        };
        assert_eq!((reply_to, code, retry_after_ms), (id, RejectCode::BadFrame, None), "{text}");
    }

    strict.say_text(r#"{"type":"ping","unknown":"field"}"#).await;
    assert_eq!(strict.hear().await, Heard::Frame(ServerFrame::Pong));
}
