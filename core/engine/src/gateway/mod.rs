//! A gateway: holds sessions, hands requests to owners and entries to sessions.
//!
//! A [`Gateway`] performs no I/O: feed it an [`Input`], then carry out the [`Effect`]s it appended,
//! in order. `node/src/gateway.rs` is its driver, in production and in simulation alike.
//!
//! Delivery rests on one rule: a session is sent the entry after the one it was sent last, and no
//! other ([`crate::followers::Cursor::offer`]). Entries that come too early, or while the session's
//! queue is full, are fetched from the log later, so that a live session, one that resumes and one
//! that was too slow differ only in how far they are behind.
//!
//! # Invariants
//!
//! - **Contiguous**: a session's entries of a channel rise by one from its starting position.
//! - **Encoded once**: all sessions are handed the same bytes of a published entry.
//! - **Bounded**: a session's queue holds [`crate::limits::SESSION_QUEUE_BYTES_MAX`] and what one
//!   session may have asked for.

mod admission;
mod announced;
mod counts;
mod delivery;
mod links;
mod note;
mod presence;
mod rate;
mod read_cursors;
mod report;
mod sessions;
#[cfg(test)]
mod tests;
mod trace;
mod typing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use admission::Admission;
use announced::Announced;
use rate::Rates;

use crate::catch_up::CatchUp;
use crate::followers::Followers;
use crate::frame::{FrameError, GoodbyeCode, RejectCode, ServerFrame};
use crate::history_bound::HistoryBound;
use crate::ids::{ChannelId, ChannelKey, ConnectionId, SeqNo, ShardId, UserKey, WorkspaceId};
use crate::link::{FromOwner, Ticket, ToOwner};
use crate::placement::shard_of;
use crate::session::Session;
use crate::slots::Slots;
use crate::time::{MonoTime, WallTime};
use crate::token::TokenKeys;
use crate::websocket;

pub use counts::{GatewayCounts, Tally};
pub use note::{Note, Why};
pub use rate::{Rate, RateLimits};
pub use report::{FollowingRow, SessionReport, SessionRow, Whose};
pub use trace::{DeliveryTrace, GatewayTrace, How, RequestTrace};

/// What happens to a gateway.
#[derive(Debug)]
pub enum Input {
    /// A WebSocket handshake succeeded. The number comes from [`crate::slots::Numbering`].
    Connected {
        connection: ConnectionId,
    },
    /// A text message came.
    Text {
        connection: ConnectionId,
        text: String,
    },
    Disconnected {
        connection: ConnectionId,
    },
    /// Answers [`Effect::Measure`]: so many bytes, few, are queued.
    Queue {
        connection: ConnectionId,
        bytes: usize,
    },
    LinkUp {
        shard: ShardId,
    },
    LinkDown {
        shard: ShardId,
    },
    Link {
        shard: ShardId,
        frame: FromOwner,
    },
    /// What was queued for sessions has been written, as far as their sockets take it: expected
    /// once all is written, if [`Gateway::has_announced`].
    Flushed,
    /// Verify tokens by these from now on.
    TokenKeys(TokenKeys),
    /// [`Gateway::next_deadline`] has passed.
    Tick,
    /// Send everybody elsewhere, and whoever connects from now on: they come back to some gateway
    /// within `spread`, each at a time of its own.
    Drain {
        spread: Duration,
    },
    /// Take sessions again after a drain.
    Serve,
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Queue one or more whole WebSocket frames for the connection.
    Send {
        connection: ConnectionId,
        frame: Bytes,
    },
    /// Queue the same whole frames for each of the connections.
    Broadcast {
        connections: Vec<ConnectionId>,
        frames: Bytes,
    },
    /// Close the connection once its queue is written. No more inputs are expected of it.
    Close {
        connection: ConnectionId,
    },
    /// Feed [`Input::Queue`] when the connection's queue is at or below
    /// [`crate::limits::SESSION_QUEUE_BYTES_LOW`].
    Measure {
        connection: ConnectionId,
    },
    ToOwner {
        shard: ShardId,
        frame: ToOwner,
    },
    /// For the node's log.
    Note {
        connection: ConnectionId,
        note: Note,
    },
}

/// How a gateway is set up.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    pub shards: u32,
    pub token_keys: TokenKeys,
    pub rates: RateLimits,
    /// A random number, other at each start: makes session names and jitter.
    pub boot: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Gateway {
    config: GatewayConfig,
    sessions: Slots<Session>,
    channels: BTreeMap<ChannelKey, Channel>,
    /// Of each user, the sessions; most have one.
    users: BTreeMap<UserKey, Vec<ConnectionId>>,
    links_up: BTreeSet<ShardId>,
    pending: BTreeMap<Ticket, (ShardId, Pending)>,
    last_ticket: u64,
    /// Of each shard, the questions without an answer where sessions resume by time.
    locates: BTreeMap<ShardId, usize>,
    catch_up: CatchUp,
    /// One for each session: when to look whether it is still alive. One more if its token expires
    /// before.
    deadlines: BTreeSet<(MonoTime, ConnectionId)>,
    /// When the input came that is being handled.
    now: MonoTime,
    counts: GatewayCounts,
    announced: Announced,
    rates: Rates,
    admission: Admission,
    presence: presence::Presence,
    trace: trace::Trace,
    /// Nobody is taken in; over how long those who come are spread.
    draining: Option<Duration>,
}

/// A channel with a session at this gateway.
#[derive(Debug, Default)]
struct Channel {
    /// The newest position that this gateway has heard of.
    head: SeqNo,
    followers: Followers,
}

/// What a ticket stands for.
#[derive(Debug)]
enum Pending {
    Open {
        connection: ConnectionId,
    },
    /// The positions from which a session resumes by time.
    Locate {
        connection: ConnectionId,
    },
    /// The link came back: has the user joined something meanwhile?
    Reopen {
        user: UserKey,
    },
    Request(Request),
    CatchUp {
        channel: ChannelKey,
        after: SeqNo,
    },
}

/// A client's request that its owner has to answer.
#[derive(Debug)]
struct Request {
    connection: ConnectionId,
    reply_to: u64,
    about: About,
    asked_at: MonoTime,
}

/// What a request asks for.
#[derive(Debug)]
enum About {
    /// A place in the channel's log.
    Entry(ChannelId),
    /// A page of the channel's history.
    Page(ChannelId, HistoryBound),
    /// A page of channels.
    Channels,
}

impl About {
    fn is_page(&self) -> bool {
        match self {
            Self::Entry(_) => false,
            Self::Page(..) | Self::Channels => true,
        }
    }
}

impl Gateway {
    pub fn new(config: GatewayConfig) -> Self {
        Self {
            counts: GatewayCounts::new(config.shards),
            rates: Rates::new(config.rates),
            admission: Admission::default(),
            announced: Announced::default(),
            config,
            sessions: Slots::default(),
            channels: BTreeMap::new(),
            users: BTreeMap::new(),
            links_up: BTreeSet::new(),
            pending: BTreeMap::new(),
            last_ticket: 0,
            locates: BTreeMap::new(),
            catch_up: CatchUp::default(),
            deadlines: BTreeSet::new(),
            now: MonoTime::default(),
            presence: presence::Presence::default(),
            trace: trace::Trace::default(),
            draining: None,
        }
    }

    pub fn handle(
        &mut self,
        now: MonoTime,
        wall: WallTime,
        input: Input,
        effects: &mut Vec<Effect>,
    ) {
        self.now = now;
        match input {
            Input::Connected { connection } => self.connected(now, connection, effects),
            Input::Text { connection, text } => self.text(now, wall, connection, &text, effects),
            Input::Disconnected { connection } => {
                self.note_ended(connection, Why::Disconnected, effects);
                self.leave(connection, effects);
            }
            Input::Queue { connection, bytes } => self.queue_measured(connection, bytes, effects),
            Input::LinkUp { shard } => self.link_up(now, shard, effects),
            Input::LinkDown { shard } => self.link_down(shard, effects),
            Input::Link { shard, frame } => self.link_frame(shard, frame, effects),
            Input::Flushed => {
                self.announced.flushed(wall, &mut self.counts.deliver);
                self.trace.written(now);
            }
            Input::TokenKeys(keys) => self.config.token_keys = keys,
            Input::Tick => self.tick(now, wall, effects),
            Input::Drain { spread } => self.drain(spread, effects),
            Input::Serve => self.draining = None,
        }
        self.counts.sessions.set(self.sessions.len());
        self.counts.channels = self.channels.len();
        self.counts.tickets.set(self.pending.len());
        self.counts.rate_buckets.set(self.rates.count());
        self.counts.trace_rows.set(self.trace.rows());
    }

    /// When to feed [`Input::Tick`], if nothing else happens before.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        let session = self.deadlines.first().map(|(deadline, _)| *deadline);
        let others = self.presence.next_deadline().into_iter().chain(self.catch_up.next_deadline());
        session.into_iter().chain(others).min()
    }

    /// Sessions that are connected.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// What happened since the start, and how full the machine's tables are.
    pub fn counts(&self) -> &GatewayCounts {
        &self.counts
    }

    /// Whether sessions were sent new entries since the last [`Input::Flushed`].
    pub fn has_announced(&self) -> bool {
        !self.announced.is_empty()
    }

    fn shard_of(&self, workspace: &WorkspaceId) -> ShardId {
        shard_of(workspace, self.config.shards)
    }

    /// Sends a frame that asks for an answer. `None`: the link is down and nothing was sent.
    fn ask(
        &mut self,
        shard: ShardId,
        pending: Pending,
        frame: impl FnOnce(Ticket) -> ToOwner,
        effects: &mut Vec<Effect>,
    ) -> Option<Ticket> {
        if !self.links_up.contains(&shard) {
            return None;
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.pending.insert(ticket, (shard, pending));
        effects.push(Effect::ToOwner { shard, frame: frame(ticket) });
        Some(ticket)
    }

    /// Sends a frame that the link's next coming-up would repeat, if the link is up.
    fn tell(&self, shard: ShardId, frame: ToOwner, effects: &mut Vec<Effect>) {
        if self.links_up.contains(&shard) {
            effects.push(Effect::ToOwner { shard, frame });
        }
    }

    fn send(&mut self, connection: ConnectionId, frame: &ServerFrame, effects: &mut Vec<Effect>) {
        if let Some(session) = self.sessions.get_mut(&connection) {
            send_to(session, connection, encode(frame), effects);
        }
    }

    fn reject(
        &mut self,
        connection: ConnectionId,
        reply_to: Option<u64>,
        code: RejectCode,
        message: String,
        effects: &mut Vec<Effect>,
    ) {
        let retry_after_ms = code.is_retryable().then_some(RETRY_AFTER_MS);
        self.reject_for(connection, reply_to, code, message, retry_after_ms, effects);
    }

    /// Rejects a request that may come again after `retry_after_ms`.
    fn reject_for(
        &mut self,
        connection: ConnectionId,
        reply_to: Option<u64>,
        code: RejectCode,
        message: String,
        retry_after_ms: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        self.counts.rejected.count(code as usize, code.as_str());
        let frame = ServerFrame::Rejected { reply_to, code, message, retry_after_ms };
        self.send(connection, &frame, effects);
    }

    fn reject_frame(
        &mut self,
        connection: ConnectionId,
        error: FrameError,
        effects: &mut Vec<Effect>,
    ) {
        self.reject(connection, error.id, RejectCode::BadFrame, error.message, effects);
    }

    /// Ends a session with a reason.
    fn goodbye(
        &mut self,
        connection: ConnectionId,
        code: GoodbyeCode,
        message: String,
        reconnect_after_ms: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        self.counts.goodbyes.count(code as usize, code.as_str());
        self.note_ended(connection, Why::Goodbye(code.as_str()), effects);
        let frame = encode(&ServerFrame::Goodbye { code, message, reconnect_after_ms });
        effects.push(Effect::Send { connection, frame });
        effects.push(Effect::Close { connection });
        self.leave(connection, effects);
    }
}

/// Long enough for a link to be dialled again.
const RETRY_AFTER_MS: u64 = 500;

fn encode(frame: &ServerFrame) -> Bytes {
    websocket::encode_text(&frame.to_json())
}

fn send_to(
    session: &mut Session,
    connection: ConnectionId,
    frame: Bytes,
    effects: &mut Vec<Effect>,
) {
    session.queue.add(frame.len());
    effects.push(Effect::Send { connection, frame });
    measure(session, connection, effects);
}

fn measure(session: &mut Session, connection: ConnectionId, effects: &mut Vec<Effect>) {
    if session.queue.should_measure() {
        effects.push(Effect::Measure { connection });
    }
}
