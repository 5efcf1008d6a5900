//! Who is in which channel, as the durable log says.

use std::collections::BTreeMap;

use crate::ids::{ChannelId, ChannelKey, SeqNo, UserId, UserKey};

/// The memberships of one shard.
#[derive(Debug, Default)]
pub struct Membership {
    by_user: BTreeMap<UserKey, BTreeMap<ChannelId, SeqNo>>,
}

impl Membership {
    /// `user` is a member from `seq` on. A second join changes nothing.
    pub fn join(&mut self, channel: &ChannelKey, user: &UserId, seq: SeqNo) {
        self.by_user
            .entry(user_key(channel, user))
            .or_default()
            .entry(channel.channel.clone())
            .or_insert(seq);
    }

    /// The position of the user's join, if they are a member.
    pub fn joined(&self, channel: &ChannelKey, user: &UserId) -> Option<SeqNo> {
        self.by_user.get(&user_key(channel, user))?.get(&channel.channel).copied()
    }

    /// The user's channels, each with the position of their join.
    pub fn of(&self, user: &UserKey) -> impl Iterator<Item = (&ChannelId, SeqNo)> {
        self.by_user.get(user).into_iter().flatten().map(|(channel, seq)| (channel, *seq))
    }

    /// Whether some channel has both as members.
    pub fn share_a_channel(&self, one: &UserKey, other: &UserKey) -> bool {
        let (Some(ones), Some(others)) = (self.by_user.get(one), self.by_user.get(other)) else {
            return false;
        };
        let (few, many) = if ones.len() < others.len() { (ones, others) } else { (others, ones) };
        one.workspace == other.workspace && few.keys().any(|channel| many.contains_key(channel))
    }
}

fn user_key(channel: &ChannelKey, user: &UserId) -> UserKey {
    UserKey { workspace: channel.workspace.clone(), user: user.clone() }
}
