//! What the store did not keep.

use super::Owner;
use crate::ids::{ChannelKey, SeqNo};

impl Owner {
    /// The store let entries go.
    pub(super) fn trimmed(&mut self, channels: Vec<(ChannelKey, SeqNo)>) {
        for (key, upto) in channels {
            if let Some(channel) = self.channels.get_mut(&key) {
                channel.trimmed_upto = channel.trimmed_upto.max(upto);
            }
        }
    }

    /// Up to where the channel is gone, if any of it is.
    pub(super) fn trimmed_upto(&self, channel: &ChannelKey) -> Option<SeqNo> {
        let upto = self.channels.get(channel)?.trimmed_upto;
        (upto > SeqNo::ZERO).then_some(upto)
    }
}
