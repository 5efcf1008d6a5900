//! What a gateway shows to whoever runs it. Looking changes nothing.
//!
//! Every answer is a page of sessions; the gateway's turn waits while it is made.

use serde::Serialize;

use super::Gateway;
use crate::admin::{Page, Window};
use crate::ids::{ChannelId, ConnectionId, SeqNo, UserId, UserKey, WorkspaceId};
use crate::session::{Phase, Session};
use crate::time::{MonoTime, WallTime};

/// A connected session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionRow {
    /// What clients and logs call it.
    pub session: String,
    /// Its connection's number, as in the log.
    pub connection: ConnectionId,
    /// None before `hello`.
    pub workspace: Option<WorkspaceId>,
    pub user: Option<UserId>,
    /// `greeting` before `hello`, `opening` until the owner has answered, then `live`.
    pub phase: &'static str,
    pub channels: usize,
    /// Of these, channels whose entries wait in the log because the session reads slowly.
    pub waiting: usize,
    /// Requests without an answer.
    pub requests: usize,
    /// Queued for it, at most.
    pub queue_bytes: usize,
    /// Since its last frame.
    pub silent_ms: u64,
    pub token_expires_at_ms: Option<WallTime>,
}

/// A session and how far it is in each of its channels: at most
/// [`crate::limits::CHANNELS_OF_USER_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionReport {
    #[serde(flatten)]
    pub session: SessionRow,
    pub following: Vec<FollowingRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FollowingRow {
    pub channel: ChannelId,
    /// Every entry up to here was queued for the session.
    pub sent_upto: SeqNo,
    pub head: SeqNo,
    /// It is being sent pages of the log, or has to wait for them.
    pub behind: bool,
}

/// Whose sessions to show; nothing said: everybody's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whose {
    pub workspace: Option<WorkspaceId>,
    pub user: Option<UserId>,
}

impl Whose {
    fn includes(&self, user: Option<&UserKey>) -> bool {
        let is = |key: &UserKey| {
            self.workspace.as_ref().is_none_or(|workspace| *workspace == key.workspace)
                && self.user.as_ref().is_none_or(|user| *user == key.user)
        };
        user.map_or(*self == Self::default(), is)
    }
}

impl Gateway {
    /// Sessions, in the order of their places; the window is of places.
    pub fn report_sessions(
        &self,
        now: MonoTime,
        whose: &Whose,
        window: &Window<usize>,
    ) -> Page<usize, SessionRow> {
        let after =
            |connection: &&ConnectionId| window.after.is_none_or(|place| connection.slot() > place);
        let rows = self.sessions.keys().filter(after).filter_map(|connection| {
            let session = self.sessions.get(connection)?;
            let row = || self.session_row(now, *connection, session);
            whose.includes(session.user()).then(row)
        });
        window.page(rows, |row| row.connection.slot())
    }

    /// The session of this name, if it is connected.
    pub fn report_session(&self, now: MonoTime, name: &str) -> Option<SessionReport> {
        let connection = *self.sessions.keys().find(|one| self.session_name(**one) == name)?;
        let session = self.sessions.get(&connection)?;
        let keys = match &session.phase {
            Phase::Live { channels, .. } => channels.as_slice(),
            Phase::Greeting | Phase::Opening { .. } => &[],
        };
        let following = keys.iter().filter_map(|key| {
            let channel = self.channels.get(key)?;
            let cursor = channel.followers.get(connection)?;
            Some(FollowingRow {
                channel: key.channel.clone(),
                sent_upto: cursor.sent_upto,
                head: channel.head,
                behind: cursor.sent_upto < channel.head,
            })
        });
        let following = following.collect();
        Some(SessionReport { session: self.session_row(now, connection, session), following })
    }

    fn session_row(
        &self,
        now: MonoTime,
        connection: ConnectionId,
        session: &Session,
    ) -> SessionRow {
        let user = session.user();
        let (phase, channels) = match &session.phase {
            Phase::Greeting => ("greeting", 0),
            Phase::Opening { .. } => ("opening", 0),
            Phase::Live { channels, .. } => ("live", channels.len()),
        };
        let silent = now - session.heard_at;
        SessionRow {
            session: self.session_name(connection),
            connection,
            workspace: user.map(|user| user.workspace.clone()),
            user: user.map(|user| user.user.clone()),
            phase,
            channels,
            waiting: session.waiting.len(),
            requests: session.requests,
            queue_bytes: session.queue.bytes(),
            silent_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX),
            token_expires_at_ms: user.map(|_| session.expires_at),
        }
    }
}
