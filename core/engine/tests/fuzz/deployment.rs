//! A gateway between fuzzed clients and fuzzed owners, and what must hold for it.
//!
//! - Nothing panics.
//! - What the gateway sends is one whole frame that a client can read, to a session that is open.
//! - A text that is no frame gets exactly one `bad_frame`; no text gets more than one reply.
//! - Entries of a channel rise by one from where the session was told that they start, and are
//!   those of the log; `caught_up` is only said to who has them all.
//! - A session has no more open requests, and pages among them, than the limits allow.
//! - A session hears of the presence of those alone whom it asked about, and of changes only.
//! - What goes to an owner fits a link's frame.
//! - No message of an error is empty, or longer than [`FRAME_ERROR_BYTES_MAX`].
//! - When all connections are gone, so is everything that the gateway kept for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seriatim_engine::frame::{
    ClientFrame, GoodbyeCode, LogFrame, PresenceState, RejectCode, ServerFrame,
};
use seriatim_engine::gateway::{Effect, Gateway, GatewayConfig, Input, RateLimits};
use seriatim_engine::ids::{ChannelId, ChannelKey, ConnectionId, ShardId, UserId, WorkspaceId};
use seriatim_engine::limits::{
    DRAIN_SPREAD, FRAME_ERROR_BYTES_MAX, LINK_FRAME_BYTES_MAX, PRESENCE_WATCHED_MAX,
    SERVER_FRAME_BYTES_MAX, SESSION_PAGES_MAX, SESSION_QUEUE_BYTES_LOW, SESSION_REQUESTS_MAX,
};
use seriatim_engine::link::{FromOwner, Ticket, ToOwner};
use seriatim_engine::slots::Numbering;
use seriatim_engine::time::{MonoTime, WallTime};
use seriatim_engine::websocket::{Decoder, Message, Role};

use crate::client_text::{CHANNELS, Tokens, WORKSPACES, hello, payload, token_key};
use crate::client_wire::Wire;
use crate::connection::{Connection, Counts, Fed};
use crate::owners::{Owners, answered, entry, ticket};
use crate::random::Random;

const SHARDS: u32 = 2;

const WALL: WallTime = WallTime(1_800_000_000_000);

const CLIENTS_MAX: usize = 4;

struct Client {
    connection: Connection,
    /// The first message was sent.
    greeted: bool,
    /// Requests without a reply, and whether they are for a page.
    requests: BTreeMap<Ticket, bool>,
    /// The newest entry that was sent, per channel.
    sent_upto: BTreeMap<ChannelId, u64>,
    /// Who was asked about last, and what was said of them.
    watched: BTreeMap<UserId, Option<PresenceState>>,
}

pub(crate) struct Deployment {
    random: Random,
    tokens: Tokens,
    text_damage: usize,
    wire_damage: usize,
    /// How seldom owners answer.
    laziness: usize,
    owners: Owners,
    gateway: Gateway,
    clients: BTreeMap<ConnectionId, Client>,
    numbering: Numbering,
    links_up: BTreeSet<ShardId>,
    asked: Vec<(ShardId, ToOwner)>,
    to_measure: Vec<ConnectionId>,
    now: Duration,
}

impl Deployment {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let config = GatewayConfig {
            shards: SHARDS,
            token_keys: token_key().into(),
            rates: RateLimits::default(),
            boot: seed,
        };
        Self {
            tokens: Tokens::new(),
            text_damage: [0, 10, 50][random.below(3)],
            wire_damage: [0, 5, 150][random.below(3)],
            laziness: [1, 3, 400][random.below(3)],
            owners: Owners::new(random.one_in(4)),
            gateway: Gateway::new(config),
            clients: BTreeMap::new(),
            numbering: Numbering::default(),
            links_up: BTreeSet::new(),
            asked: Vec::new(),
            to_measure: Vec::new(),
            now: Duration::ZERO,
            random,
        }
    }

    /// One thing happens.
    pub(crate) fn step(&mut self, counts: &mut Counts) {
        match self.random.below(100) {
            0..5 => self.change_link(counts),
            5 => {
                // Seldom so long that everybody is idle.
                let seconds = if self.random.one_in(40) { 50 } else { self.random.below(2) };
                self.now += Duration::from_secs(seconds as u64);
                self.input(Input::Tick, counts);
            }
            6 if self.random.one_in(4) => {
                if let Some(connection) = self.some_client() {
                    self.disconnect(connection, counts);
                }
            }
            6..10 => {
                if let Some(connection) = self.to_measure.pop() {
                    let bytes = self.random.below(SESSION_QUEUE_BYTES_LOW + 1);
                    counts.measured += 1;
                    self.input(Input::Queue { connection, bytes }, counts);
                }
            }
            10..16 => {
                let workspace = WorkspaceId::new(self.random.pick(&WORKSPACES)).unwrap();
                let channel = ChannelId::new(self.random.pick(&CHANNELS)).unwrap();
                let channel = ChannelKey { workspace, channel };
                let shard = ShardId(u32::from(self.random.one_in(2)));
                let frame = self.owners.publish(&mut self.random, channel);
                self.hear_owner(shard, frame, counts);
            }
            16 if self.random.one_in(50) => {
                self.input(Input::Drain { spread: DRAIN_SPREAD }, counts);
                assert_eq!(self.clients.len(), 0, "a drained gateway has sessions");
                self.input(Input::Serve, counts);
            }
            _ => self.clients_send(counts),
        }
        if self.random.one_in(self.laziness) {
            for _ in 0..self.random.below(8) {
                self.owner_answers(counts);
            }
        }
    }

    /// Everybody leaves, and nothing may be left.
    pub(crate) fn end(&mut self, counts: &mut Counts) {
        while let Some(connection) = self.some_client() {
            self.disconnect(connection, counts);
        }
        for shard in std::mem::take(&mut self.links_up) {
            self.input(Input::LinkDown { shard }, counts);
        }
        self.now += Duration::from_secs(3_600);
        self.input(Input::Tick, counts);
        assert_eq!(self.gateway.next_deadline(), None, "a deadline is left of nobody");
        let mut effects = Vec::new();
        for shard in (0..SHARDS).map(ShardId) {
            let input = Input::LinkUp { shard };
            self.gateway.handle(MonoTime(self.now), WALL, input, &mut effects);
        }
        assert_eq!(effects, [], "users or channels are left of nobody");
    }

    fn some_client(&mut self) -> Option<ConnectionId> {
        let index = self.random.below(self.clients.len());
        self.clients.keys().nth(index).copied()
    }

    fn change_link(&mut self, counts: &mut Counts) {
        let shard = ShardId(u32::from(self.random.one_in(2)));
        if self.links_up.contains(&shard) {
            // Down for less time than up.
            if self.random.one_in(8) {
                self.links_up.remove(&shard);
                let (lost, kept) = std::mem::take(&mut self.asked)
                    .into_iter()
                    .partition::<Vec<_>, _>(|(asked, _)| *asked == shard);
                self.asked = kept;
                lost.iter().for_each(|(_, frame)| self.forget(ticket(frame)));
                self.input(Input::LinkDown { shard }, counts);
            }
        } else {
            self.links_up.insert(shard);
            self.input(Input::LinkUp { shard }, counts);
        }
    }

    fn forget(&mut self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            for client in self.clients.values_mut() {
                client.requests.remove(&ticket);
            }
        }
    }

    fn owner_answers(&mut self, counts: &mut Counts) {
        if self.asked.is_empty() {
            return;
        }
        let index = self.random.below(self.asked.len());
        let (shard, asked) = self.asked.remove(index);
        self.forget(ticket(&asked));
        for answer in self.owners.answer(&mut self.random, &asked) {
            self.hear_owner(shard, answer, counts);
        }
    }

    fn hear_owner(&mut self, shard: ShardId, frame: FromOwner, counts: &mut Counts) {
        if self.links_up.contains(&shard) {
            self.forget(answered(&frame));
            self.input(Input::Link { shard, frame }, counts);
        }
    }

    fn disconnect(&mut self, connection: ConnectionId, counts: &mut Counts) {
        self.clients.remove(&connection);
        self.input(Input::Disconnected { connection }, counts);
        self.to_measure.retain(|asked| *asked != connection);
        self.numbering.give_back(connection);
    }

    fn connect(&mut self, counts: &mut Counts) -> ConnectionId {
        counts.connections += 1;
        let connection = self.numbering.take();
        let client = Client {
            connection: Connection::new(),
            greeted: false,
            requests: BTreeMap::new(),
            sent_upto: BTreeMap::new(),
            watched: BTreeMap::new(),
        };
        self.clients.insert(connection, client);
        self.input(Input::Connected { connection }, counts);
        connection
    }

    fn clients_send(&mut self, counts: &mut Counts) {
        let id = match self.some_client() {
            Some(id) if self.clients.len() == CLIENTS_MAX || !self.random.one_in(30) => id,
            Some(_) | None => self.connect(counts),
        };
        let Some(client) = self.clients.get_mut(&id) else { return };
        let random = &mut self.random;
        let mut wire = Wire::default();
        if !client.greeted && !random.one_in(10) {
            let text = hello(random, &self.tokens);
            wire.message(random, text.as_bytes(), self.wire_damage);
        }
        client.greeted = true;
        for _ in 0..random.below(6) {
            let text = payload(random, &self.tokens, self.text_damage);
            wire.message(random, &text, self.wire_damage);
        }
        counts.frames += wire.frames;
        counts.bytes += wire.bytes.len() as u64;
        let (texts, over) = match client.connection.feed(random, &wire.bytes, counts) {
            Fed::Texts(texts) => (texts, false),
            Fed::Over(texts) => (texts, true),
        };
        for text in texts {
            self.text(id, text, counts);
        }
        if over {
            self.disconnect(id, counts);
        }
    }

    fn text(&mut self, connection: ConnectionId, text: String, counts: &mut Counts) {
        counts.texts += 1;
        let was_open = self.clients.contains_key(&connection);
        let parsed = ClientFrame::parse(text.as_bytes());
        if let Ok(frame) = &parsed {
            let again = ClientFrame::parse(&frame.to_json());
            assert_eq!(again.as_ref(), Ok(frame), "a frame does not read as it is written");
        }
        if let (Ok(ClientFrame::PresenceSubscribe { users, .. }), Some(client)) =
            (&parsed, self.clients.get_mut(&connection))
            && users.len() <= PRESENCE_WATCHED_MAX
        {
            client.watched = users.iter().map(|user| (user.clone(), None)).collect();
        }
        let asked_before = self.asked.len();
        let replies = self.input(Input::Text { connection, text: text.clone() }, counts);
        for (_, frame) in self.asked.iter().skip(asked_before) {
            let page =
                matches!(frame, ToOwner::Read { reader: Some(_), .. } | ToOwner::List { .. });
            let is_request =
                page || matches!(frame, ToOwner::Submit { .. } | ToOwner::Change { .. });
            if let (true, Some(ticket)) = (is_request, ticket(frame)) {
                let client = self.clients.get_mut(&connection).expect("only the open may ask");
                client.requests.insert(ticket, page);
                let pages = client.requests.values().filter(|page| **page).count();
                assert!(client.requests.len() <= SESSION_REQUESTS_MAX, "too many requests");
                assert!(pages <= SESSION_PAGES_MAX, "too many pages");
            }
        }
        assert!(replies.iter().all(|(to, _)| *to == connection), "another session was told");
        assert!(replies.len() <= usize::from(was_open), "{text:?} got {replies:?}");
        if let (Err(error), true) = (parsed, was_open) {
            counts.texts_refused += 1;
            assert!(!error.message.is_empty(), "{text:?} is refused without a reason");
            let [(_, ServerFrame::Rejected { reply_to, code: RejectCode::BadFrame, .. })] =
                &replies[..]
            else {
                panic!("{text:?} got {replies:?}");
            };
            assert_eq!(*reply_to, error.id, "another request was refused");
        }
    }

    /// Feeds the gateway and carries out what it asks for. Gives the frames it sent.
    fn input(&mut self, input: Input, counts: &mut Counts) -> Vec<(ConnectionId, ServerFrame)> {
        let mut effects = Vec::new();
        self.gateway.handle(MonoTime(self.now), WALL, input, &mut effects);
        if self.gateway.has_announced() {
            self.gateway.handle(MonoTime(self.now), WALL, Input::Flushed, &mut effects);
        }
        let mut sent = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { connection, frame } => {
                    for frame in read(&frame) {
                        self.check_sent(connection, &frame, counts);
                        sent.push((connection, frame));
                    }
                }
                Effect::Broadcast { connections, frames } => {
                    let frames = read(&frames);
                    for (connection, frame) in
                        connections.iter().flat_map(|to| frames.iter().map(|frame| (*to, frame)))
                    {
                        self.check_sent(connection, frame, counts);
                        sent.push((connection, frame.clone()));
                    }
                }
                Effect::Close { connection } => {
                    let client = self.clients.remove(&connection);
                    assert!(client.is_some(), "a connection is closed twice");
                    let said = sent.last();
                    let goodbye = matches!(said, Some((to, ServerFrame::Goodbye { .. })) if *to == connection);
                    assert!(goodbye, "a connection is closed without a goodbye");
                }
                Effect::Measure { connection } => {
                    assert!(!self.to_measure.contains(&connection), "measured twice at once");
                    self.to_measure.push(connection);
                }
                Effect::ToOwner { shard, frame } => {
                    assert!(self.links_up.contains(&shard), "{frame:?} goes to a dead link");
                    let bytes = postcard::to_stdvec(&frame).unwrap().len();
                    assert!(bytes <= LINK_FRAME_BYTES_MAX / 2, "a link frame of {bytes} bytes");
                    self.asked.push((shard, frame));
                }
                Effect::Note { .. } => {}
            }
        }
        assert_eq!(
            self.gateway.session_count(),
            self.clients.len(),
            "sessions are not those connected"
        );
        sent
    }

    fn check_sent(&mut self, connection: ConnectionId, frame: &ServerFrame, counts: &mut Counts) {
        let client = self.clients.get_mut(&connection).expect("only the open are sent something");
        match frame {
            ServerFrame::Welcome { channels, .. } => {
                counts.welcomes += 1;
                for status in channels {
                    client.sent_upto.insert(status.channel.clone(), status.after.0);
                }
            }
            ServerFrame::Channel(status) => {
                let before = client.sent_upto.insert(status.channel.clone(), status.after.0);
                assert_eq!(before, None, "a channel was given twice");
            }
            ServerFrame::Left { channel, until } => {
                counts.left += 1;
                let upto = client.sent_upto.remove(channel).expect("it was told of the channel");
                assert!(upto >= until.0, "let go without all entries");
            }
            ServerFrame::Accepted { .. } => counts.accepted += 1,
            ServerFrame::Rejected { code, message, .. } => {
                counts.rejections += 1;
                counts.busy += u64::from(*code == RejectCode::Busy);
                counts.unavailable += u64::from(*code == RejectCode::Unavailable);
                check_message(message);
            }
            ServerFrame::Page { .. } | ServerFrame::ChannelList { .. } => counts.pages += 1,
            ServerFrame::Trimmed { channel, upto } => {
                let before = client.sent_upto.insert(channel.clone(), upto.0);
                assert!(before.is_some_and(|before| before < upto.0), "what was sent is gone");
            }
            ServerFrame::CaughtUp { channel, head } => {
                counts.caught_up += 1;
                assert!(client.sent_upto[channel] >= head.0, "caught up without all entries");
            }
            ServerFrame::Goodbye { code, message, .. } => {
                counts.goodbyes += 1;
                counts.resume_ahead += u64::from(*code == GoodbyeCode::ResumeAhead);
                check_message(message);
            }
            ServerFrame::Pong => {}
            ServerFrame::Presence { user, state } => {
                counts.presences += 1;
                let told = client.watched.get_mut(user).expect("only who was asked about is told");
                assert_ne!(told.replace(*state), Some(*state), "told the same twice");
            }
            ServerFrame::Typing { channel, .. } | ServerFrame::Read { channel, .. } => {
                counts.typings += 1;
                assert!(client.sent_upto.contains_key(channel), "only channels it was told of");
            }
            ServerFrame::Log(log) => {
                counts.entries += 1;
                let (channel, found) = log.clone().into_entry();
                let upto =
                    client.sent_upto.get_mut(&channel).expect("only channels it was told of");
                *upto += 1;
                let expected = LogFrame::new(channel, &entry(*upto));
                assert_eq!((*log == expected, found.seq.0), (true, *upto), "not the next entry");
            }
        }
    }
}

fn check_message(message: &str) {
    assert!(!message.is_empty(), "an error says nothing");
    let bytes = message.len();
    assert!(bytes <= FRAME_ERROR_BYTES_MAX, "an error says {bytes} bytes: {:.200}", message);
}

/// The server frames that `bytes` must be, all of them whole.
fn read(mut bytes: &[u8]) -> Vec<ServerFrame> {
    let mut decoder = Decoder::new(Role::Client, SERVER_FRAME_BYTES_MAX);
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        match decoder.decode(&mut bytes) {
            Ok(Some(Message::Text(text))) => frames.push(
                ServerFrame::parse(text.as_bytes())
                    .unwrap_or_else(|error| panic!("{error}: {text}")),
            ),
            other => panic!("not a whole text frame: {other:?}"),
        }
    }
    assert!(!decoder.is_partial(), "the last frame is not whole");
    frames
}
