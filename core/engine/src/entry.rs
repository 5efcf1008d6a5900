//! What a channel's log holds.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ChannelKey, Epoch, Nonce, SeqNo, ShardId, UserId};
use crate::time::{LogTime, WallTime};

/// One numbered entry of a channel's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: SeqNo,
    /// When the owner numbered it.
    pub at: WallTime,
    pub content: Content,
}

/// The numbers of an entry and of its content on a link, and the lengths of its texts.
const NUMBERS_BYTES_MAX: usize = 32;

/// The length of one text on a link.
const LENGTH_BYTES_MAX: usize = 5;

impl Entry {
    /// What it takes on a link, estimated from above.
    pub fn link_bytes(&self) -> usize {
        let texts = match &self.content {
            Content::Message { sender, nonce, body } => {
                sender.as_str().len() + nonce.as_str().len() + body.len() + 3 * LENGTH_BYTES_MAX
            }
            Content::Created { by, kind: _, members } => {
                let names = members.iter().chain([by]);
                names.map(|name| name.as_str().len() + LENGTH_BYTES_MAX).sum()
            }
            Content::Added { user, by } | Content::Removed { user, by } => {
                user.as_str().len() + by.as_str().len() + 2 * LENGTH_BYTES_MAX
            }
            Content::Joined { user } | Content::Left { user } => {
                user.as_str().len() + LENGTH_BYTES_MAX
            }
        };
        NUMBERS_BYTES_MAX + texts
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    Message {
        sender: UserId,
        nonce: Nonce,
        body: Arc<str>,
    },
    /// The first entry of a channel that was made by `create_channel`; one that was made by its
    /// first join is public and has none. The members, with `by` among them, are members from
    /// this position on.
    Created {
        by: UserId,
        kind: ChannelKind,
        /// Sorted, each once.
        members: Vec<UserId>,
    },
    /// `user` is a member from this position on.
    Joined {
        user: UserId,
    },
    /// `user` is a member from this position on, because the member `by` wanted it.
    Added {
        user: UserId,
        by: UserId,
    },
    /// This is the last position at which `user` is a member.
    Left {
        user: UserId,
    },
    /// This is the last position at which `user` is a member, because `by` wanted it.
    Removed {
        user: UserId,
        by: UserId,
    },
}

/// Who may become a member of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// Everybody of the workspace who wants to.
    #[default]
    Public,
    /// Whom a member adds.
    Private,
    /// Those who were named when it was made, for ever.
    Direct,
}

/// What a user asked of a channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    Send(Nonce),
    Create,
    Join,
    Add(UserId),
    Leave,
    Remove(UserId),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(nonce) => write!(f, "nonce {nonce}"),
            Self::Create => f.write_str("creation"),
            Self::Join => f.write_str("join"),
            Self::Add(user) => write!(f, "addition of {user}"),
            Self::Leave => f.write_str("leave"),
            Self::Remove(user) => write!(f, "removal of {user}"),
        }
    }
}

impl Content {
    /// The request that made this entry: whose, and for what.
    pub fn asked(&self) -> (&UserId, Asked) {
        match self {
            Self::Message { sender, nonce, .. } => (sender, Asked::Send(nonce.clone())),
            Self::Created { by, .. } => (by, Asked::Create),
            Self::Joined { user } => (user, Asked::Join),
            Self::Added { user, by } => (by, Asked::Add(user.clone())),
            Self::Left { user } => (user, Asked::Leave),
            Self::Removed { user, by } => (by, Asked::Remove(user.clone())),
        }
    }

    /// Whether `by`, who asked for this, may be told that this entry is what came of it. A change
    /// of membership may have been made already, whoever asked for it first.
    pub fn answers(&self, by: &UserId, asked: &Asked) -> bool {
        match asked {
            Asked::Send(_) => self.asked() == (by, asked.clone()),
            Asked::Create | Asked::Join => self.begins().contains(by),
            Asked::Add(user) => self.begins().contains(user),
            Asked::Leave => self.ends() == Some(by),
            Asked::Remove(user) => self.ends() == Some(user),
        }
    }

    /// Who is a member from this entry on, if they weren't one before.
    pub fn begins(&self) -> &[UserId] {
        match self {
            Self::Created { members, .. } => members,
            Self::Joined { user } | Self::Added { user, .. } => std::slice::from_ref(user),
            Self::Message { .. } | Self::Left { .. } | Self::Removed { .. } => &[],
        }
    }

    /// Who is a member up to this entry and no longer.
    pub fn ends(&self) -> Option<&UserId> {
        match self {
            Self::Left { user } | Self::Removed { user, .. } => Some(user),
            Self::Message { .. }
            | Self::Created { .. }
            | Self::Joined { .. }
            | Self::Added { .. } => None,
        }
    }
}

/// An entry with the channel that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelEntry {
    pub channel: ChannelKey,
    pub entry: Entry,
}

/// How far a user has read a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadCursor {
    pub channel: ChannelKey,
    pub user: UserId,
    /// The last entry read.
    pub seq: SeqNo,
}

/// What one durable commit holds, all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub shard: ShardId,
    /// The writer's epoch; a store that knows a newer one refuses the batch.
    pub epoch: Epoch,
    /// The log's time when the batch is given to the store: that of no entry is later.
    pub at: LogTime,
    /// In the order in which they were numbered: within a channel, seq rises by one.
    pub entries: Vec<ChannelEntry>,
}
