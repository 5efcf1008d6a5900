//! Who shares a channel with whom, as the log and what is asked of it tell: possibly, and surely.

use std::collections::BTreeMap;
use std::time::Duration;

use seriatim_engine::entry::{Asked, Content, Entry, Wish};
use seriatim_engine::ids::{SeqNo, UserId, UserKey, WorkspaceId};

use super::super::ChannelNumber;

/// The memberships of all users.
#[derive(Debug, Default)]
pub(super) struct Shares {
    of: BTreeMap<UserKey, BTreeMap<ChannelNumber, Membership>>,
    /// Channels that somebody wants to create, with whomever, and of which no entry was seen.
    being_made: BTreeMap<ChannelNumber, WorkspaceId>,
}

/// One user's part in one channel.
#[derive(Debug, Clone, Copy, Default)]
struct Membership {
    /// The newest entry about it.
    told_at: SeqNo,
    /// Since when it holds, as somebody has seen.
    seen_since: Option<Duration>,
    /// Since when it is over, as somebody has seen.
    over_since: Option<Duration>,
    /// Somebody asked for it, or it was there.
    possible: bool,
    /// Somebody asked for its end.
    ending: bool,
}

impl Membership {
    fn may_hold(&self, from: Duration) -> bool {
        self.possible && self.over_since.is_none_or(|over| from <= over)
    }

    fn surely_holds(&self, since: Duration) -> bool {
        !self.ending && self.seen_since.is_some_and(|seen| seen <= since)
    }
}

impl Shares {
    /// `user` wants a channel's membership to change.
    pub(super) fn asked(&mut self, by: &UserKey, channel: ChannelNumber, asked: &Asked) {
        match &asked.wish {
            Wish::Create => {
                self.being_made.insert(channel, by.workspace.clone());
            }
            Wish::Join => self.begins(&by.workspace, &by.user, channel),
            Wish::Add(user) => self.begins(&by.workspace, user, channel),
            Wish::Leave => self.membership(&by.workspace, &by.user, channel).ending = true,
            Wish::Remove(user) => self.membership(&by.workspace, user, channel).ending = true,
            Wish::Send => {}
        }
    }

    fn begins(&mut self, workspace: &WorkspaceId, user: &UserId, channel: ChannelNumber) {
        let membership = self.membership(workspace, user, channel);
        membership.possible = true;
        membership.over_since = None;
    }

    /// An entry of the channel's log was seen. Returns whose membership it changes.
    pub(super) fn entry(
        &mut self,
        at: Duration,
        workspace: &WorkspaceId,
        channel: ChannelNumber,
        entry: &Entry,
    ) -> Vec<UserId> {
        self.being_made.remove(&channel);
        let (users, holds): (&[UserId], bool) = match &entry.content {
            Content::Created { members, .. } => (members, true),
            Content::Joined { user, .. } | Content::Added { user, .. } => {
                (std::slice::from_ref(user), true)
            }
            Content::Left { user, .. } | Content::Removed { user, .. } => {
                (std::slice::from_ref(user), false)
            }
            Content::Message { .. } => return Vec::new(),
        };
        let mut changed = Vec::new();
        for user in users {
            let membership = self.membership(workspace, user, channel);
            if entry.seq <= membership.told_at {
                continue;
            }
            membership.told_at = entry.seq;
            membership.possible = true;
            membership.seen_since = holds.then_some(at);
            membership.over_since = (!holds).then_some(at);
            membership.ending &= holds;
            changed.push(user.clone());
        }
        changed
    }

    fn membership(
        &mut self,
        workspace: &WorkspaceId,
        user: &UserId,
        channel: ChannelNumber,
    ) -> &mut Membership {
        let key = UserKey { workspace: workspace.clone(), user: user.clone() };
        self.of.entry(key).or_default().entry(channel).or_default()
    }

    /// There may be a channel that both were in at some moment from `from` on.
    pub(super) fn may(&self, one: &UserKey, other: &UserKey, from: Duration) -> bool {
        self.being_made.values().any(|workspace| *workspace == one.workspace)
            || self.both(one, other).any(|(one, other)| one.may_hold(from) && other.may_hold(from))
    }

    /// There surely is a channel that both have been in since `since`.
    pub(super) fn surely(&self, one: &UserKey, other: &UserKey, since: Duration) -> bool {
        let mut both = self.both(one, other);
        both.any(|(one, other)| one.surely_holds(since) && other.surely_holds(since))
    }

    /// The user may have been in the channel at some moment from `from` on.
    pub(super) fn may_be_in(&self, user: &UserKey, channel: ChannelNumber, from: Duration) -> bool {
        let membership = self.of.get(user).and_then(|of| of.get(&channel));
        self.being_made.contains_key(&channel) || membership.is_some_and(|one| one.may_hold(from))
    }

    /// Their parts in each channel that both have to do with.
    fn both<'a>(
        &'a self,
        one: &UserKey,
        other: &UserKey,
    ) -> impl Iterator<Item = (&'a Membership, &'a Membership)> + use<'a> {
        let pairs = self.of.get(one).zip(self.of.get(other));
        pairs.into_iter().flat_map(|(one, other)| {
            one.iter().filter_map(|(channel, one)| Some((one, other.get(channel)?)))
        })
    }
}
