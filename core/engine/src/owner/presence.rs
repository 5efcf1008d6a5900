//! The owner's part in presence and typing: it knows who shares a channel, and which gateways
//! listen.

use std::collections::BTreeMap;

use super::{Effect, Owner};
use crate::frame::PresenceState;
use crate::ids::{ChannelKey, ConnectionId, UserId, UserKey};
use crate::limits::PRESENCE_BATCH_MAX;
use crate::link::{FromOwner, LinkId, Told};
use crate::presence::{Input, Tell};
use crate::time::MonoTime;

/// What the sessions of one gateway are told.
type ByUser = BTreeMap<(UserKey, PresenceState), Vec<ConnectionId>>;

impl Owner {
    /// When to feed [`super::Input::Tick`], if nothing else happens before.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.presence.next_deadline().into_iter().chain(self.read_cursors.next_deadline()).min()
    }

    pub(super) fn presence(&mut self, now: MonoTime, input: Input, effects: &mut Vec<Effect>) {
        let mut tells = Vec::new();
        self.presence.handle(now, input, &self.membership, &mut tells);
        let mut by_link: BTreeMap<LinkId, ByUser> = BTreeMap::new();
        for Tell { watcher, user, state } in tells {
            let by_user = by_link.entry(watcher.link).or_default();
            by_user.entry((user, state)).or_default().push(watcher.connection);
        }
        for (link, by_user) in by_link {
            for told in in_frames(by_user) {
                let frame = FromOwner::Presence { told };
                effects.push(Effect::Send { links: vec![link], frame });
            }
        }
    }

    /// Relays that `user` is writing, to every gateway with a session in the channel.
    pub(super) fn typing(&mut self, channel: ChannelKey, user: UserId, effects: &mut Vec<Effect>) {
        let links = self.interest.of(&channel);
        if self.membership.joined(&channel, &user).is_some() && !links.is_empty() {
            effects.push(Effect::Send { links, frame: FromOwner::Typing { channel, user } });
        }
    }
}

/// Cut so that no frame tells more than [`PRESENCE_BATCH_MAX`] sessions.
fn in_frames(by_user: ByUser) -> Vec<Vec<Told>> {
    let mut frames = vec![Vec::new()];
    let mut room = PRESENCE_BATCH_MAX;
    for ((user, state), connections) in by_user {
        for connections in connections.chunks(PRESENCE_BATCH_MAX) {
            if connections.len() > room {
                frames.push(Vec::new());
                room = PRESENCE_BATCH_MAX;
            }
            room -= connections.len();
            let told = Told { user: user.clone(), state, connections: connections.to_vec() };
            frames.last_mut().expect("begins with one").push(told);
        }
    }
    frames
}
