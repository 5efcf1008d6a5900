//! Reads of the log that serve sessions which are behind, one read for all that want the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ChannelKey, ConnectionId, SeqNo};

/// The pages on their way, and who waits for each.
#[derive(Debug, Default)]
pub struct CatchUp {
    waiting: BTreeMap<(ChannelKey, SeqNo), BTreeSet<ConnectionId>>,
}

impl CatchUp {
    /// `connection` wants the page after `after`. True when the caller has to ask for it; false
    /// when it is on its way already.
    pub fn want(&mut self, channel: &ChannelKey, after: SeqNo, connection: ConnectionId) -> bool {
        let waiting = self.waiting.entry((channel.clone(), after)).or_default();
        waiting.insert(connection);
        waiting.len() == 1
    }

    /// The page came, or never will: gives and forgets who waited.
    pub fn take(&mut self, channel: &ChannelKey, after: SeqNo) -> BTreeSet<ConnectionId> {
        self.waiting.remove(&(channel.clone(), after)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChannelId, WorkspaceId};

    #[test]
    fn one_read_serves_all_who_want_the_same_page() {
        let channel = ChannelKey {
            workspace: WorkspaceId::new("w").unwrap(),
            channel: ChannelId::new("c").unwrap(),
        };
        let mut catch_up = CatchUp::default();
        assert!(catch_up.want(&channel, SeqNo(3), ConnectionId(1)));
        assert!(!catch_up.want(&channel, SeqNo(3), ConnectionId(2)));
        assert!(catch_up.want(&channel, SeqNo(4), ConnectionId(3)));
        assert_eq!(catch_up.take(&channel, SeqNo(3)).len(), 2);
        assert!(catch_up.want(&channel, SeqNo(3), ConnectionId(1)));
    }
}
