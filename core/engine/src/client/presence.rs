//! The client's part in presence: says how its user is, and asks how others are.

use super::{Client, ClientEvent, Effect, Phase};
use crate::frame::{ClientFrame, PresenceState};
use crate::ids::{ChannelId, UserId};
use crate::limits::{CLIENT_SILENCE_BACKGROUND_MAX, CLIENT_SILENCE_MAX};
use crate::time::MonoTime;

/// What the application last said, to say it again on the next session.
#[derive(Debug)]
pub(super) struct Presence {
    state: PresenceState,
    background: bool,
    watched: Vec<UserId>,
}

impl Default for Presence {
    fn default() -> Self {
        Self { state: PresenceState::Active, background: false, watched: Vec::new() }
    }
}

impl Client {
    /// The application is a hidden browser tab, or says so.
    pub fn is_in_background(&self) -> bool {
        self.presence.background
    }

    /// How long the server may be silent before it is taken for gone.
    pub(super) fn silence_max(&self) -> std::time::Duration {
        if self.presence.background { CLIENT_SILENCE_BACKGROUND_MAX } else { CLIENT_SILENCE_MAX }
    }

    pub(super) fn set_presence(
        &mut self,
        now: MonoTime,
        state: PresenceState,
        background: bool,
        effects: &mut Vec<Effect>,
    ) {
        if self.presence.background && !background {
            // What was not heard while timers were throttled says nothing about the server.
            self.heard_at = now;
        }
        (self.presence.state, self.presence.background) = (state, background);
        if matches!(self.phase, Phase::Live { .. }) {
            self.beat(now, effects);
        }
    }

    pub(super) fn watch(&mut self, now: MonoTime, users: Vec<UserId>, effects: &mut Vec<Effect>) {
        self.presence.watched = users;
        if matches!(self.phase, Phase::Live { .. }) {
            self.subscribe(now, effects);
        }
    }

    /// Not worth repeating: without a session it is forgotten.
    pub(super) fn type_in(&mut self, now: MonoTime, channel: ChannelId, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Live { .. }) {
            self.say(now, ClientFrame::Typing { channel }, effects);
        }
    }

    /// A session has begun.
    pub(super) fn begin_presence(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        self.beat(now, effects);
        if !self.presence.watched.is_empty() {
            self.subscribe(now, effects);
        }
    }

    pub(super) fn beat(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        let Presence { state, background, .. } = self.presence;
        self.say(now, ClientFrame::Heartbeat { state, background }, effects);
        effects.push(Effect::Emit(ClientEvent::Heartbeat { state, background }));
    }

    fn subscribe(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        self.last_id += 1;
        let (id, users) = (self.last_id, self.presence.watched.clone());
        self.say(now, ClientFrame::PresenceSubscribe { id, users }, effects);
        let users = self.presence.watched.clone();
        effects.push(Effect::Emit(ClientEvent::Watching { users }));
    }
}
