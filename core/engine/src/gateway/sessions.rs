//! The life of a session: hello, requests, silence, the end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::admission::{Behind, Cost};
use super::rate::{Limited, Whose};
use super::{About, Effect, Gateway, Pending, Request};
use crate::entry::ChannelKind;
use crate::frame::{ClientFrame, FrameError, GoodbyeCode, RejectCode, Resume, ServerFrame};
use crate::history_bound::HistoryBound;
use crate::ids::{ChannelId, ChannelKey, ConnectionId, SeqNo, ShardId, UserKey};
use crate::levels::Limit;
use crate::limits::{
    DRAIN_SPREAD, HELLO_TIMEOUT, PAGE_ENTRIES_MAX, RESUME_CHANNELS_MAX, SESSION_IDLE_TIMEOUT,
    SESSION_PAGES_MAX, SESSION_REQUESTS_MAX, SESSIONS_MAX, SHARD_LOCATES_MAX,
};
use crate::link::{Ticket, ToOwner};
use crate::membership::{Change, direct_channel};
use crate::placement::scatter;
use crate::session::{Phase, Session};
use crate::time::{MonoTime, WallTime};

/// What to ask an owner, once it has a ticket.
type Ask = Box<dyn FnOnce(Ticket) -> ToOwner>;

/// A request that has not happened and may be made again after `wait`.
struct Deferred {
    code: RejectCode,
    message: String,
    wait: Duration,
}

/// A full gateway sends clients elsewhere for a while.
const FULL_RECONNECT_MS: u64 = 5_000;

impl Gateway {
    pub(super) fn connected(
        &mut self,
        now: MonoTime,
        connection: ConnectionId,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(spread) = self.draining {
            self.send_elsewhere(connection, spread, effects);
            return;
        }
        if self.sessions.len() >= SESSIONS_MAX {
            self.counts.hits.hit(Limit::Sessions);
            let message = format!("this gateway holds {SESSIONS_MAX} sessions, its limit");
            let after = Some(FULL_RECONNECT_MS);
            self.goodbye(connection, GoodbyeCode::Unavailable, message, after, effects);
            return;
        }
        let earlier = self.sessions.insert(connection, Session::new(now));
        assert!(earlier.is_none(), "a connection number was used twice");
        self.deadlines.insert((now + HELLO_TIMEOUT, connection));
    }

    pub(super) fn text(
        &mut self,
        now: MonoTime,
        wall: WallTime,
        connection: ConnectionId,
        text: &str,
        effects: &mut Vec<Effect>,
    ) {
        // A frame may still be on its way when the session has been told goodbye.
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        session.heard_at = now;
        self.counts.frames += 1;
        self.heard(now, connection);
        let Some(session) = self.sessions.get(&connection) else { return };
        let live = match &session.phase {
            Phase::Greeting => None,
            Phase::Opening { user, .. } | Phase::Live { user, .. } => Some(user.clone()),
        };
        match (ClientFrame::parse(text.as_bytes()), live) {
            (Err(error), _) => self.reject_frame(connection, error, effects),
            (Ok(ClientFrame::Ping), _) => self.send(connection, &ServerFrame::Pong, effects),
            (Ok(ClientFrame::Hello { token, resume, client }), None) => {
                self.hello(wall, connection, (&token, &client), resume, effects);
            }
            (Ok(ClientFrame::Hello { .. }), Some(_)) => {
                let message = "hello came twice on one connection".to_owned();
                self.goodbye(connection, GoodbyeCode::Protocol, message, Some(0), effects);
            }
            (Ok(_), None) => {
                let message = "the first frame of a connection must be hello".to_owned();
                self.goodbye(connection, GoodbyeCode::Protocol, message, Some(0), effects);
            }
            (Ok(ClientFrame::Heartbeat { state, background }), Some(user)) => {
                self.heartbeat(now, connection, &user, (state, background), effects);
            }
            (Ok(ClientFrame::PresenceSubscribe { id, users }), Some(user)) => {
                self.presence_subscribe(connection, &user, (id, users), effects);
            }
            (Ok(ClientFrame::Read { channel, seq }), Some(user)) => {
                self.mark_read(connection, &user, channel, seq, effects);
            }
            (Ok(ClientFrame::Typing { channel }), Some(user)) => {
                self.typing(now, connection, &user, channel, effects);
            }
            (Ok(frame), Some(user)) => {
                self.request(connection, &user, (frame, text.len()), effects);
            }
        }
    }

    fn hello(
        &mut self,
        wall: WallTime,
        connection: ConnectionId,
        (token, client): (&str, &str),
        resume: Vec<Resume>,
        effects: &mut Vec<Effect>,
    ) {
        let claims = match self.config.token_keys.verify(token, wall) {
            Ok(claims) => claims,
            Err(error) => {
                let code = GoodbyeCode::Unauthorized;
                self.goodbye(connection, code, error.to_string(), None, effects);
                return;
            }
        };
        if resume.len() > RESUME_CHANNELS_MAX {
            self.counts.hits.hit(Limit::ResumeChannels);
            let message = format!("hello resumes more than {RESUME_CHANNELS_MAX} channels");
            self.goodbye(connection, GoodbyeCode::Protocol, message, None, effects);
            return;
        }
        if let Some(point) = resume.iter().find(|point| !point.names_one_point()) {
            let channel = &point.channel;
            let message =
                format!("resume of channel {channel} names exactly one of `after` and `since_ms`");
            self.goodbye(connection, GoodbyeCode::Protocol, message, None, effects);
            return;
        }
        let left = Duration::from_millis(claims.expires_at.0 - wall.0);
        if left < HELLO_TIMEOUT {
            // Else the session is looked at before.
            self.deadlines.insert((self.now + left, connection));
        }
        let user = UserKey { workspace: claims.workspace, user: claims.user };
        self.note_opened(connection, &user, client, effects);
        let of_user = self.users.entry(user.clone()).or_insert_with(|| Vec::with_capacity(1));
        of_user.push(connection);
        if let Some(session) = self.sessions.get_mut(&connection) {
            session.phase = Phase::Opening { user: user.clone(), resume, ticket: None };
            session.expires_at = claims.expires_at;
        }
        self.open(connection, user, effects);
    }

    /// The owner knows what the times stand for from which the session resumes.
    pub(super) fn located(
        &mut self,
        connection: ConnectionId,
        points: Vec<(ChannelId, SeqNo)>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let Phase::Opening { user, resume, .. } = &mut session.phase else { return };
        let user = user.clone();
        resume.retain(|point| point.since_ms.is_none());
        resume.extend(points.into_iter().map(|(channel, after)| Resume::after(channel, after)));
        self.open(connection, user, effects);
    }

    /// Asks the owner for the user's channels, but first for what the times stand for from which
    /// the session resumes. When the owner's link is down, its coming-up does.
    pub(super) fn open(
        &mut self,
        connection: ConnectionId,
        user: UserKey,
        effects: &mut Vec<Effect>,
    ) {
        let shard = self.shard_of(&user.workspace);
        let points = self.points_in_time(connection);
        if !points.is_empty() {
            self.locate(shard, connection, (user, points), effects);
            return;
        }
        let resumed = match self.sessions.get(&connection).map(|session| &session.phase) {
            Some(Phase::Opening { resume, .. }) => {
                resume.iter().map(|point| point.channel.clone()).collect()
            }
            Some(Phase::Greeting | Phase::Live { .. }) | None => BTreeSet::new(),
        };
        let resumed = Vec::from_iter(resumed);
        let frame = |ticket| ToOwner::Open { ticket, user, resumed };
        let asked = self.ask(shard, Pending::Open { connection }, frame, effects);
        if let Some(Session { phase: Phase::Opening { ticket, .. }, .. }) =
            self.sessions.get_mut(&connection)
        {
            *ticket = asked;
        }
    }

    /// Asks where the times are in the channels. The answer is awaited, and counted, even if the
    /// session ends before: the owner looks for it all the same.
    fn locate(
        &mut self,
        shard: ShardId,
        connection: ConnectionId,
        (user, points): (UserKey, Vec<(ChannelId, WallTime)>),
        effects: &mut Vec<Effect>,
    ) {
        let awaited = self.locates.get(&shard).copied().unwrap_or_default();
        if awaited >= SHARD_LOCATES_MAX {
            self.counts.hits.hit(Limit::ShardLocates);
            let message = format!("{awaited} sessions wait to resume by time already");
            let after = Some(self.jitter(connection, DRAIN_SPREAD));
            self.goodbye(connection, GoodbyeCode::Unavailable, message, after, effects);
            return;
        }
        let frame = |ticket| ToOwner::Locate { ticket, user, points };
        if self.ask(shard, Pending::Locate { connection }, frame, effects).is_some() {
            self.locates.insert(shard, awaited + 1);
            self.counts.shard_locates.set(awaited + 1);
        }
    }

    /// The channels that an opening session resumes by time.
    fn points_in_time(&self, connection: ConnectionId) -> Vec<(ChannelId, WallTime)> {
        match self.sessions.get(&connection).map(|session| &session.phase) {
            Some(Phase::Opening { resume, .. }) => resume
                .iter()
                .filter_map(|point| Some((point.channel.clone(), point.since_ms?)))
                .collect(),
            Some(Phase::Greeting | Phase::Live { .. }) | None => Vec::new(),
        }
    }

    fn request(
        &mut self,
        connection: ConnectionId,
        user: &UserKey,
        (frame, bytes): (ClientFrame, usize),
        effects: &mut Vec<Effect>,
    ) {
        let (reply_to, about, frame) = match wanted(user, frame) {
            Ok(wanted) => wanted,
            Err(error) => return self.reject_frame(connection, error, effects),
        };
        let shard = self.shard_of(&user.workspace);
        let request = Request { connection, reply_to, about, asked_at: self.now };
        self.forward(shard, user, (request, bytes), frame, effects);
    }

    fn forward(
        &mut self,
        shard: ShardId,
        user: &UserKey,
        (request, bytes): (Request, usize),
        frame: Ask,
        effects: &mut Vec<Effect>,
    ) {
        let (connection, reply_to) = (request.connection, request.reply_to);
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let pages_full = request.about.is_page() && session.pages >= SESSION_PAGES_MAX;
        if session.requests >= SESSION_REQUESTS_MAX || pages_full {
            let limit = if pages_full { Limit::SessionPages } else { Limit::SessionRequests };
            self.counts.hits.hit(limit);
            let message = format!(
                "{SESSION_REQUESTS_MAX} requests, or {SESSION_PAGES_MAX} for pages, wait for their \
                 reply already"
            );
            self.reject(connection, Some(reply_to), RejectCode::Busy, message, effects);
            return;
        }
        if !self.links_up.contains(&shard) {
            self.reject_unavailable(&request, effects);
            return;
        }
        let cost = Cost { bytes, page: request.about.is_page() };
        if let Err(Deferred { code, message, wait }) = self.admit(shard, user, cost) {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
            self.reject_for(connection, Some(reply_to), code, message, Some(wait_ms), effects);
            return;
        }
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        session.requests += 1;
        session.pages += usize::from(request.about.is_page());
        self.counts.session_requests.set(session.requests);
        self.counts.session_pages.set(session.pages);
        if let Some(ticket) = self.ask(shard, Pending::Request(request), frame, effects) {
            self.admission.asked(self.now, shard, ticket, cost);
            self.counts.shard_requests.set(self.admission.most());
            self.counts.shard_request_bytes.set(self.admission.most_bytes());
            self.counts.shard_pages.set(self.admission.most_pages());
        }
    }

    /// Whether the shard's owner keeps up, and the user and their workspace keep to their rates.
    fn admit(&mut self, shard: ShardId, user: &UserKey, cost: Cost) -> Result<(), Deferred> {
        if let Err(Behind { limit, wait }) = self.admission.admit(self.now, shard, cost) {
            self.counts.hits.hit(limit);
            let message = "the channel's owner is behind with its work".to_owned();
            return Err(Deferred { code: RejectCode::Busy, message, wait });
        }
        if let Err(Limited { whose, wait }) = self.rates.admit(self.now, user) {
            let (limit, who) = match whose {
                Whose::User => (Limit::UserRate, "you ask"),
                Whose::Workspace => (Limit::WorkspaceRate, "your workspace asks"),
            };
            self.counts.hits.hit(limit);
            let message = format!("{who} too often; wait before you ask again");
            return Err(Deferred { code: RejectCode::RateLimited, message, wait });
        }
        Ok(())
    }

    /// A request got its reply.
    pub(super) fn answered(&mut self, request: &Request) {
        if let Some(session) = self.sessions.get_mut(&request.connection) {
            assert!(session.requests > 0, "a reply to no request");
            session.requests -= 1;
            session.pages -= usize::from(request.about.is_page());
        }
    }

    pub(super) fn reject_unavailable(&mut self, request: &Request, effects: &mut Vec<Effect>) {
        let message = "the channel's owner can't be reached; whether it happened is unknown: \
                       send it again with the same nonce"
            .to_owned();
        let (connection, reply_to) = (request.connection, Some(request.reply_to));
        self.reject(connection, reply_to, RejectCode::Unavailable, message, effects);
    }

    pub(super) fn tick(&mut self, now: MonoTime, wall: WallTime, effects: &mut Vec<Effect>) {
        self.tick_presence(now, effects);
        self.wake_pages(now, effects);
        while let Some(&(deadline, connection)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_first();
            let Some(session) = self.sessions.get(&connection) else { continue };
            match session.phase {
                Phase::Greeting => {
                    self.counts.hits.hit(Limit::HelloTime);
                    let message = format!("no hello within {} s", HELLO_TIMEOUT.as_secs());
                    self.goodbye(connection, GoodbyeCode::Protocol, message, Some(0), effects);
                }
                Phase::Opening { .. } if session.heard_at + HELLO_TIMEOUT <= now => {
                    self.counts.hits.hit(Limit::HelloTime);
                    let message = "the owner of your data can't be reached".to_owned();
                    let after = Some(self.jitter(connection, DRAIN_SPREAD));
                    self.goodbye(connection, GoodbyeCode::Unavailable, message, after, effects);
                }
                Phase::Opening { .. } => {
                    self.deadlines.insert((session.heard_at + HELLO_TIMEOUT, connection));
                }
                Phase::Live { .. } => self.look_whether_over(now, wall, connection, effects),
            }
        }
    }

    /// Ends a session that is idle or whose token has expired.
    fn look_whether_over(
        &mut self,
        now: MonoTime,
        wall: WallTime,
        connection: ConnectionId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get(&connection) else { return };
        let timeout = self.idle_timeout(connection);
        if session.expires_at <= wall {
            let message = "your token has expired; resume with a new one".to_owned();
            self.goodbye(connection, GoodbyeCode::TokenExpired, message, None, effects);
        } else if session.heard_at + timeout <= now {
            self.counts.hits.hit(Limit::SessionIdleTime);
            let message = idle_message(timeout);
            self.goodbye(connection, GoodbyeCode::Idle, message, Some(0), effects);
        } else {
            // A session may come out of the background meanwhile, and the wall clock may be set, so
            // look no later than that.
            let left = Duration::from_millis(session.expires_at.0 - wall.0);
            let at = (session.heard_at + timeout).min(now + SESSION_IDLE_TIMEOUT.min(left));
            self.deadlines.insert((at, connection));
        }
    }

    pub(super) fn drain(&mut self, spread: Duration, effects: &mut Vec<Effect>) {
        self.draining = Some(spread);
        let connections: Vec<ConnectionId> = self.sessions.keys().copied().collect();
        for connection in connections {
            self.send_elsewhere(connection, spread, effects);
        }
    }

    fn send_elsewhere(
        &mut self,
        connection: ConnectionId,
        spread: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let message = "this server takes no sessions: it is being drained".to_owned();
        let after = Some(self.jitter(connection, spread));
        self.goodbye(connection, GoodbyeCode::Draining, message, after, effects);
    }

    /// The session is over: takes it out of every table. Twice is once.
    pub(super) fn leave(&mut self, connection: ConnectionId, effects: &mut Vec<Effect>) {
        let Some(session) = self.sessions.remove(&connection) else { return };
        self.leave_presence(connection, session.heard_at, effects);
        let (user, channels) = match session.phase {
            Phase::Greeting => return,
            Phase::Opening { user, ticket, .. } => {
                // The answer is for nobody, and may never come.
                ticket.and_then(|ticket| self.pending.remove(&ticket));
                (user, Vec::new())
            }
            Phase::Live { user, channels } => (user, channels),
        };
        let shard = self.shard_of(&user.workspace);
        for key in channels {
            self.trace_end(connection, user.user.clone(), &key);
            self.unfollow(shard, connection, key, effects);
        }
        let Some(connections) = self.users.get_mut(&user) else { return };
        connections.retain(|one| *one != connection);
        if connections.is_empty() {
            self.users.remove(&user);
            self.tell(shard, ToOwner::Close { user }, effects);
        }
    }

    /// The name that clients and logs call the session.
    pub(super) fn session_name(&self, connection: ConnectionId) -> String {
        format!("{:016x}", scatter(self.config.boot ^ connection.0))
    }

    /// Milliseconds below `below` that differ from session to session and from boot to boot.
    pub(super) fn jitter(&self, connection: ConnectionId, below: Duration) -> u64 {
        let below_ms = u64::try_from(below.as_millis()).unwrap_or(u64::MAX).max(1);
        scatter(scatter(self.config.boot ^ connection.0)) % below_ms
    }
}

/// What a request asks of the owner of which channel, and the number that it is known by.
fn wanted(user: &UserKey, frame: ClientFrame) -> Result<(u64, About, Ask), FrameError> {
    let key = |channel: &ChannelId| ChannelKey {
        workspace: user.workspace.clone(),
        channel: channel.clone(),
    };
    let sender = user.user.clone();
    let (id, channel, nonce, change) = match frame {
        ClientFrame::Send { id, channel, nonce, body } => {
            let key = key(&channel);
            let submit =
                move |ticket| ToOwner::Submit { ticket, channel: key, sender, nonce, body };
            return Ok((id, About::Entry(channel), Box::new(submit)));
        }
        ClientFrame::History { id, channel, after, before, since_ms, limit } => {
            let bound = HistoryBound::one_of(after, before, since_ms)
                .map_err(|error| FrameError { id: Some(id), message: error.to_string() })?;
            let (key, reader) = (key(&channel), Some(sender));
            let most = u32::try_from(PAGE_ENTRIES_MAX).unwrap_or(u32::MAX);
            let entries_max = limit.unwrap_or(most);
            let read =
                move |ticket| ToOwner::Read { ticket, channel: key, reader, bound, entries_max };
            return Ok((id, About::Page(channel, bound), Box::new(read)));
        }
        ClientFrame::ListChannels { id, after, limit } => {
            let (user, channels_max) = (user.clone(), limit.unwrap_or(u32::MAX));
            let list = move |ticket| ToOwner::List { ticket, user, after, channels_max };
            return Ok((id, About::Channels, Box::new(list)));
        }
        ClientFrame::CreateChannel { id, channel, nonce, kind, members } => {
            let channel = match (channel, kind) {
                (Some(channel), _) => channel,
                (None, ChannelKind::Direct) => direct_channel(members.iter().chain([&sender])),
                (None, ChannelKind::Public | ChannelKind::Private) => {
                    let message = "only a direct channel may be created without its name: give \
                                   `channel`"
                        .to_owned();
                    return Err(FrameError { id: Some(id), message });
                }
            };
            (id, channel, nonce, Change::Create { kind, members })
        }
        ClientFrame::Join { id, channel, nonce } => (id, channel, nonce, Change::Join),
        ClientFrame::Leave { id, channel, nonce } => (id, channel, nonce, Change::Leave),
        ClientFrame::AddMember { id, channel, nonce, user } => {
            (id, channel, nonce, Change::Add { user })
        }
        ClientFrame::RemoveMember { id, channel, nonce, user } => {
            (id, channel, nonce, Change::Remove { user })
        }
        ClientFrame::Hello { .. }
        | ClientFrame::Ping
        | ClientFrame::Heartbeat { .. }
        | ClientFrame::PresenceSubscribe { .. }
        | ClientFrame::Read { .. }
        | ClientFrame::Typing { .. } => unreachable!("no request, or handled by the caller"),
    };
    let key = key(&channel);
    let change = move |ticket| ToOwner::Change { ticket, channel: key, by: sender, nonce, change };
    Ok((id, About::Entry(channel), Box::new(change)))
}

fn idle_message(timeout: Duration) -> String {
    format!("no frame came for {} s; send heartbeat or ping", timeout.as_secs())
}
