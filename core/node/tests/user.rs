//! A user with the reference client, and what that client saw.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use seriatim_client::{ClientEvent, ClientOptions, Handle, start};
use seriatim_engine::entry::{Asked, Content, Entry, Wish};
use seriatim_engine::ids::{ChannelId, Nonce, SeqNo};
use seriatim_world::clock::sleep;
use seriatim_world::{World, real};

use crate::process::Server;

/// How long anything that must happen may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The real world, for clients; they keep nothing in `directory`.
pub(crate) fn world(directory: &Path) -> World {
    real::world(&directory.join("clients")).expect("a writable folder")
}

/// Waits until `condition` holds.
pub(crate) async fn until(world: &World, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = world.clock.mono_now() + PATIENCE;
    while !condition() {
        assert!(world.clock.mono_now() < deadline, "waited in vain: {what}");
        sleep(&*world.clock, Duration::from_millis(2)).await;
    }
}

/// What a client saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) delivered: BTreeMap<ChannelId, Vec<Entry>>,
    pub(crate) accepted: BTreeMap<Nonce, SeqNo>,
    pub(crate) joined: BTreeMap<ChannelId, SeqNo>,
    /// Sent, and neither accepted nor refused.
    pub(crate) open: BTreeSet<Nonce>,
    /// Open when a connection was lost.
    pub(crate) unknown: BTreeSet<Nonce>,
    /// Accepted with the remark that the nonce was known.
    pub(crate) duplicates: usize,
    pub(crate) sessions: usize,
    pub(crate) refused: Vec<String>,
}

impl Seen {
    fn take(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Opened { .. } => self.sessions += 1,
            ClientEvent::Closed { .. } => self.unknown.extend(self.open.iter().cloned()),
            ClientEvent::Delivered { channel, entry } => {
                self.delivered.entry(channel).or_default().push(entry);
            }
            ClientEvent::Accepted {
                asked: Asked { nonce, wish: Wish::Send },
                seq,
                duplicate,
                ..
            } => {
                self.open.remove(&nonce);
                self.duplicates += usize::from(duplicate);
                let earlier = self.accepted.insert(nonce, seq);
                assert_eq!(earlier, None, "one send was accepted twice");
            }
            ClientEvent::Accepted { channel, seq, .. } => {
                self.joined.insert(channel, seq);
            }
            ClientEvent::Rejected { message, .. } | ClientEvent::Ended { message } => {
                self.refused.push(message);
            }
            ClientEvent::Sent { .. }
            | ClientEvent::Channel(_)
            | ClientEvent::Left { .. }
            | ClientEvent::Received { .. }
            | ClientEvent::CaughtUp { .. }
            | ClientEvent::Trimmed { .. }
            | ClientEvent::Presence { .. }
            | ClientEvent::Typing { .. }
            | ClientEvent::Heartbeat { .. }
            | ClientEvent::Read { .. }
            | ClientEvent::Watching { .. }
            | ClientEvent::LogPage { .. }
            | ClientEvent::LogRefused { .. }
            | ClientEvent::HeartbeatAnswered => {}
        }
    }

    /// The last position that was delivered in `channel`.
    pub(crate) fn last(&self, channel: &ChannelId) -> SeqNo {
        self.delivered.get(channel).and_then(|all| all.last()).map_or(SeqNo::ZERO, |one| one.seq)
    }
}

/// A user with a running client.
pub(crate) struct User {
    pub(crate) name: String,
    handle: Handle,
    seen: Arc<Mutex<Seen>>,
    sent: usize,
}

impl User {
    /// Connects to the server at `address`; `data` holds the secret for the token.
    pub(crate) fn start(world: &World, name: &str, address: &str, data: &Path) -> Self {
        Self::start_with(world, name, address, &Server::token(data, name))
    }

    /// The same, with a token.
    pub(crate) fn start_with(world: &World, name: &str, address: &str, token: &str) -> Self {
        let options = ClientOptions {
            token: token.to_owned(),
            renew_token: None,
            name: "test".to_owned(),
            gateways: vec![address.to_owned()],
            first_gateway: 0,
            background_timer: None,
        };
        let seen = Arc::<Mutex<Seen>>::default();
        let witness = seen.clone();
        let on_event = move |event| witness.lock().expect("no test thread panicked").take(event);
        let (handle, _) = start(world.clone(), options, on_event);
        Self { name: name.to_owned(), handle, seen, sent: 0 }
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no test thread panicked")
    }

    /// Joins `channel` and waits until it is done.
    pub(crate) async fn join(&self, world: &World, channel: &ChannelId) {
        let nonce = Nonce::new("join").expect("a sound nonce");
        self.handle.join(channel.clone(), nonce).expect("the client runs");
        until(world, "a join", || self.seen().joined.contains_key(channel)).await;
    }

    /// Sends a message that no other send resembles.
    pub(crate) fn send(&mut self, channel: &ChannelId) {
        self.sent += 1;
        let nonce = Nonce::new(&format!("{}-{}", self.name, self.sent)).expect("a sound nonce");
        self.seen().open.insert(nonce.clone());
        let body = body_of(&nonce);
        self.handle.send(channel.clone(), nonce, body.into()).expect("the client runs");
    }

    /// Waits until every send is accepted.
    pub(crate) async fn settle(&self, world: &World) {
        until(world, "all sends to be accepted", || self.seen().open.is_empty()).await;
        assert_eq!(self.seen().refused, Vec::<String>::new());
    }

    /// Waits until `channel` is delivered up to `head`.
    pub(crate) async fn reach(&self, world: &World, channel: &ChannelId, head: SeqNo) {
        until(world, "delivery up to the head", || self.seen().last(channel) >= head).await;
    }
}

/// The body that goes with `nonce`.
pub(crate) fn body_of(nonce: &Nonce) -> String {
    format!("the text of {nonce}")
}

/// Checks that `entries` are the next ones, one after the other, and says how many they are.
pub(crate) fn assert_contiguous(entries: &[Entry]) -> usize {
    for pair in entries.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.next(), "a gap or a repeat in what was delivered");
    }
    entries.len()
}

/// Checks that `entry` says what was sent with its nonce.
pub(crate) fn assert_as_sent(entry: &Entry) {
    if let Content::Message { nonce, body, .. } = &entry.content {
        assert_eq!(**body, body_of(nonce), "another body than was sent");
    }
}
