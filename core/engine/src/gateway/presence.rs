//! The gateway's part in presence: collects its sessions' signs of life for the owner, and hands
//! what the owner tells to the sessions that asked.
//!
//! It remembers what each session was told last, so that an owner that starts anew, or a link that
//! comes back, repeats nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{Effect, Gateway, encode, send_to};
use crate::frame::{PresenceState, RejectCode, ServerFrame};
use crate::ids::{ChannelId, ConnectionId, ShardId, UserId, UserKey};
use crate::limits::{
    PRESENCE_BACKGROUND_TTL, PRESENCE_BATCH_MAX, PRESENCE_COALESCE, PRESENCE_PARTING_MAX,
    PRESENCE_WATCHED_MAX, SESSION_IDLE_BACKGROUND_TIMEOUT, SESSION_IDLE_TIMEOUT,
};
use crate::link::{ToOwner, Told};
use crate::placement::scatter;
use crate::presence::{Beat, SessionId, Watched};
use crate::slots::Slots;
use crate::time::MonoTime;

/// The sessions that take part in presence or typing.
#[derive(Debug, Default)]
pub(super) struct Presence {
    pub(super) sessions: BTreeMap<ConnectionId, Session>,
    /// Heard since their last beat went to the owner.
    due: BTreeSet<ConnectionId>,
    /// The last beats of sessions that have ended, with the time at which each was heard.
    parting: VecDeque<(MonoTime, Beat)>,
    flush_at: Option<MonoTime>,
    pub(super) typing_dropped: u64,
}

#[derive(Debug)]
pub(super) struct Session {
    user: UserKey,
    heartbeat: Option<Heartbeat>,
    watched: BTreeMap<UserId, View>,
    /// When the user was last said to write, of channels where that is not long ago.
    pub(super) typed: BTreeMap<ChannelId, MonoTime>,
}

/// What the session's last heartbeat said.
#[derive(Debug, Clone, Copy)]
struct Heartbeat {
    state: PresenceState,
    background: bool,
    /// Beats that went to the owner.
    number: u64,
}

/// How a watched user is, as far as is known here.
#[derive(Debug, Clone, Copy, Default)]
struct View {
    state: Option<PresenceState>,
    /// What the session was told; behind `state` while its queue is long.
    told: Option<PresenceState>,
}

impl Session {
    pub(super) fn new(user: UserKey) -> Self {
        Self { user, heartbeat: None, watched: BTreeMap::new(), typed: BTreeMap::new() }
    }
}

impl Presence {
    /// When the beats that were collected are due.
    pub(super) fn next_deadline(&self) -> Option<MonoTime> {
        self.flush_at
    }
}

impl Gateway {
    /// A frame came: a sign of life, once the session has sent a heartbeat.
    pub(super) fn heard(&mut self, now: MonoTime, connection: ConnectionId) {
        let session = self.presence.sessions.get(&connection);
        if session.is_some_and(|session| session.heartbeat.is_some()) {
            self.presence.due.insert(connection);
            self.presence.flush_at.get_or_insert(now + PRESENCE_COALESCE);
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        now: MonoTime,
        connection: ConnectionId,
        user: &UserKey,
        (state, background): (PresenceState, bool),
        effects: &mut Vec<Effect>,
    ) {
        let sessions = &mut self.presence.sessions;
        let session = sessions.entry(connection).or_insert_with(|| Session::new(user.clone()));
        let number = session.heartbeat.map_or(0, |heartbeat| heartbeat.number);
        session.heartbeat = Some(Heartbeat { state, background, number });
        self.heard(now, connection);
        self.send(connection, &ServerFrame::Pong, effects);
    }

    pub(super) fn presence_subscribe(
        &mut self,
        connection: ConnectionId,
        user: &UserKey,
        (id, users): (u64, Vec<UserId>),
        effects: &mut Vec<Effect>,
    ) {
        if users.len() > PRESENCE_WATCHED_MAX {
            let message = format!(
                "{} users to watch; the limit is {PRESENCE_WATCHED_MAX}: name those who are shown",
                users.len()
            );
            self.reject(connection, Some(id), RejectCode::BadFrame, message, effects);
            return;
        }
        let sessions = &mut self.presence.sessions;
        let session = sessions.entry(connection).or_insert_with(|| Session::new(user.clone()));
        session.watched = users.into_iter().map(|user| (user, View::default())).collect();
        let watch = session.watch(connection);
        self.tell(self.shard_of(&user.workspace), watch, effects);
    }

    /// How long the session may be silent.
    pub(super) fn idle_timeout(&self, connection: ConnectionId) -> Duration {
        let session = self.presence.sessions.get(&connection);
        match session.and_then(|session| session.heartbeat) {
            Some(Heartbeat { background: true, .. }) => SESSION_IDLE_BACKGROUND_TIMEOUT,
            Some(_) | None => SESSION_IDLE_TIMEOUT,
        }
    }

    /// The session has ended; it was last heard at `heard_at`.
    pub(super) fn leave_presence(
        &mut self,
        connection: ConnectionId,
        heard_at: MonoTime,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut session) = self.presence.sessions.remove(&connection) else { return };
        if self.presence.due.remove(&connection)
            && let Some(beat) = session.next_beat(self.session_id(connection))
        {
            self.presence.parting.push_back((heard_at, beat));
            if self.presence.parting.len() > PRESENCE_PARTING_MAX {
                self.presence.parting.pop_front();
            }
        }
        if !session.watched.is_empty() {
            session.watched.clear();
            let (shard, watch) =
                (self.shard_of(&session.user.workspace), session.watch(connection));
            self.tell(shard, watch, effects);
        }
    }

    /// Sends the beats that are due, if it is time.
    pub(super) fn tick_presence(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        if self.presence.flush_at.is_none_or(|at| now < at) {
            return;
        }
        self.presence.flush_at = None;
        let mut beats = self.take_parting(now, None);
        for connection in std::mem::take(&mut self.presence.due) {
            beats.extend(self.beat(now, connection, Session::next_beat));
        }
        let mut by_shard: BTreeMap<ShardId, Vec<Beat>> = BTreeMap::new();
        for beat in beats {
            by_shard.entry(self.shard_of(&beat.user.workspace)).or_default().push(beat);
        }
        for (shard, beats) in by_shard {
            self.tell_beats(shard, &beats, effects);
        }
    }

    /// The owner may be a new one: tells it of all sessions, and what each was told of whom.
    pub(super) fn presence_link_up(
        &mut self,
        now: MonoTime,
        shard: ShardId,
        effects: &mut Vec<Effect>,
    ) {
        let connections: Vec<ConnectionId> = self
            .presence
            .sessions
            .iter()
            .filter(|(_, session)| self.shard_of(&session.user.workspace) == shard)
            .map(|(connection, _)| *connection)
            .collect();
        let mut beats = self.take_parting(now, Some(shard));
        for connection in &connections {
            beats.extend(self.beat(now, *connection, |session, id| session.last_beat(id)));
        }
        // Before the watches: else those would be answered from a table without these sessions.
        self.tell_beats(shard, &beats, effects);
        for connection in connections {
            let Some(session) = self.presence.sessions.get(&connection) else { continue };
            if !session.watched.is_empty() {
                let watch = session.watch(connection);
                self.tell(shard, watch, effects);
            }
        }
    }

    /// What the owner says of users.
    pub(super) fn presence_told(&mut self, told: Vec<Told>, effects: &mut Vec<Effect>) {
        for Told { user, state, connections } in told {
            for connection in connections {
                let session = self.presence.sessions.get_mut(&connection);
                // The session may be gone, or watch others by now.
                let Some(session) = session.filter(|one| one.user.workspace == user.workspace)
                else {
                    continue;
                };
                if let Some(view) = session.watched.get_mut(&user.user) {
                    view.state = Some(state);
                    deliver(&mut self.sessions, connection, &user.user, view, effects);
                }
            }
        }
    }

    /// The session's queue is short: it may be told what it was not told while it was long.
    pub(super) fn presence_measured(
        &mut self,
        connection: ConnectionId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.presence.sessions.get_mut(&connection) else { return };
        for (user, view) in &mut session.watched {
            deliver(&mut self.sessions, connection, user, view, effects);
        }
    }

    /// The beats of sessions that have ended, of `shard` or of all whose link is up. Those that
    /// must wait are kept as long as they count.
    fn take_parting(&mut self, now: MonoTime, shard: Option<ShardId>) -> Vec<Beat> {
        let mut taken = Vec::new();
        for (heard_at, mut beat) in std::mem::take(&mut self.presence.parting) {
            if now - heard_at >= PRESENCE_BACKGROUND_TTL {
                continue;
            }
            let of = self.shard_of(&beat.user.workspace);
            if shard.map_or_else(|| self.links_up.contains(&of), |shard| shard == of) {
                beat.age_ms = age_ms(now, heard_at);
                taken.push(beat);
            } else {
                self.presence.parting.push_back((heard_at, beat));
            }
        }
        taken
    }

    fn beat(
        &mut self,
        now: MonoTime,
        connection: ConnectionId,
        beat: impl FnOnce(&mut Session, SessionId) -> Option<Beat>,
    ) -> Option<Beat> {
        let id = self.session_id(connection);
        let heard_at = self.sessions.get(&connection)?.heard_at;
        let mut beat = beat(self.presence.sessions.get_mut(&connection)?, id)?;
        beat.age_ms = age_ms(now, heard_at);
        Some(beat)
    }

    fn tell_beats(&self, shard: ShardId, beats: &[Beat], effects: &mut Vec<Effect>) {
        for beats in beats.chunks(PRESENCE_BATCH_MAX) {
            self.tell(shard, ToOwner::Beats { beats: beats.to_vec() }, effects);
        }
    }

    fn session_id(&self, connection: ConnectionId) -> SessionId {
        SessionId(scatter(self.config.boot ^ connection.0))
    }
}

impl Session {
    /// The next sign of life, heard just now.
    fn next_beat(&mut self, session: SessionId) -> Option<Beat> {
        self.heartbeat.as_mut()?.number += 1;
        self.last_beat(session)
    }

    fn last_beat(&self, session: SessionId) -> Option<Beat> {
        let Heartbeat { state, background, number } = self.heartbeat?;
        Some(Beat { user: self.user.clone(), session, number, state, background, age_ms: 0 })
    }

    fn watch(&self, connection: ConnectionId) -> ToOwner {
        let users = self.watched.iter();
        let users = users.map(|(user, view)| Watched { user: user.clone(), told: view.told });
        ToOwner::Watch { connection, watcher: self.user.clone(), users: users.collect() }
    }
}

/// Tells the session if it doesn't know. A session that reads slowly hears the newest state later.
fn deliver(
    sessions: &mut Slots<crate::session::Session>,
    connection: ConnectionId,
    user: &UserId,
    view: &mut View,
    effects: &mut Vec<Effect>,
) {
    let Some(session) = sessions.get_mut(&connection) else { return };
    let Some(state) = view.state else { return };
    if view.told != Some(state) && !session.queue.is_long() {
        view.told = Some(state);
        let frame = encode(&ServerFrame::Presence { user: user.clone(), state });
        send_to(session, connection, frame, effects);
    }
}

fn age_ms(now: MonoTime, heard_at: MonoTime) -> u64 {
    u64::try_from((now - heard_at).as_millis()).unwrap_or(u64::MAX)
}
