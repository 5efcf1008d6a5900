//! What the node's log should say of a session's life.

use std::fmt;

use super::{Effect, Gateway};
use crate::ids::{ConnectionId, UserKey};
use crate::limits::LOGGED_CLIENT_CHARS_MAX;

/// Something that whoever runs the server may want to read of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A `hello` was in order.
    Opened {
        session: String,
        user: UserKey,
        /// What the client calls itself, cut and escaped.
        client: String,
    },
    /// Of a session that may have been opened.
    Ended { session: String, user: Option<UserKey>, why: Why },
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The connection did.
    Disconnected,
    /// The server said goodbye, with this code.
    Goodbye(&'static str),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disconnected => "disconnected",
            Self::Goodbye(code) => code,
        })
    }
}

impl Gateway {
    pub(super) fn note_opened(
        &self,
        connection: ConnectionId,
        user: &UserKey,
        client: &str,
        effects: &mut Vec<Effect>,
    ) {
        let (session, user) = (self.session_name(connection), user.clone());
        let client = client.chars().take(LOGGED_CLIENT_CHARS_MAX).collect::<String>();
        let client = client.escape_debug().to_string();
        let note = Note::Opened { session, user, client };
        effects.push(Effect::Note { connection, note });
    }

    /// Once for each session, before it is taken out of the tables.
    pub(super) fn note_ended(&self, connection: ConnectionId, why: Why, effects: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get(&connection) else { return };
        let (session, user) = (self.session_name(connection), session.user().cloned());
        let note = Note::Ended { session, user, why };
        effects.push(Effect::Note { connection, note });
    }
}
