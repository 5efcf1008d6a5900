//! Which gateways want to hear of which channel.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::ChannelKey;
use crate::link::LinkId;

/// The subscriptions of all links of one owner.
#[derive(Debug, Default)]
pub struct Interest {
    by_channel: BTreeMap<ChannelKey, BTreeSet<LinkId>>,
    by_link: BTreeMap<LinkId, BTreeSet<ChannelKey>>,
}

impl Interest {
    pub fn subscribe(&mut self, link: LinkId, channel: &ChannelKey) {
        self.by_channel.entry(channel.clone()).or_default().insert(link);
        self.by_link.entry(link).or_default().insert(channel.clone());
    }

    pub fn unsubscribe(&mut self, link: LinkId, channel: &ChannelKey) {
        if let Some(channels) = self.by_link.get_mut(&link) {
            channels.remove(channel);
        }
        self.remove_link(link, channel);
    }

    /// The link is gone, and with it all its subscriptions.
    pub fn drop_link(&mut self, link: LinkId) {
        for channel in self.by_link.remove(&link).unwrap_or_default() {
            self.remove_link(link, &channel);
        }
    }

    /// The links to send a copy to, one each.
    pub fn of(&self, channel: &ChannelKey) -> Vec<LinkId> {
        self.by_channel
            .get(channel)
            .map(|links| links.iter().copied().collect())
            .unwrap_or_default()
    }

    /// How many links want to hear of the channel.
    pub fn count(&self, channel: &ChannelKey) -> usize {
        self.by_channel.get(channel).map_or(0, BTreeSet::len)
    }

    fn remove_link(&mut self, link: LinkId, channel: &ChannelKey) {
        if let Some(links) = self.by_channel.get_mut(channel) {
            links.remove(&link);
            if links.is_empty() {
                self.by_channel.remove(channel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChannelId, WorkspaceId};

    fn channel(name: &str) -> ChannelKey {
        ChannelKey {
            workspace: WorkspaceId::new("w").unwrap(),
            channel: ChannelId::new(name).unwrap(),
        }
    }

    #[test]
    fn a_lost_link_takes_its_subscriptions_with_it_and_no_others() {
        let mut interest = Interest::default();
        interest.subscribe(LinkId(1), &channel("a"));
        interest.subscribe(LinkId(1), &channel("a"));
        interest.subscribe(LinkId(2), &channel("a"));
        interest.subscribe(LinkId(1), &channel("b"));
        assert_eq!(interest.of(&channel("a")), [LinkId(1), LinkId(2)]);

        interest.drop_link(LinkId(1));
        assert_eq!(interest.of(&channel("a")), [LinkId(2)]);
        assert_eq!(interest.of(&channel("b")), []);

        interest.unsubscribe(LinkId(2), &channel("a"));
        assert_eq!(interest.of(&channel("a")), []);
    }
}
