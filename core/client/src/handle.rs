//! How an application tells its client what to do.

use std::sync::Arc;

use tokio::sync::mpsc;

use seriatim_engine::client::Command;
use seriatim_engine::frame::PresenceState;
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{ChannelId, Nonce, SeqNo, UserId};
use seriatim_engine::membership::Change;
use seriatim_engine::time::WallTime;

/// Commands for one client. Dropping every handle stops the client.
#[derive(Debug, Clone)]
pub struct Handle(pub(crate) mpsc::Sender<Command>);

/// The client did not take the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the client's inbox is full; wait for events before sending more")]
    Full,
    #[error("the client has stopped")]
    Stopped,
}

impl Handle {
    /// Sends `body` to `channel`. The outcome comes as an event with the same `nonce`.
    ///
    /// # Errors
    /// [`Refused`]: nothing will be sent.
    pub fn send(&self, channel: ChannelId, nonce: Nonce, body: Arc<str>) -> Result<(), Refused> {
        self.command(Command::Send { channel, nonce, body })
    }

    /// Joins `channel`, which is created if there is none of this name.
    ///
    /// # Errors
    /// [`Refused`]: nothing will be sent.
    pub fn join(&self, channel: ChannelId, nonce: Nonce) -> Result<(), Refused> {
        self.change(channel, nonce, Change::Join)
    }

    /// Changes who is in `channel`. Changes of one channel are made one after the other. The outcome
    /// comes as an event with the same `nonce`.
    ///
    /// # Errors
    /// [`Refused`]: nothing will be sent.
    pub fn change(&self, channel: ChannelId, nonce: Nonce, change: Change) -> Result<(), Refused> {
        self.command(Command::Change { channel, nonce, change })
    }

    /// Drops the connection and opens a new one.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn reconnect(&self) -> Result<(), Refused> {
        self.command(Command::Reconnect)
    }

    /// Drops the connection without a word and stays away until [`Self::go_online`].
    ///
    /// # Errors
    /// [`Refused`]
    pub fn go_offline(&self) -> Result<(), Refused> {
        self.command(Command::GoOffline)
    }

    /// Connects again after [`Self::go_offline`].
    ///
    /// # Errors
    /// [`Refused`]
    pub fn go_online(&self) -> Result<(), Refused> {
        self.command(Command::GoOnline)
    }

    /// Says how the user is, on this session and each that follows. A hidden browser tab, whose
    /// timers are throttled, is in the background.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn set_presence(&self, state: PresenceState, background: bool) -> Result<(), Refused> {
        self.command(Command::SetPresence { state, background })
    }

    /// Asks how `users` are, instead of those asked about before. The answers are
    /// [`seriatim_engine::client::ClientEvent::Presence`].
    ///
    /// # Errors
    /// [`Refused`]
    pub fn watch_presence(&self, users: Vec<UserId>) -> Result<(), Refused> {
        self.command(Command::WatchPresence { users })
    }

    /// Tells the others in `channel` that the user is writing.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn typing(&self, channel: ChannelId) -> Result<(), Refused> {
        self.command(Command::Typing { channel })
    }

    /// Says that the user has read `channel` up to `seq`. The client repeats it until the server
    /// has it; then comes [`seriatim_engine::client::ClientEvent::Read`].
    ///
    /// # Errors
    /// [`Refused`]
    pub fn mark_read(&self, channel: ChannelId, seq: SeqNo) -> Result<(), Refused> {
        self.command(Command::MarkRead { channel, seq })
    }

    /// Reads a page of `channel`'s log, as members may: after or before a position, or since a time.
    /// The answer is
    /// [`seriatim_engine::client::ClientEvent::LogPage`] or
    /// [`seriatim_engine::client::ClientEvent::LogRefused`]; what is lost on the way is refused as
    /// unavailable.
    ///
    /// # Errors
    /// [`Refused`]: nothing will be sent.
    pub fn read_log(&self, channel: ChannelId, bound: HistoryBound) -> Result<(), Refused> {
        self.command(Command::ReadLog { channel, bound })
    }

    /// Forgets what was delivered of `channel`, drops the connection, and comes back: what is
    /// delivered goes on with the first entry that was numbered at `since` or later. For programs
    /// that know only when they were last there.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn resume_since(&self, channel: ChannelId, since: WallTime) -> Result<(), Refused> {
        self.command(Command::ResumeSince { channel, since })
    }

    fn command(&self, command: Command) -> Result<(), Refused> {
        self.0.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Stopped,
        })
    }
}
