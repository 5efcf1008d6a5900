//! The client's side of a session: reconnects, resumes, re-sorts, fills gaps, retries.
//!
//! A [`Client`] performs no I/O: feed it an [`Input`], then carry out the [`Effect`]s it appended,
//! in order. The `seriatim-client` package is its driver, for users, the simulator and the load
//! generator alike.
//!
//! # Invariants
//!
//! - **Contiguous**: [`ClientEvent::Delivered`] rises by one per channel, across connections, but for
//!   what [`ClientEvent::Trimmed`] tells of.
//! - **Never failed by silence**: a request without an answer is sent again with the same nonce
//!   until it is accepted or refused.
//! - **Bounded**: at most [`CLIENT_OUTSTANDING_MAX`] requests are open.

mod connecting;
mod following;
mod pages;
mod presence;
mod read_cursors;
mod requests;
mod trimmed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::client_session::ChannelView;
use crate::entry::{Asked, Entry};
use crate::frame::{ChannelStatus, ClientFrame, PresenceState, RejectCode, ServerFrame};
use crate::history_bound::HistoryBound;
use crate::ids::{ChannelId, Nonce, SeqNo, UserId};
use crate::limits::{CLIENT_CONNECT_TIMEOUT, CLIENT_OUTSTANDING_MAX, HEARTBEAT, REPLY_TIMEOUT};
use crate::membership::Change;
use crate::time::{MonoTime, WallTime};

use pages::PageFrame;
use requests::{Request, Requests};

/// What happens to a client.
#[derive(Debug)]
pub enum Input {
    Command(Command),
    /// The connection that [`Effect::Connect`] asked for is open, its handshake done.
    Connected,
    /// It could not be opened, or it ended.
    Disconnected,
    Frame(ServerFrame),
    /// Answers [`Effect::RenewToken`]: the token to go on with, or none.
    Token(Option<String>),
    /// [`Client::next_deadline`] has passed.
    Tick,
}

/// What the application wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Send {
        channel: ChannelId,
        nonce: Nonce,
        body: Arc<str>,
    },
    /// Change who is in the channel.
    Change {
        channel: ChannelId,
        nonce: Nonce,
        change: Change,
    },
    /// Drop the connection and open a new one at once.
    Reconnect,
    /// Drop the connection, without a word, and stay away until [`Self::GoOnline`].
    GoOffline,
    GoOnline,
    /// How the user is, as this client knows: said on this session and each that follows. In the
    /// background, timers may be throttled to one a minute.
    SetPresence {
        state: PresenceState,
        background: bool,
    },
    /// Tell how these users are, on this session and each that follows.
    WatchPresence {
        users: Vec<UserId>,
    },
    /// The user is writing in the channel.
    Typing {
        channel: ChannelId,
    },
    /// The user has read the channel up to `seq`: said until the server has it.
    MarkRead {
        channel: ChannelId,
        seq: SeqNo,
    },
    /// Read a page of the channel's log: once, with no second try.
    ReadLog {
        channel: ChannelId,
        bound: HistoryBound,
    },
    /// Forget what was delivered of the channel, drop the connection, and go on with the first
    /// entry that was numbered at `since` or later.
    ResumeSince {
        channel: ChannelId,
        since: WallTime,
    },
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Connect to the gateway with this index, then feed `Connected` or `Disconnected`.
    Connect {
        gateway: usize,
    },
    Send(ClientFrame),
    /// Drop the connection, or the attempt. No `Disconnected` is expected.
    Disconnect,
    /// The server takes this token no more: ask whoever issues them for another, then feed
    /// [`Input::Token`].
    RenewToken,
    Emit(ClientEvent),
}

/// What the application hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// A session began; each channel tells from where it is served.
    Opened {
        session: String,
        gateway: usize,
        channels: Vec<ChannelStatus>,
    },
    /// A send went out on the session, for the first time or again. For tracing and for checkers.
    Sent {
        channel: ChannelId,
        nonce: Nonce,
    },
    /// The user became a member of a channel during the session.
    Channel(ChannelStatus),
    /// The user is a member no longer, and everything up to `until` was delivered.
    Left {
        channel: ChannelId,
        until: SeqNo,
    },
    /// An entry arrived, in whatever order. For tracing and for checkers.
    Received {
        channel: ChannelId,
        entry: Entry,
    },
    /// The channel's next entry.
    Delivered {
        channel: ChannelId,
        entry: Entry,
    },
    /// A request has its place in the log.
    Accepted {
        channel: ChannelId,
        asked: Asked,
        seq: SeqNo,
        at: WallTime,
        duplicate: bool,
    },
    /// It was refused: it did not happen, and won't.
    Rejected {
        channel: ChannelId,
        asked: Asked,
        code: RejectCode,
        message: String,
    },
    CaughtUp {
        channel: ChannelId,
        head: SeqNo,
    },
    /// The channel's entries after `after` up to `upto` are gone and will not be delivered: the
    /// server did not keep them so long.
    Trimmed {
        channel: ChannelId,
        after: SeqNo,
        upto: SeqNo,
    },
    /// The page that [`Command::ReadLog`] asked for.
    LogPage {
        channel: ChannelId,
        bound: HistoryBound,
        entries: Vec<Entry>,
        /// There is more after them; of a page before a position, before them.
        more: bool,
        /// Of the entries that were asked for, those up to this one are gone.
        trimmed_upto: Option<SeqNo>,
    },
    /// There will be none.
    LogRefused {
        channel: ChannelId,
        bound: HistoryBound,
        code: RejectCode,
        message: String,
    },
    /// How a watched user is.
    Presence {
        user: UserId,
        state: PresenceState,
    },
    /// Somebody is writing in the channel.
    Typing {
        channel: ChannelId,
        user: UserId,
    },
    /// How far the user has read, on whatever session: the server has it for good.
    Read {
        channel: ChannelId,
        seq: SeqNo,
    },
    /// A heartbeat went out on the session. For tracing and for checkers.
    Heartbeat {
        state: PresenceState,
        background: bool,
    },
    /// A `presence_subscribe` went out on the session. For the same.
    Watching {
        users: Vec<UserId>,
    },
    /// The server has the session's oldest heartbeat that it hadn't answered. For the same.
    HeartbeatAnswered,
    /// The session ended; the client connects again by itself.
    Closed {
        session: String,
    },
    /// The server will not have this client back (its token is not valid, for one).
    Ended {
        message: String,
    },
}

/// How a client is set up.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    pub token: String,
    /// Sent in `hello`, for the server's logs.
    pub name: String,
    /// How many gateways there are to choose from.
    pub gateways: usize,
    /// The index of the first to try.
    pub first_gateway: usize,
    /// Makes the jitter; other for each client.
    pub seed: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    phase: Phase,
    gateway: usize,
    /// Connections that failed or ended since one was welcomed.
    failures: u32,
    /// The token was renewed since a session was opened by one.
    renewed: bool,
    draws: u64,
    channels: BTreeMap<ChannelId, ChannelView>,
    /// Channels whose positions are forgotten, and the times from which the next session goes on.
    since: BTreeMap<ChannelId, WallTime>,
    requests: Requests,
    pages: pages::Pages,
    last_id: u64,
    heard_at: MonoTime,
    said_at: MonoTime,
    presence: presence::Presence,
    read_cursors: read_cursors::ReadCursors,
}

#[derive(Debug)]
enum Phase {
    Waiting {
        until: MonoTime,
    },
    Connecting {
        since: MonoTime,
    },
    Greeting {
        since: MonoTime,
    },
    Live {
        session: String,
    },
    /// A new token was asked for, because of what the server said.
    Renewing {
        message: String,
    },
    /// The application wants no connection for a while.
    Offline,
    Ended,
}

impl Client {
    /// # Panics
    /// `config.gateways` is 0.
    pub fn new(now: MonoTime, config: ClientConfig) -> Self {
        assert!(config.gateways > 0, "a client needs a gateway to connect to");
        Self {
            phase: Phase::Waiting { until: now },
            gateway: config.first_gateway % config.gateways,
            failures: 0,
            renewed: false,
            draws: 0,
            channels: BTreeMap::new(),
            since: BTreeMap::new(),
            requests: Requests::default(),
            pages: pages::Pages::default(),
            last_id: 0,
            heard_at: now,
            said_at: now,
            presence: presence::Presence::default(),
            read_cursors: read_cursors::ReadCursors::default(),
            config,
        }
    }

    pub fn handle(&mut self, now: MonoTime, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Command(command) => self.command(now, command, effects),
            Input::Connected => self.connected(now, effects),
            Input::Disconnected => self.lost(now, effects),
            Input::Frame(frame) => {
                self.heard_at = now;
                self.frame(now, frame, effects);
            }
            Input::Token(token) => self.renewed(now, token, effects),
            Input::Tick => self.tick(now, effects),
        }
    }

    /// When to feed [`Input::Tick`], if nothing else happens before.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Connecting { since } | Phase::Greeting { since } => {
                Some(*since + CLIENT_CONNECT_TIMEOUT)
            }
            Phase::Live { .. } => {
                let alive = (self.said_at + HEARTBEAT).min(self.heard_at + self.silence_max());
                let due = self.requests.next_due().into_iter();
                let first = due.chain(self.pages.refill_at()).chain(self.next_read()).min();
                Some(first.map_or(alive, |first| first.min(alive)))
            }
            Phase::Renewing { .. } | Phase::Offline | Phase::Ended => None,
        }
    }

    /// Requests without a final answer.
    pub fn outstanding(&self) -> usize {
        self.requests.len()
    }

    /// The last position that was delivered of each channel.
    pub fn positions(&self) -> impl Iterator<Item = (&ChannelId, SeqNo)> {
        self.channels.iter().map(|(channel, view)| (channel, view.last()))
    }

    fn command(&mut self, now: MonoTime, command: Command, effects: &mut Vec<Effect>) {
        let request = match command {
            Command::Send { channel, nonce, body } => Request::Send { channel, nonce, body },
            Command::Change { channel, nonce, change } => {
                Request::Change { channel, nonce, change }
            }
            Command::Reconnect => return self.reconnect(now, effects),
            Command::GoOffline => return self.go_offline(effects),
            Command::GoOnline => return self.go_online(now),
            Command::SetPresence { state, background } => {
                return self.set_presence(now, state, background, effects);
            }
            Command::WatchPresence { users } => return self.watch(now, users, effects),
            Command::Typing { channel } => return self.type_in(now, channel, effects),
            Command::MarkRead { channel, seq } => {
                return self.mark_read(now, channel, seq, effects);
            }
            Command::ReadLog { channel, bound } => {
                return self.read_log(now, channel, bound, effects);
            }
            Command::ResumeSince { channel, since } => {
                return self.resume_since(now, channel, since, effects);
            }
        };
        if self.requests.len() >= CLIENT_OUTSTANDING_MAX {
            let (channel, asked) = request.into_parts();
            let message = format!("{CLIENT_OUTSTANDING_MAX} requests wait for their reply already");
            let code = RejectCode::Busy;
            effects.push(Effect::Emit(ClientEvent::Rejected { channel, asked, code, message }));
            return;
        }
        self.last_id += 1;
        let is_live = matches!(self.phase, Phase::Live { .. });
        let frame = self.requests.add(self.last_id, request, now + REPLY_TIMEOUT, is_live);
        self.say_all(now, frame, effects);
    }

    fn connected(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        let Phase::Connecting { since } = self.phase else { return };
        self.phase = Phase::Greeting { since };
        self.heard_at = now;
        let hello = ClientFrame::Hello {
            token: self.config.token.clone(),
            resume: self.resume_points(),
            client: self.config.name.clone(),
        };
        self.say(now, hello, effects);
    }

    fn frame(&mut self, now: MonoTime, frame: ServerFrame, effects: &mut Vec<Effect>) {
        match frame {
            ServerFrame::Welcome { session, channels, .. } => {
                self.welcome(now, session, channels, effects);
            }
            ServerFrame::Channel(status) => {
                self.follow(&status);
                effects.push(Effect::Emit(ClientEvent::Channel(status)));
            }
            ServerFrame::Left { channel, until } => self.left(now, channel, until, effects),
            ServerFrame::Accepted { reply_to, channel, seq, at_ms, duplicate } => {
                if let Some(request) = self.settle(now, reply_to, effects) {
                    let (_, asked) = request.into_parts();
                    let at = at_ms;
                    let event = ClientEvent::Accepted { channel, asked, seq, at, duplicate };
                    effects.push(Effect::Emit(event));
                }
            }
            ServerFrame::Rejected { reply_to, code, message, retry_after_ms } => {
                self.rejected(now, reply_to, code, message, retry_after_ms, effects);
            }
            ServerFrame::Log(frame) => self.log(now, [frame], effects),
            ServerFrame::Page { reply_to, channel, messages, more, trimmed_upto } => {
                let page = PageFrame { messages, more, trimmed_upto };
                self.page(now, reply_to, channel, page, effects);
            }
            // Nobody asked.
            ServerFrame::ChannelList { .. } => {}
            ServerFrame::Trimmed { channel, upto } => self.trimmed(now, &channel, upto, effects),
            ServerFrame::CaughtUp { channel, head } => {
                effects.push(Effect::Emit(ClientEvent::CaughtUp { channel, head }));
            }
            ServerFrame::Goodbye { code, message, reconnect_after_ms } => {
                effects.push(Effect::Disconnect);
                self.close(effects);
                match reconnect_after_ms {
                    Some(after) => self.wait(now + Duration::from_millis(after)),
                    None => self.told_off(code, message, effects),
                }
            }
            ServerFrame::Presence { user, state } => {
                effects.push(Effect::Emit(ClientEvent::Presence { user, state }));
            }
            ServerFrame::Typing { channel, user } => {
                effects.push(Effect::Emit(ClientEvent::Typing { channel, user }));
            }
            ServerFrame::Read { channel, seq } => self.read_told(channel, seq, effects),
            // This client sends no `ping`: each answers a heartbeat.
            ServerFrame::Pong => effects.push(Effect::Emit(ClientEvent::HeartbeatAnswered)),
        }
    }

    fn welcome(
        &mut self,
        now: MonoTime,
        session: String,
        channels: Vec<ChannelStatus>,
        effects: &mut Vec<Effect>,
    ) {
        if !matches!(self.phase, Phase::Greeting { .. }) {
            return;
        }
        self.failures = 0;
        self.renewed = false;
        for status in &channels {
            self.follow(status);
        }
        self.since.clear();
        self.phase = Phase::Live { session: session.clone() };
        let gateway = self.gateway;
        effects.push(Effect::Emit(ClientEvent::Opened { session, gateway, channels }));
        self.begin_presence(now, effects);
        self.begin_reads(now, effects);
        let frames = self.requests.all(now + REPLY_TIMEOUT);
        self.say_all(now, frames, effects);
    }

    /// A request has its final answer: gives it, and sends what waited for that.
    fn settle(&mut self, now: MonoTime, id: u64, effects: &mut Vec<Effect>) -> Option<Request> {
        let (request, next) = self.requests.settle(id, now + REPLY_TIMEOUT)?;
        self.say_all(now, next, effects);
        Some(request)
    }

    fn rejected(
        &mut self,
        now: MonoTime,
        reply_to: Option<u64>,
        code: RejectCode,
        message: String,
        retry_after_ms: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(reply_to) = reply_to else { return };
        let after = Duration::from_millis(retry_after_ms.unwrap_or(RETRY_AFTER_MS));
        if let Some(page) = self.pages.answered(reply_to) {
            self.page_refused(page, code, message, now + after, effects);
        } else if code.is_retryable() {
            self.requests.defer(reply_to, now + after);
        } else {
            let Some(request) = self.settle(now, reply_to, effects) else { return };
            let (channel, asked) = request.into_parts();
            effects.push(Effect::Emit(ClientEvent::Rejected { channel, asked, code, message }));
        }
    }

    fn tick(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Waiting { until } if until <= now => {
                self.phase = Phase::Connecting { since: now };
                effects.push(Effect::Connect { gateway: self.gateway });
            }
            Phase::Connecting { since } | Phase::Greeting { since }
                if since + CLIENT_CONNECT_TIMEOUT <= now =>
            {
                effects.push(Effect::Disconnect);
                self.lost(now, effects);
            }
            Phase::Live { .. } if self.heard_at + self.silence_max() <= now => {
                effects.push(Effect::Disconnect);
                self.lost(now, effects);
            }
            Phase::Live { .. } => self.tick_live(now, effects),
            Phase::Waiting { .. }
            | Phase::Connecting { .. }
            | Phase::Greeting { .. }
            | Phase::Renewing { .. }
            | Phase::Offline
            | Phase::Ended => {}
        }
    }

    fn tick_live(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        let frames = self.requests.due(now, now + REPLY_TIMEOUT);
        self.say_all(now, frames, effects);
        self.refill(now, effects);
        self.say_reads(now, effects);
        if self.said_at + HEARTBEAT <= now {
            self.beat(now, effects);
        }
    }

    fn say_all(
        &mut self,
        now: MonoTime,
        frames: impl IntoIterator<Item = ClientFrame>,
        effects: &mut Vec<Effect>,
    ) {
        for frame in frames {
            self.say(now, frame, effects);
        }
    }

    fn say(&mut self, now: MonoTime, frame: ClientFrame, effects: &mut Vec<Effect>) {
        self.said_at = now;
        let sent = if let ClientFrame::Send { channel, nonce, .. } = &frame {
            Some(ClientEvent::Sent { channel: channel.clone(), nonce: nonce.clone() })
        } else {
            None
        };
        effects.push(Effect::Send(frame));
        effects.extend(sent.map(Effect::Emit));
    }
}

/// Where a rejection doesn't say when to try again.
const RETRY_AFTER_MS: u64 = 1_000;

#[cfg(test)]
mod tests;
