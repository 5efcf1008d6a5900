//! Why a server turns a request down or ends a session, in words that programs act on.

use serde::{Deserialize, Serialize};

/// Why a request was turned down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectCode {
    /// Not a frame of this protocol. The request did not happen.
    BadFrame,
    /// The channel doesn't exist or the user is not in it. The request did not happen.
    NotMember,
    /// The body is empty or too long. The request did not happen.
    BadBody,
    /// The channel's kind, or a limit, doesn't allow it to this user. The request did not happen.
    Forbidden,
    /// There is another channel of this name. The request did not happen.
    NameTaken,
    /// These users can't be the members. The request did not happen.
    BadMembers,
    /// A limit is reached. The request did not happen; try again later.
    Busy,
    /// The user or the workspace asks too often. The request did not happen; try again later.
    RateLimited,
    /// The channel's owner can't be reached. **Whether it happened is unknown**: try again with
    /// the same nonce.
    Unavailable,
    /// The log can't be read there: the disk failed, or what it holds is damaged. Try again later.
    Unreadable,
}

impl RejectCode {
    /// The same request may succeed later.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Busy | Self::RateLimited | Self::Unavailable | Self::Unreadable => true,
            Self::BadFrame
            | Self::NotMember
            | Self::BadBody
            | Self::Forbidden
            | Self::NameTaken
            | Self::BadMembers => false,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::NotMember => "not_member",
            Self::BadBody => "bad_body",
            Self::Forbidden => "forbidden",
            Self::NameTaken => "name_taken",
            Self::BadMembers => "bad_members",
            Self::Busy => "busy",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Why a server ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoodbyeCode {
    /// The token of `hello` is malformed, forged or expired.
    Unauthorized,
    /// The token has expired during the session.
    TokenExpired,
    /// The first frame was not `hello`, or `hello` came twice or not in time.
    Protocol,
    /// A resume position lies behind the channel's head: it belongs to another log.
    ResumeAhead,
    /// The server is full or can't reach the owner of the user's data.
    Unavailable,
    /// No frame arrived for three heartbeats.
    Idle,
    /// The server is being stopped, or emptied.
    Draining,
}

impl GoodbyeCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::TokenExpired => "token_expired",
            Self::Protocol => "protocol",
            Self::ResumeAhead => "resume_ahead",
            Self::Unavailable => "unavailable",
            Self::Idle => "idle",
            Self::Draining => "draining",
        }
    }
}
