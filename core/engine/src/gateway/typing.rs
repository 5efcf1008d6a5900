//! Who is writing: relayed at once, never stored, the first thing that a slow session goes without.

use super::presence::Session;
use super::{Effect, Gateway, encode, send_to};
use crate::frame::ServerFrame;
use crate::ids::{ChannelId, ChannelKey, ConnectionId, UserId, UserKey};
use crate::limits::TYPING_INTERVAL;
use crate::link::ToOwner;
use crate::time::MonoTime;

impl Gateway {
    /// `typing` frames that went no further: sent too often, or to a session that reads slowly.
    pub fn typing_dropped(&self) -> u64 {
        self.presence.typing_dropped
    }

    pub(super) fn typing(
        &mut self,
        now: MonoTime,
        connection: ConnectionId,
        user: &UserKey,
        channel: ChannelId,
        effects: &mut Vec<Effect>,
    ) {
        let key = ChannelKey { workspace: user.workspace.clone(), channel: channel.clone() };
        let channel_here = self.channels.get_mut(&key);
        if channel_here.and_then(|here| here.followers.get_mut(connection)).is_none() {
            return;
        }
        let sessions = &mut self.presence.sessions;
        let session = sessions.entry(connection).or_insert_with(|| Session::new(user.clone()));
        session.typed.retain(|_, at| now < *at + TYPING_INTERVAL);
        if session.typed.contains_key(&channel) {
            self.presence.typing_dropped += 1;
            return;
        }
        session.typed.insert(channel, now);
        let frame = ToOwner::Typing { channel: key, user: user.user.clone() };
        self.tell(self.shard_of(&user.workspace), frame, effects);
    }

    /// Tells the channel's sessions here, but for the user's own.
    pub(super) fn relay_typing(
        &mut self,
        key: &ChannelKey,
        user: &UserId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get(key) else { return };
        let frame = ServerFrame::Typing { channel: key.channel.clone(), user: user.clone() };
        let frame = encode(&frame);
        let members = channel.followers.iter().filter(|cursor| !cursor.is_ending());
        for connection in members.map(|cursor| cursor.connection) {
            let Some(session) = self.sessions.get_mut(&connection) else { continue };
            if session.user().is_some_and(|own| own.user == *user) {
                continue;
            }
            if session.queue.is_long() {
                self.presence.typing_dropped += 1;
            } else {
                send_to(session, connection, frame.clone(), effects);
            }
        }
    }
}
