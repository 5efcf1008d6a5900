//! The names of things: workspaces, users, channels, sequence numbers, nonces.
//!
//! Every name that comes from outside is validated once, where it enters; past that point the type
//! says that it is sound.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{NAME_BYTES_MAX, NONCE_BYTES_MAX};

/// Why a text is not a name or a nonce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("is empty; give 1 to {NAME_BYTES_MAX} characters")]
    Empty,
    #[error("has {bytes} bytes; the limit is {bytes_max}")]
    TooLong { bytes: usize, bytes_max: usize },
    #[error("has the character {found:?}; allowed are a-z, A-Z, 0-9, '-', '_' and '.'")]
    BadCharacter { found: char },
}

fn check_name(text: &str, bytes_max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > bytes_max {
        return Err(NameError::TooLong { bytes: text.len(), bytes_max });
    }
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text.chars().find(|c| !allowed(c)) {
        Some(found) => Err(NameError::BadCharacter { found }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $bytes_max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text`: 1 to the limit's bytes of ASCII letters, digits, `-`, `_` and `.`.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check_name(text, $bytes_max)?;
                Ok(Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// No other name comes before it.
            pub fn least() -> Self {
                Self("-".into())
            }

            /// No other name comes after it.
            pub fn greatest() -> Self {
                Self("z".repeat($bytes_max).into())
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A tenant: the unit of isolation and of placement.
    WorkspaceId,
    NAME_BYTES_MAX
);
name!(
    /// A user within a workspace.
    UserId,
    NAME_BYTES_MAX
);
name!(
    /// A channel within a workspace.
    ChannelId,
    NAME_BYTES_MAX
);
name!(
    /// Chosen by the sender: one (channel, sender, nonce) makes at most one message.
    Nonce,
    NONCE_BYTES_MAX
);
name!(
    /// A key that signs tokens.
    KeyId,
    NAME_BYTES_MAX
);
name!(
    /// A node of a deployment, as its configuration calls it.
    NodeId,
    NAME_BYTES_MAX
);

/// A channel's full name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelKey {
    pub workspace: WorkspaceId,
    pub channel: ChannelId,
}

impl fmt::Display for ChannelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workspace, self.channel)
    }
}

impl fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A user's full name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserKey {
    pub workspace: WorkspaceId,
    pub user: UserId,
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workspace, self.user)
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// The position of an entry in its channel's log. The first entry has 1; 0 means "before all".
    SeqNo(u64)
);
number!(
    /// How often a shard has changed its writer. The store accepts appends of the newest only.
    Epoch(u64)
);
number!(
    /// A part of the data with one writer at a time.
    ShardId(u32)
);
number!(
    /// One connection of a gateway. No other has had the same number since the gateway started;
    /// see [`crate::slots`].
    ConnectionId(u64)
);

impl ConnectionId {
    /// The `generation`-th connection that has the place `slot`.
    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    /// Its place among all connections, from 0. Places are used again, and so stay few.
    pub fn slot(self) -> usize {
        let [_, _, _, _, a, b, c, d] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d]) as usize
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl SeqNo {
    /// The position before the first entry.
    pub const ZERO: Self = Self(0);

    pub fn next(self) -> Self {
        // 2^64 entries in one channel take longer than the machine will live.
        Self(self.0 + 1)
    }

    /// The position before this one; `ZERO` has none before it and stays.
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_could_not_be_printed_or_stored() {
        assert_eq!(UserId::new(""), Err(NameError::Empty));
        assert_eq!(UserId::new("a b"), Err(NameError::BadCharacter { found: ' ' }));
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert!(matches!(UserId::new(&long), Err(NameError::TooLong { .. })));
        assert_eq!(UserId::new("ada.l-1_x").unwrap().as_str(), "ada.l-1_x");
    }

    #[test]
    fn every_name_lies_between_the_least_and_the_greatest() {
        let long = "z".repeat(NAME_BYTES_MAX);
        let (least, greatest) = (UserId::least(), UserId::greatest());
        for character in (0..=127).map(char::from) {
            for text in [format!("{character}"), format!("{character}{character}"), long.clone()] {
                let Ok(name) = UserId::new(&text) else { continue };
                assert!(least <= name && name <= greatest, "{name}");
            }
        }
        assert_eq!(UserId::new(least.as_str()), Ok(least.clone()));
        assert_eq!(UserId::new(greatest.as_str()), Ok(greatest));
    }
}
