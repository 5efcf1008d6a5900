//! What gateways and owners say to each other.
//!
//! A link joins one gateway to the owner of one shard. It is ordered and reliable while it lasts;
//! when it breaks, both ends forget what was in flight, and the gateway opens its users, its
//! subscriptions and its reads anew.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::frame::{ListedChannel, PresenceState, RejectCode};
use crate::history_bound::HistoryBound;
use crate::ids::{
    ChannelId, ChannelKey, ConnectionId, NodeId, Nonce, SeqNo, ShardId, UserId, UserKey,
};
use crate::membership::Change;
use crate::presence::{Beat, Watched};
use crate::time::WallTime;

/// Chosen by the gateway; the owner's reply repeats it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Ticket(pub u64);

/// One link of an owner, numbered by its shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// The first frame of a link, from the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkHello {
    pub version: u32,
    pub gateway: NodeId,
    pub shard: ShardId,
}

/// The version of the frames in this file.
pub const LINK_VERSION: u32 = 9;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToOwner {
    /// A user has a session at this gateway: which channels are theirs? Answered by
    /// [`FromOwner::Opened`]; from now on the gateway hears where the user's memberships begin and
    /// end.
    Open {
        ticket: Ticket,
        user: UserKey,
        /// Channels that sessions of the user go on with: have any of these memberships ended?
        resumed: Vec<ChannelId>,
    },
    /// A session of the user wants to go on where these channels were at these times. Answered by
    /// [`FromOwner::Located`].
    Locate {
        ticket: Ticket,
        user: UserKey,
        points: Vec<(ChannelId, WallTime)>,
    },
    /// The user's last session at this gateway ended.
    Close {
        user: UserKey,
    },
    /// Publish the channel's entries to this gateway. Answered by [`FromOwner::Head`].
    Subscribe {
        channel: ChannelKey,
    },
    Unsubscribe {
        channel: ChannelKey,
    },
    Submit {
        ticket: Ticket,
        channel: ChannelKey,
        sender: UserId,
        nonce: Nonce,
        body: Arc<str>,
    },
    /// `by` wants to change who is in the channel.
    Change {
        ticket: Ticket,
        channel: ChannelKey,
        by: UserId,
        nonce: Nonce,
        change: Change,
    },
    /// The user has read the channel up to `seq`. Not answered: [`FromOwner::Read`] follows.
    MarkRead {
        channel: ChannelKey,
        user: UserId,
        seq: SeqNo,
    },
    /// A page of entries. With `reader`, only if they are a member.
    Read {
        ticket: Ticket,
        channel: ChannelKey,
        reader: Option<UserId>,
        bound: HistoryBound,
        entries_max: u32,
    },
    /// The channels that the user may know of. Answered by [`FromOwner::Listed`].
    List {
        ticket: Ticket,
        user: UserKey,
        after: Option<ChannelId>,
        channels_max: u32,
    },
    /// Signs of life of sessions, all that are due: at most
    /// [`crate::limits::PRESENCE_BATCH_MAX`].
    Beats {
        beats: Vec<Beat>,
    },
    /// A session of `watcher` wants to hear how `users` are, and nobody else.
    Watch {
        connection: ConnectionId,
        watcher: UserKey,
        users: Vec<Watched>,
    },
    /// The user is writing in the channel. Nothing is answered.
    Typing {
        channel: ChannelKey,
        user: UserId,
    },
    Ping,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromOwner {
    Opened {
        ticket: Ticket,
        channels: Vec<OpenedChannel>,
        /// Those of the `resumed` channels that the user was in and is in no longer.
        ended: Vec<EndedChannel>,
    },
    /// Of each channel that the user is or was in, the position after which to go on: no entry up
    /// to it is as late as the time that was asked for, unless the user may not see it.
    Located {
        ticket: Ticket,
        points: Vec<(ChannelId, SeqNo)>,
    },
    /// Everything after `head` will be published on this link.
    Head {
        channel: ChannelKey,
        head: SeqNo,
    },
    /// Consecutive entries of one channel, all durable.
    Entries {
        channel: ChannelKey,
        entries: Vec<Entry>,
    },
    Accepted {
        ticket: Ticket,
        seq: SeqNo,
        at: WallTime,
        duplicate: bool,
    },
    Rejected {
        ticket: Ticket,
        code: RejectCode,
        message: String,
    },
    Page {
        ticket: Ticket,
        entries: Vec<Entry>,
        /// What was asked for up to here is gone.
        trimmed_upto: Option<SeqNo>,
        head: SeqNo,
    },
    Listed {
        ticket: Ticket,
        channels: Vec<ListedChannel>,
        more: bool,
    },
    /// A user who is open at this gateway became a member.
    Joined {
        user: UserKey,
        channel: ChannelId,
        seq: SeqNo,
    },
    /// A user who is open at this gateway is a member up to `until` and no longer. It comes before
    /// every entry from `until` on.
    Left {
        user: UserKey,
        channel: ChannelId,
        until: SeqNo,
    },
    /// How far a user who is open at this gateway has read. It is durable.
    Read {
        user: UserKey,
        channel: ChannelId,
        seq: SeqNo,
    },
    /// How users are, at most [`crate::limits::PRESENCE_BATCH_MAX`] sessions told.
    Presence {
        told: Vec<Told>,
    },
    /// A member is writing in the channel.
    Typing {
        channel: ChannelKey,
        user: UserId,
    },
    Pong,
}

/// How one user is, for the sessions that watch and may know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub user: UserKey,
    pub state: PresenceState,
    pub connections: Vec<ConnectionId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedChannel {
    pub channel: ChannelId,
    /// The position of the user's join.
    pub joined: SeqNo,
    /// How far the user has read.
    pub read: SeqNo,
    pub head: SeqNo,
    /// Entries up to here are gone, if any are.
    pub trimmed_upto: Option<SeqNo>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedChannel {
    pub channel: ChannelId,
    /// The last position at which the user was a member.
    pub until: SeqNo,
}
