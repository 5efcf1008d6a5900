//! The sessions that count for their users' presence, each with the time until which it does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Beat, SessionId};
use crate::frame::PresenceState;
use crate::ids::UserKey;
use crate::limits::{PRESENCE_BACKGROUND_TTL, PRESENCE_TTL};
use crate::time::MonoTime;

/// The table, with a queue of deadlines.
#[derive(Debug, Default)]
pub struct Sessions {
    users: BTreeMap<UserKey, BTreeMap<SessionId, Session>>,
    /// One for each session, at its `queued_for`: a beat moves the session's own deadline and
    /// leaves the queue alone.
    deadlines: BTreeSet<(MonoTime, UserKey, SessionId)>,
}

#[derive(Debug)]
struct Session {
    state: PresenceState,
    number: u64,
    until: MonoTime,
    queued_for: MonoTime,
}

/// How long a session counts after it was heard.
fn time_to_live(background: bool) -> Duration {
    if background { PRESENCE_BACKGROUND_TTL } else { PRESENCE_TTL }
}

impl Sessions {
    /// Takes a sign of life. True when the user's merged state has changed.
    pub fn beat(&mut self, now: MonoTime, beat: &Beat) -> bool {
        let before = self.state(&beat.user);
        let known = self.users.get(&beat.user).and_then(|sessions| sessions.get(&beat.session));
        if known.is_some_and(|known| beat.number < known.number) {
            return false;
        }
        // What is left of its life, not when it was heard: that may be before this clock began.
        let age = Duration::from_millis(beat.age_ms);
        let left = time_to_live(beat.background).saturating_sub(age);
        if beat.state == PresenceState::Offline {
            self.remove(&beat.user, beat.session);
        } else if !left.is_zero() {
            self.put(beat, now + left);
        }
        self.state(&beat.user) != before
    }

    /// The state of the user's most present session.
    pub fn state(&self, user: &UserKey) -> PresenceState {
        let sessions = self.users.get(user).into_iter().flatten();
        sessions.map(|(_, session)| session.state).max().unwrap_or(PresenceState::Offline)
    }

    /// Takes out what has run out. Returns the users whose merged state has changed.
    pub fn sweep(&mut self, now: MonoTime) -> Vec<UserKey> {
        let mut changed = Vec::new();
        while self.deadlines.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, user, id)) = self.deadlines.pop_first() else { break };
            let session = self.users.get_mut(&user).and_then(|sessions| sessions.get_mut(&id));
            let session = session.expect("a deadline belongs to a session");
            if session.until > now {
                session.queued_for = session.until;
                self.deadlines.insert((session.until, user, id));
                continue;
            }
            let before = self.state(&user);
            self.forget(&user, id);
            if self.state(&user) != before {
                changed.push(user);
            }
        }
        changed
    }

    /// When a session may run out, if it is not heard before.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.deadlines.first().map(|(at, ..)| *at)
    }

    /// How many sessions there are.
    pub fn count(&self) -> usize {
        self.deadlines.len()
    }

    fn put(&mut self, beat: &Beat, until: MonoTime) {
        let Beat { user, session: id, number, state, .. } = beat;
        let sessions = self.users.entry(user.clone()).or_default();
        let fresh = Session { state: *state, number: *number, until, queued_for: until };
        let session = sessions.entry(*id).or_insert(fresh);
        (session.state, session.number, session.until) = (*state, *number, until);
        // From background to foreground, a session's deadline comes nearer.
        if until < session.queued_for {
            self.deadlines.remove(&(session.queued_for, user.clone(), *id));
            session.queued_for = until;
        }
        self.deadlines.insert((session.queued_for, user.clone(), *id));
    }

    fn remove(&mut self, user: &UserKey, id: SessionId) {
        if let Some(session) = self.forget(user, id) {
            self.deadlines.remove(&(session.queued_for, user.clone(), id));
        }
    }

    fn forget(&mut self, user: &UserKey, id: SessionId) -> Option<Session> {
        let sessions = self.users.get_mut(user)?;
        let session = sessions.remove(&id);
        if sessions.is_empty() {
            self.users.remove(user);
        }
        session
    }
}
