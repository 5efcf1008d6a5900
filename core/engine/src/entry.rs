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
            Content::Created { by, nonce, kind: _, members } => {
                let names = members.iter().chain([by]);
                let names = names.map(|name| name.as_str().len() + LENGTH_BYTES_MAX);
                nonce.as_str().len() + LENGTH_BYTES_MAX + names.sum::<usize>()
            }
            Content::Added { user, by, nonce } | Content::Removed { user, by, nonce } => {
                let names = user.as_str().len() + by.as_str().len();
                names + nonce.as_str().len() + 3 * LENGTH_BYTES_MAX
            }
            Content::Joined { user, nonce } | Content::Left { user, nonce } => {
                user.as_str().len() + nonce.as_str().len() + 2 * LENGTH_BYTES_MAX
            }
        };
        NUMBERS_BYTES_MAX + texts
    }
}

/// What an entry says. Each was asked for by a user, under a nonce of theirs.
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
        nonce: Nonce,
        kind: ChannelKind,
        /// Sorted, each once.
        members: Vec<UserId>,
    },
    /// `user` is a member from this position on.
    Joined {
        user: UserId,
        nonce: Nonce,
    },
    /// `user` is a member from this position on, because the member `by` wanted it.
    Added {
        user: UserId,
        by: UserId,
        nonce: Nonce,
    },
    /// This is the last position at which `user` is a member.
    Left {
        user: UserId,
        nonce: Nonce,
    },
    /// This is the last position at which `user` is a member, because `by` wanted it.
    Removed {
        user: UserId,
        by: UserId,
        nonce: Nonce,
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

/// What a user asked of a channel, and the user's name for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    pub nonce: Nonce,
    pub wish: Wish,
}

/// What a user wants of a channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    Send,
    Create,
    Join,
    Add(UserId),
    Leave,
    Remove(UserId),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, nonce {}", self.wish, self.nonce)
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send => f.write_str("message"),
            Self::Create => f.write_str("creation"),
            Self::Join => f.write_str("join"),
            Self::Add(user) => write!(f, "addition of {user}"),
            Self::Leave => f.write_str("leave"),
            Self::Remove(user) => write!(f, "removal of {user}"),
        }
    }
}

impl Content {
    /// Whose request made this entry, and the nonce of it.
    pub fn author(&self) -> (&UserId, &Nonce) {
        match self {
            Self::Message { sender: by, nonce, .. }
            | Self::Created { by, nonce, .. }
            | Self::Joined { user: by, nonce }
            | Self::Added { by, nonce, .. }
            | Self::Left { user: by, nonce }
            | Self::Removed { by, nonce, .. } => (by, nonce),
        }
    }

    /// What its author wanted.
    pub fn wish(&self) -> Wish {
        match self {
            Self::Message { .. } => Wish::Send,
            Self::Created { .. } => Wish::Create,
            Self::Joined { .. } => Wish::Join,
            Self::Added { user, .. } => Wish::Add(user.clone()),
            Self::Left { .. } => Wish::Leave,
            Self::Removed { user, .. } => Wish::Remove(user.clone()),
        }
    }

    /// The request that made this entry: whose, and for what.
    pub fn asked(&self) -> (&UserId, Asked) {
        let (by, nonce) = self.author();
        (by, Asked { nonce: nonce.clone(), wish: self.wish() })
    }

    /// Whether `by`, who asked for this, may be told that this entry is what came of it. A change
    /// of membership may have been made already, whoever asked for it first.
    pub fn answers(&self, by: &UserId, asked: &Asked) -> bool {
        match &asked.wish {
            Wish::Send => self.asked() == (by, asked.clone()),
            Wish::Create | Wish::Join => self.begins().contains(by),
            Wish::Add(user) => self.begins().contains(user),
            Wish::Leave => self.ends() == Some(by),
            Wish::Remove(user) => self.ends() == Some(user),
        }
    }

    /// Who is a member from this entry on, if they weren't one before.
    pub fn begins(&self) -> &[UserId] {
        match self {
            Self::Created { members, .. } => members,
            Self::Joined { user, .. } | Self::Added { user, .. } => std::slice::from_ref(user),
            Self::Message { .. } | Self::Left { .. } | Self::Removed { .. } => &[],
        }
    }

    /// Who is a member up to this entry and no longer.
    pub fn ends(&self) -> Option<&UserId> {
        match self {
            Self::Left { user, .. } | Self::Removed { user, .. } => Some(user),
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

/// A change of members was asked for that had been made already. No entry is numbered for it, but
/// its nonce leads to the position of what made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    pub channel: ChannelKey,
    pub seq: SeqNo,
    /// When it was answered.
    pub at: WallTime,
    pub by: UserId,
    pub nonce: Nonce,
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
    pub confirmations: Vec<Confirmation>,
}

impl Batch {
    /// Without confirmations.
    pub fn of_entries(
        shard: ShardId,
        (epoch, at): (Epoch, LogTime),
        entries: Vec<ChannelEntry>,
    ) -> Self {
        Self { shard, epoch, at, entries, confirmations: Vec::new() }
    }
}
