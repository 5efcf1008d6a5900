//! Read positions on their way: a session's mark to the owner, the durable position to every
//! session of the user.

use super::{Effect, Gateway};
use crate::frame::ServerFrame;
use crate::ids::{ChannelId, ChannelKey, ConnectionId, SeqNo, UserKey};
use crate::levels::Limit;
use crate::link::ToOwner;
use crate::session::Phase;

impl Gateway {
    /// A mark that is lost on the way, or comes too often, is made good by the next one, or by the
    /// client, which repeats what it does not hear of.
    pub(super) fn mark_read(
        &mut self,
        connection: ConnectionId,
        user: &UserKey,
        channel: ChannelId,
        seq: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let key = ChannelKey { workspace: user.workspace.clone(), channel };
        let follows = self
            .channels
            .get_mut(&key)
            .is_some_and(|channel| channel.followers.get_mut(connection).is_some());
        if !follows {
            return;
        }
        if self.rates.admit(self.now, user).is_err() {
            self.counts.hits.hit(Limit::UserRate);
            return;
        }
        let frame = ToOwner::MarkRead { channel: key, user: user.user.clone(), seq };
        self.tell(self.shard_of(&user.workspace), frame, effects);
    }

    /// Tells the user's sessions that have the channel.
    pub(super) fn tell_read(
        &mut self,
        user: &UserKey,
        channel: ChannelId,
        seq: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let key = ChannelKey { workspace: user.workspace.clone(), channel: channel.clone() };
        let frame = ServerFrame::Read { channel, seq };
        for connection in self.users.get(user).cloned().unwrap_or_default() {
            let session = self.sessions.get(&connection);
            let has = session.is_some_and(|session| match &session.phase {
                Phase::Live { channels, .. } => channels.contains(&key),
                Phase::Greeting | Phase::Opening { .. } => false,
            });
            if has {
                self.send(connection, &frame, effects);
            }
        }
    }
}
