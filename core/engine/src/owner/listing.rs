//! Which channels of a workspace a user is told of.
//!
//! All public ones, and those that the user is in. Of the private and direct channels of others
//! nothing is told, not even that there are any: what a page goes through is what it shows. Told is
//! what is durable.

use std::collections::{BTreeMap, BTreeSet};

use super::Owner;
use crate::entry::ChannelKind;
use crate::frame::ListedChannel;
use crate::ids::{ChannelId, ChannelKey, UserKey, WorkspaceId};
use crate::limits::CHANNELS_LISTED_MAX;

/// The public channels of a shard.
#[derive(Debug, Default)]
pub(super) struct Listing {
    public: BTreeMap<WorkspaceId, BTreeSet<ChannelId>>,
}

impl Listing {
    /// The store holds the channel's first entry.
    pub(super) fn made(&mut self, key: &ChannelKey, kind: ChannelKind) {
        if kind == ChannelKind::Public {
            let of_workspace = self.public.entry(key.workspace.clone()).or_default();
            of_workspace.insert(key.channel.clone());
        }
    }
}

impl Owner {
    /// The first channels behind `after`, by name, and whether there are more.
    pub(super) fn list(
        &self,
        user: &UserKey,
        after: Option<&ChannelId>,
        channels_max: u32,
    ) -> (Vec<ListedChannel>, bool) {
        let most = usize::try_from(channels_max).unwrap_or(CHANNELS_LISTED_MAX);
        let most = most.clamp(1, CHANNELS_LISTED_MAX);
        let is_after = |name: &&ChannelId| after.is_none_or(|after| *name > after);
        let public = self.listing.public.get(&user.workspace);
        let first = after.cloned().unwrap_or_else(ChannelId::least);
        let public = public.into_iter().flat_map(|names| names.range(first.clone()..));
        let own = self.membership.of(user).map(|(name, _)| name);
        // One more than is shown tells whether there are more.
        let mut names: BTreeSet<&ChannelId> = public.filter(is_after).take(most + 1).collect();
        names.extend(own.filter(is_after).take(most + 1));
        let more = names.len() > most;
        let row = |name: &ChannelId| {
            let key = ChannelKey { workspace: user.workspace.clone(), channel: name.clone() };
            let channel = self.channels.get(&key).expect("a listed channel exists");
            let kind = channel.origin.kind;
            let member = self.membership.joined(&key, &user.user).is_some();
            ListedChannel { channel: key.channel, kind, member }
        };
        (names.into_iter().take(most).map(row).collect(), more)
    }
}
