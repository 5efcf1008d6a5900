//! The frames of the wire protocol `seriatim.v1`, as `docs/protocol.md` documents them.
//!
//! A frame is one JSON object in one WebSocket text message; `type` says which. Requests carry
//! `id`; their reply carries the same number as `reply_to`. Unknown fields are ignored, unknown
//! types are rejected.

mod code;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::entry::{ChannelKind, Content, Entry};
use crate::history_bound::HistoryBound;
use crate::ids::{ChannelId, Nonce, SeqNo, UserId, WorkspaceId};
use crate::limits::FRAME_ERROR_BYTES_MAX;
use crate::time::WallTime;

pub use code::{GoodbyeCode, RejectCode};

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// The first frame of every connection.
    Hello {
        token: String,
        /// Where to go on, per channel. A channel left out starts at its head.
        #[serde(default)]
        resume: Vec<Resume>,
        /// Name and version of the client program, for the server's logs.
        #[serde(default)]
        client: String,
    },
    Send {
        id: u64,
        channel: ChannelId,
        nonce: Nonce,
        body: Arc<str>,
    },
    /// Makes the user a member; creates the channel if there is none of this name.
    Join {
        id: u64,
        channel: ChannelId,
        nonce: Nonce,
    },
    /// Makes a channel of a kind, with members from its first entry on.
    CreateChannel {
        id: u64,
        /// May be left out of a direct channel, whose name follows from its members.
        #[serde(default)]
        channel: Option<ChannelId>,
        nonce: Nonce,
        kind: ChannelKind,
        /// The user may be left out: they are one anyway.
        #[serde(default)]
        members: Vec<UserId>,
    },
    /// The user is a member no longer.
    Leave {
        id: u64,
        channel: ChannelId,
        nonce: Nonce,
    },
    AddMember {
        id: u64,
        channel: ChannelId,
        nonce: Nonce,
        user: UserId,
    },
    RemoveMember {
        id: u64,
        channel: ChannelId,
        nonce: Nonce,
        user: UserId,
    },
    /// Asks for a page of the channel's log: exactly one of the bounds names it, as
    /// [`crate::history_bound::HistoryBound`] explains.
    History {
        id: u64,
        channel: ChannelId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<SeqNo>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<SeqNo>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since_ms: Option<WallTime>,
        /// At most this many entries; the server's own limit also holds.
        #[serde(default)]
        limit: Option<u32>,
    },
    /// Asks for the channels of the workspace that the user may know of, in the order of their names.
    ListChannels {
        id: u64,
        /// Those behind this name only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<ChannelId>,
        /// At most so many; the server's own limit also holds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    Ping,
    /// How the user is, as this session knows. Answered by `pong`.
    Heartbeat {
        state: PresenceState,
        /// The client's timers may be throttled to one a minute: be patient with it.
        #[serde(default)]
        background: bool,
    },
    /// From now on, tell the session how these users are, and nobody else.
    PresenceSubscribe {
        id: u64,
        users: Vec<UserId>,
    },
    /// The user is writing in the channel.
    Typing {
        channel: ChannelId,
    },
    /// The user has read the channel up to `seq`.
    Read {
        channel: ChannelId,
        seq: SeqNo,
    },
}

/// How a user is. Of several sessions, the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    Offline,
    Away,
    Active,
}

impl PresenceState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Away => "away",
            Self::Active => "active",
        }
    }
}

/// A position to resume from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    pub channel: ChannelId,
    /// The last position that the client has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SeqNo>,
    /// Instead: every entry that is as late as this is to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<WallTime>,
}

impl Resume {
    /// The client has everything up to `after`.
    pub fn after(channel: ChannelId, after: SeqNo) -> Self {
        Self { channel, after: Some(after), since_ms: None }
    }

    /// The client wants every entry that is as late as `since`.
    pub fn since(channel: ChannelId, since: WallTime) -> Self {
        Self { channel, after: None, since_ms: Some(since) }
    }

    pub fn names_one_point(&self) -> bool {
        self.after.is_some() != self.since_ms.is_some()
    }
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The answer to `hello`.
    Welcome {
        session: String,
        user: UserId,
        workspace: WorkspaceId,
        heartbeat_ms: u64,
        channels: Vec<ChannelStatus>,
    },
    /// The user became a member during the session.
    Channel(ChannelStatus),
    /// The user is a member no longer, and the session was sent all that it is going to be.
    Left {
        channel: ChannelId,
        until: SeqNo,
    },
    Accepted {
        reply_to: u64,
        channel: ChannelId,
        seq: SeqNo,
        at_ms: WallTime,
        /// It had been done already: this is what it led to the first time.
        duplicate: bool,
    },
    Rejected {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<u64>,
        code: RejectCode,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    Page {
        reply_to: u64,
        channel: ChannelId,
        messages: Vec<LogFrame>,
        /// There are later entries; of a page `before` a position, earlier ones.
        more: bool,
        /// Of the entries that were asked for, those up to this one are gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trimmed_upto: Option<SeqNo>,
    },
    /// The channel's entries up to `upto` are gone: the session goes on behind it.
    Trimmed {
        channel: ChannelId,
        upto: SeqNo,
    },
    /// The answer to `list_channels`.
    ChannelList {
        reply_to: u64,
        channels: Vec<ListedChannel>,
        /// There are more behind the last of them.
        more: bool,
    },
    /// The session has every entry up to `head` and is live.
    CaughtUp {
        channel: ChannelId,
        head: SeqNo,
    },
    /// The server is about to close the connection.
    Goodbye {
        code: GoodbyeCode,
        message: String,
        /// Come back after this many milliseconds; absent: coming back is of no use.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconnect_after_ms: Option<u64>,
    },
    Pong,
    /// How a user is whom the session asked about: at first, and whenever it changes.
    Presence {
        user: UserId,
        state: PresenceState,
    },
    /// A member is writing in the channel. Not stored, not repeated, may be left out.
    Typing {
        channel: ChannelId,
        user: UserId,
    },
    /// The user has read the channel up to `seq`, on whatever session; it will not be forgotten.
    Read {
        channel: ChannelId,
        seq: SeqNo,
    },
    /// `message` or `event`.
    #[serde(untagged)]
    Log(LogFrame),
}

/// A channel as a session sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStatus {
    pub channel: ChannelId,
    /// The channel's newest position.
    pub head: SeqNo,
    /// The session is sent everything after this position.
    pub after: SeqNo,
    /// The user has read everything up to here.
    #[serde(default)]
    pub read: SeqNo,
    /// The user is a member no longer: the session is sent everything up to here, and `left`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<SeqNo>,
    /// Entries up to here are gone, if any are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trimmed_upto: Option<SeqNo>,
}

/// A channel that a user may know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedChannel {
    pub channel: ChannelId,
    pub kind: ChannelKind,
    /// The user is in it.
    pub member: bool,
}

/// One numbered entry of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogFrame {
    Message {
        channel: ChannelId,
        seq: SeqNo,
        sender: UserId,
        nonce: Nonce,
        body: Arc<str>,
        at_ms: WallTime,
    },
    Event {
        channel: ChannelId,
        seq: SeqNo,
        #[serde(flatten)]
        event: Event,
        at_ms: WallTime,
    },
}

/// What happened to a channel and its membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    Created { by: UserId, nonce: Nonce, channel_kind: ChannelKind, members: Vec<UserId> },
    Joined { user: UserId, nonce: Nonce },
    Added { user: UserId, by: UserId, nonce: Nonce },
    Left { user: UserId, nonce: Nonce },
    Removed { user: UserId, by: UserId, nonce: Nonce },
}

impl LogFrame {
    pub fn new(channel: ChannelId, entry: &Entry) -> Self {
        let (seq, at_ms) = (entry.seq, entry.at);
        let event = match entry.content.clone() {
            Content::Message { sender, nonce, body } => {
                return Self::Message { channel, seq, sender, nonce, body, at_ms };
            }
            Content::Created { by, nonce, kind, members } => {
                Event::Created { by, nonce, channel_kind: kind, members }
            }
            Content::Joined { user, nonce } => Event::Joined { user, nonce },
            Content::Added { user, by, nonce } => Event::Added { user, by, nonce },
            Content::Left { user, nonce } => Event::Left { user, nonce },
            Content::Removed { user, by, nonce } => Event::Removed { user, by, nonce },
        };
        Self::Event { channel, seq, event, at_ms }
    }

    /// The channel and the entry that the frame shows.
    pub fn into_entry(self) -> (ChannelId, Entry) {
        match self {
            Self::Message { channel, seq, sender, nonce, body, at_ms } => (
                channel,
                Entry { seq, at: at_ms, content: Content::Message { sender, nonce, body } },
            ),
            Self::Event { channel, seq, event, at_ms } => {
                let content = match event {
                    Event::Created { by, nonce, channel_kind: kind, members } => {
                        Content::Created { by, nonce, kind, members }
                    }
                    Event::Joined { user, nonce } => Content::Joined { user, nonce },
                    Event::Added { user, by, nonce } => Content::Added { user, by, nonce },
                    Event::Left { user, nonce } => Content::Left { user, nonce },
                    Event::Removed { user, by, nonce } => Content::Removed { user, by, nonce },
                };
                (channel, Entry { seq, at: at_ms, content })
            }
        }
    }
}

/// A text that is not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a frame: {message}")]
pub struct FrameError {
    /// The request's `id`, where one could be read.
    pub id: Option<u64>,
    /// At most [`FRAME_ERROR_BYTES_MAX`] bytes.
    pub message: String,
}

impl FrameError {
    fn new(id: Option<u64>, error: &serde_json::Error) -> Self {
        const CUT: char = '…';
        let mut message = error.to_string();
        if message.len() > FRAME_ERROR_BYTES_MAX {
            message.truncate(message.floor_char_boundary(FRAME_ERROR_BYTES_MAX - CUT.len_utf8()));
            message.push(CUT);
        }
        Self { id, message }
    }
}

impl ClientFrame {
    /// Asks for a page of the channel's log.
    pub fn history(id: u64, channel: ChannelId, bound: HistoryBound) -> Self {
        let (mut after, mut before, mut since_ms) = (None, None, None);
        match bound {
            HistoryBound::After(seq) => after = Some(seq),
            HistoryBound::Before(seq) => before = Some(seq),
            HistoryBound::Since(at) => since_ms = Some(at),
        }
        Self::History { id, channel, after, before, since_ms, limit: None }
    }

    /// Reads a frame from a client.
    ///
    /// # Errors
    /// Not JSON, an unknown `type`, or a field that is missing, of the wrong type or not a name.
    pub fn parse(text: &[u8]) -> Result<Self, FrameError> {
        #[derive(Deserialize)]
        struct OnlyId {
            id: Option<u64>,
        }
        serde_json::from_slice(text).map_err(|error| {
            let id = serde_json::from_slice::<OnlyId>(text).ok().and_then(|only| only.id);
            FrameError::new(id, &error)
        })
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a frame has only string keys and finite numbers")
    }
}

impl ServerFrame {
    /// Reads a frame from a server.
    ///
    /// # Errors
    /// As [`ClientFrame::parse`].
    pub fn parse(text: &[u8]) -> Result<Self, FrameError> {
        serde_json::from_slice(text).map_err(|error| FrameError::new(None, &error))
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a frame has only string keys and finite numbers")
    }
}

#[cfg(test)]
mod tests;
