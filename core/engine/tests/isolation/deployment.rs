//! A gateway and an owner with a store in memory, joined by a link that loses nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use seriatim_engine::entry::Entry;
use seriatim_engine::frame::{ClientFrame, Resume};
use seriatim_engine::gateway::{Effect, Gateway, GatewayConfig, Input, RateLimits};
use seriatim_engine::history_bound::{HistoryBound, HistoryPage};
use seriatim_engine::ids::{ChannelKey, ConnectionId, ShardId, UserId, WorkspaceId};
use seriatim_engine::limits::SERVER_FRAME_BYTES_MAX;
use seriatim_engine::link::{LinkId, ToOwner};
use seriatim_engine::owner::{self, Owner};
use seriatim_engine::time::{MonoTime, WallTime};
use seriatim_engine::token::{Claims, TokenKey};
use seriatim_engine::websocket::{Decoder, Message, Role};

const SHARD: ShardId = ShardId(0);
const LINK: LinkId = LinkId(1);
const WALL: WallTime = WallTime(1_800_000_000_000);

/// Both machines, and what everybody heard.
pub(crate) struct Deployment {
    gateway: Gateway,
    owner: Owner,
    log: BTreeMap<ChannelKey, Vec<Entry>>,
    heard: BTreeMap<ConnectionId, Vec<String>>,
    now: Duration,
}

impl Deployment {
    pub(crate) fn new() -> Self {
        let config = GatewayConfig {
            shards: 1,
            token_keys: key().into(),
            rates: RateLimits::default(),
            boot: 1,
        };
        let mut new = Self {
            gateway: Gateway::new(config),
            owner: Owner::default(),
            log: BTreeMap::new(),
            heard: BTreeMap::new(),
            now: Duration::from_secs(1),
        };
        new.feed(Input::LinkUp { shard: SHARD });
        new
    }

    /// A session of `user`, opened with `resume`.
    pub(crate) fn enter(
        &mut self,
        connection: u64,
        workspace: &str,
        user: &str,
        resume: Vec<Resume>,
    ) {
        let claims = Claims {
            workspace: WorkspaceId::new(workspace).unwrap(),
            user: UserId::new(user).unwrap(),
            expires_at: WallTime(WALL.0 + 86_400_000),
        };
        self.feed(Input::Connected { connection: ConnectionId(connection) });
        let hello =
            ClientFrame::Hello { token: key().sign(&claims), resume, client: String::new() };
        self.say(connection, &hello);
    }

    pub(crate) fn say(&mut self, connection: u64, frame: &ClientFrame) {
        let text = String::from_utf8(frame.to_json()).unwrap();
        self.feed(Input::Text { connection: ConnectionId(connection), text });
    }

    /// Lets everything happen that waits for its time.
    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += Duration::from_secs(1);
            self.feed(Input::Tick);
            self.owner_turn(owner::Input::Tick);
        }
    }

    /// What the session was sent.
    pub(crate) fn heard(&self, connection: u64) -> &[String] {
        self.heard.get(&ConnectionId(connection)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The workspace's part of the store, for comparison.
    pub(crate) fn stored(&self, workspace: &str) -> Vec<String> {
        let of = |(key, _): &(&ChannelKey, &Vec<Entry>)| key.workspace.as_str() == workspace;
        self.log.iter().filter(of).map(|row| format!("{row:?}")).collect()
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.gateway.handle(MonoTime(self.now), WALL, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Send { connection, frame } => self.hear(connection, &frame),
                    Effect::Broadcast { connections, frames } => {
                        connections.iter().for_each(|one| self.hear(*one, &frames));
                    }
                    Effect::Measure { connection } => {
                        inputs.push_back(Input::Queue { connection, bytes: 0 });
                    }
                    Effect::ToOwner { frame, .. } => inputs.extend(self.ask_owner(frame)),
                    Effect::Close { connection } => {
                        self.heard.entry(connection).or_default().push("closed".to_owned());
                    }
                    Effect::Note { .. } => {}
                }
            }
        }
    }

    fn owner_turn(&mut self, input: owner::Input) {
        for answer in self.owner(input) {
            self.feed(answer);
        }
    }

    fn ask_owner(&mut self, frame: ToOwner) -> Vec<Input> {
        self.owner(owner::Input::Frame { link: LINK, frame })
    }

    /// Feeds the owner, and carries out what it asks of the store at once.
    fn owner(&mut self, input: owner::Input) -> Vec<Input> {
        let mut answers = Vec::new();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.owner.handle(MonoTime(self.now), WALL, input, &mut effects);
            for effect in effects {
                match effect {
                    owner::Effect::Append(one) => {
                        self.log.entry(one.channel).or_default().push(one.entry);
                        inputs.push_back(owner::Input::Stored { count: 1 });
                    }
                    owner::Effect::Confirm(_) => {
                        inputs.push_back(owner::Input::Confirmed { count: 1 });
                    }
                    owner::Effect::Read { read, channel, bound, entries_max } => {
                        let log = self.log.get(&channel).into_iter().flatten();
                        let wanted = log.filter(|entry| lies_in(bound, entry));
                        let entries = wanted.take(entries_max).cloned().collect();
                        let page = HistoryPage { entries, trimmed_upto: None };
                        inputs.push_back(owner::Input::Read { read, page });
                    }
                    owner::Effect::Seek { read, points } => {
                        let first = |(channel, at): (ChannelKey, WallTime)| {
                            let log = self.log.get(&channel).into_iter().flatten();
                            log.filter(|entry| entry.at >= at).map(|entry| entry.seq).next()
                        };
                        let firsts = points.into_iter().map(first).collect();
                        inputs.push_back(owner::Input::Sought { read, firsts });
                    }
                    owner::Effect::NoteReads(_) => inputs.push_back(owner::Input::ReadsNoted),
                    owner::Effect::Send { frame, .. } => {
                        answers.push(Input::Link { shard: SHARD, frame });
                    }
                }
            }
        }
        answers
    }

    fn hear(&mut self, connection: ConnectionId, mut bytes: &[u8]) {
        let mut decoder = Decoder::new(Role::Client, SERVER_FRAME_BYTES_MAX);
        while !bytes.is_empty() {
            match decoder.decode(&mut bytes) {
                Ok(Some(Message::Text(text))) => {
                    self.heard.entry(connection).or_default().push(text);
                }
                other => panic!("not a whole text frame: {other:?}"),
            }
        }
    }
}

/// The logs here are far shorter than a page.
fn lies_in(bound: HistoryBound, entry: &Entry) -> bool {
    match bound {
        HistoryBound::After(after) => entry.seq > after,
        HistoryBound::Before(before) => entry.seq < before,
        HistoryBound::Since(at) => entry.at >= at,
    }
}

fn key() -> TokenKey {
    TokenKey::new(&[7; 32]).unwrap()
}
