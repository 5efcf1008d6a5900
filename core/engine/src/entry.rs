//! What a channel's log holds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ChannelKey, Epoch, Nonce, SeqNo, ShardId, UserId};
use crate::time::WallTime;

/// One numbered entry of a channel's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: SeqNo,
    /// When the owner numbered it.
    pub at: WallTime,
    pub content: Content,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    Message {
        sender: UserId,
        nonce: Nonce,
        body: Arc<str>,
    },
    /// `user` is a member from this position on.
    Joined {
        user: UserId,
    },
}

/// An entry with the channel that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelEntry {
    pub channel: ChannelKey,
    pub entry: Entry,
}

/// What one durable commit holds, all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub shard: ShardId,
    /// The writer's epoch; a store that knows a newer one refuses the batch.
    pub epoch: Epoch,
    /// In the order in which they were numbered: within a channel, seq rises by one.
    pub entries: Vec<ChannelEntry>,
}
