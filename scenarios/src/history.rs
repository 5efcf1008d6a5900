//! What happened in a run: what every client saw, and what the nodes hold at its end.
//!
//! A world appends [`Event`]s in the order of their times; the guarantees read them as they come.
//! A lost reply leaves no event: an invocation without an answer is *unknown*, never failed. Texts
//! are shared (`Arc<str>`), so that an event is cheap to make and to keep.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::{Asked, Content, Entry, Wish};
use seriatim_engine::frame::PresenceState;
use seriatim_engine::history_bound::HistoryBound;
use seriatim_engine::ids::{ChannelKey, Nonce, SeqNo, UserId, UserKey};
pub use seriatim_engine::levels::Level;
use seriatim_engine::time::WallTime;

/// One client of the run: its place in the [`Roster`], from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientIndex(pub u32);

impl fmt::Display for ClientIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}", self.0)
    }
}

/// Which user each client acts for. Two clients may act for one user.
///
/// Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    users: Arc<[UserKey]>,
}

impl Roster {
    /// The client with index `i` acts for `users[i]`.
    pub fn new(users: Vec<UserKey>) -> Self {
        Self { users: users.into() }
    }

    /// `None` when there is no such client.
    pub fn user(&self, client: ClientIndex) -> Option<&UserKey> {
        self.users.get(usize::try_from(client.0).ok()?)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ClientIndex, &UserKey)> {
        (0..).map(ClientIndex).zip(&*self.users)
    }

    pub fn len(&self) -> usize {
        self.users.len()
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Since the run started.
    pub at: Duration,
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A client was asked to send; once per nonce, whatever the number of attempts.
    Invoked {
        client: ClientIndex,
        channel: ChannelKey,
        nonce: Nonce,
        body: Arc<str>,
    },
    /// A client was asked to change who is in a channel.
    ChangeInvoked {
        client: ClientIndex,
        channel: ChannelKey,
        asked: Asked,
    },
    /// A send went out on a session, for the first time or again.
    Sent {
        client: ClientIndex,
        session: Arc<str>,
        channel: ChannelKey,
        nonce: Nonce,
    },
    /// The client learnt that what it asked for is in the log.
    Accepted {
        client: ClientIndex,
        channel: ChannelKey,
        asked: Asked,
        seq: SeqNo,
        /// It was so already.
        duplicate: bool,
    },
    /// The client gave up for good on a refusal.
    Rejected {
        client: ClientIndex,
        channel: ChannelKey,
        asked: Asked,
        code: String,
    },
    /// `welcome` arrived.
    SessionOpened {
        client: ClientIndex,
        session: Arc<str>,
        gateway: Arc<str>,
        /// The position after which each channel is served: the resume point that the client gave,
        /// or the head in `welcome`.
        channels: Vec<(ChannelKey, SeqNo)>,
    },
    /// A live session serves one more channel, from the entry after `after` on.
    SessionChannel {
        client: ClientIndex,
        session: Arc<str>,
        channel: ChannelKey,
        after: SeqNo,
    },
    /// A live session serves a channel no longer: its user is a member up to `until` only.
    SessionLeft {
        client: ClientIndex,
        session: Arc<str>,
        channel: ChannelKey,
        until: SeqNo,
    },
    /// A numbered entry arrived on the wire.
    Received {
        client: ClientIndex,
        session: Arc<str>,
        channel: ChannelKey,
        entry: Entry,
    },
    /// The client library handed an entry to its application.
    Delivered {
        client: ClientIndex,
        channel: ChannelKey,
        entry: Entry,
    },
    /// A client was asked to read a page of the log.
    PageAsked {
        client: ClientIndex,
        channel: ChannelKey,
        bound: HistoryBound,
    },
    /// A client read an entry on a page of the log.
    PageRead {
        client: ClientIndex,
        channel: ChannelKey,
        entry: Entry,
    },
    /// Those were all entries of the page.
    PageEnded {
        client: ClientIndex,
        channel: ChannelKey,
        bound: HistoryBound,
        /// There are later ones; before a position, earlier ones.
        more: bool,
    },
    /// There is no such page.
    PageRefused {
        client: ClientIndex,
        channel: ChannelKey,
        bound: HistoryBound,
        code: String,
    },
    /// A client forgot what it had of a channel, and resumes it by a time.
    Forgot {
        client: ClientIndex,
        channel: ChannelKey,
        since: WallTime,
    },
    /// The session is over, as its client sees it.
    SessionClosed {
        client: ClientIndex,
        session: Arc<str>,
    },
    /// A client said on its session how its user is.
    Heartbeat {
        client: ClientIndex,
        session: Arc<str>,
        state: PresenceState,
        /// It is a hidden tab.
        background: bool,
    },
    /// A client asked on its session how these users are, and no others.
    Watching {
        client: ClientIndex,
        session: Arc<str>,
        users: Arc<[UserId]>,
    },
    /// A client was told how a user of its workspace is.
    PresenceTold {
        client: ClientIndex,
        session: Arc<str>,
        user: UserId,
        state: PresenceState,
    },
    /// A client was asked to say that its user is writing.
    Typed {
        client: ClientIndex,
        channel: ChannelKey,
    },
    /// A client was told that a user is writing.
    TypingTold {
        client: ClientIndex,
        channel: ChannelKey,
        user: UserId,
    },
    /// A client was asked to say that its user has read up to `seq`.
    ReadMarked {
        client: ClientIndex,
        channel: ChannelKey,
        seq: SeqNo,
    },
    /// A client was told how far its user has read.
    ReadTold {
        client: ClientIndex,
        channel: ChannelKey,
        seq: SeqNo,
    },
    /// The audit: how far a user has read, as a node's store has it.
    ReadStored {
        node: Arc<str>,
        channel: ChannelKey,
        user: UserId,
        seq: SeqNo,
    },
    /// The client has died and will not come back; convergence doesn't wait for it.
    ClientDown {
        client: ClientIndex,
    },
    /// The client was stopped by the plan and will not come back.
    ClientStopped {
        client: ClientIndex,
    },
    /// The audit: one entry of a node's log, in log order, after a last power cut.
    Stored {
        node: Arc<str>,
        channel: ChannelKey,
        entry: Entry,
    },
    /// Every node's log has been told.
    AuditDone,
    FaultBegan {
        name: String,
        /// It is about what lies behind the gateways: they and their clients hear each other as
        /// ever.
        behind_gateways: bool,
    },
    FaultHealed {
        name: String,
    },
    /// A node's process ended by itself.
    NodeEnded {
        node: Arc<str>,
    },
    /// It was started again by its supervisor.
    NodeRevived {
        node: Arc<str>,
    },
    /// Every fault has healed; the time for convergence starts.
    FaultsOver,
    /// Every live client holds everything in its channels, as the world sees it.
    Converged,
    RunEnded,
    /// A task of a node panicked.
    Panicked {
        node: Arc<str>,
        message: String,
    },
    /// A node logged at error level.
    ErrorLogged {
        node: Arc<str>,
        message: String,
    },
    /// Something bounded was fuller in a node than ever before.
    Peak {
        node: Arc<str>,
        level: Level,
    },
    /// A task outlived its node.
    TaskLeaked {
        node: Arc<str>,
        name: String,
    },
}

impl What {
    /// The channel that it is about.
    pub fn channel(&self) -> Option<&ChannelKey> {
        match self {
            Self::Invoked { channel, .. }
            | Self::ChangeInvoked { channel, .. }
            | Self::Sent { channel, .. }
            | Self::Accepted { channel, .. }
            | Self::Rejected { channel, .. }
            | Self::SessionChannel { channel, .. }
            | Self::SessionLeft { channel, .. }
            | Self::Received { channel, .. }
            | Self::Delivered { channel, .. }
            | Self::PageAsked { channel, .. }
            | Self::PageRead { channel, .. }
            | Self::PageEnded { channel, .. }
            | Self::PageRefused { channel, .. }
            | Self::Forgot { channel, .. }
            | Self::Typed { channel, .. }
            | Self::TypingTold { channel, .. }
            | Self::ReadMarked { channel, .. }
            | Self::ReadTold { channel, .. }
            | Self::ReadStored { channel, .. }
            | Self::Stored { channel, .. } => Some(channel),
            Self::SessionOpened { .. }
            | Self::SessionClosed { .. }
            | Self::Heartbeat { .. }
            | Self::Watching { .. }
            | Self::PresenceTold { .. }
            | Self::ClientDown { .. }
            | Self::ClientStopped { .. }
            | Self::AuditDone
            | Self::FaultBegan { .. }
            | Self::FaultHealed { .. }
            | Self::NodeEnded { .. }
            | Self::NodeRevived { .. }
            | Self::FaultsOver
            | Self::Converged
            | Self::RunEnded
            | Self::Panicked { .. }
            | Self::ErrorLogged { .. }
            | Self::Peak { .. }
            | Self::TaskLeaked { .. } => None,
        }
    }
}

/// What an event tells of a channel's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfLog<'a> {
    /// A client wants an entry there.
    Asked { client: ClientIndex, asked: Asked },
    /// It learnt the entry's position. As a duplicate, it may be an entry that another wanted.
    Accepted { client: ClientIndex, asked: &'a Asked, seq: SeqNo, duplicate: bool },
    /// Somebody has the entry.
    Entry(&'a Entry),
}

impl What {
    /// What the event tells of its channel's log, if anything.
    pub fn of_log(&self) -> Option<OfLog<'_>> {
        match self {
            Self::Invoked { client, nonce, .. } => {
                let asked = Asked { nonce: nonce.clone(), wish: Wish::Send };
                Some(OfLog::Asked { client: *client, asked })
            }
            Self::ChangeInvoked { client, asked, .. } => {
                Some(OfLog::Asked { client: *client, asked: asked.clone() })
            }
            Self::Accepted { client, asked, seq, duplicate, .. } => {
                let (client, seq, duplicate) = (*client, *seq, *duplicate);
                Some(OfLog::Accepted { client, asked, seq, duplicate })
            }
            Self::Received { entry, .. }
            | Self::Delivered { entry, .. }
            | Self::PageRead { entry, .. }
            | Self::Stored { entry, .. } => Some(OfLog::Entry(entry)),
            Self::Sent { .. }
            | Self::Rejected { .. }
            | Self::PageAsked { .. }
            | Self::PageEnded { .. }
            | Self::PageRefused { .. }
            | Self::Forgot { .. }
            | Self::SessionOpened { .. }
            | Self::SessionChannel { .. }
            | Self::SessionLeft { .. }
            | Self::SessionClosed { .. }
            | Self::Heartbeat { .. }
            | Self::Watching { .. }
            | Self::PresenceTold { .. }
            | Self::Typed { .. }
            | Self::TypingTold { .. }
            | Self::ReadMarked { .. }
            | Self::ReadTold { .. }
            | Self::ReadStored { .. }
            | Self::ClientDown { .. }
            | Self::ClientStopped { .. }
            | Self::AuditDone
            | Self::FaultBegan { .. }
            | Self::FaultHealed { .. }
            | Self::NodeEnded { .. }
            | Self::NodeRevived { .. }
            | Self::FaultsOver
            | Self::Converged
            | Self::RunEnded
            | Self::Panicked { .. }
            | Self::ErrorLogged { .. }
            | Self::Peak { .. }
            | Self::TaskLeaked { .. } => None,
        }
    }

    /// The entry that was received, delivered, read or stored.
    pub fn entry(&self) -> Option<&Entry> {
        if let Some(OfLog::Entry(entry)) = self.of_log() { Some(entry) } else { None }
    }
}

/// One line for people, as witnesses have it.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  {}", self.at.as_secs_f64(), self.what)
    }
}

/// An entry for people, without its body.
pub(crate) struct Shown<'a>(pub(crate) &'a Entry);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { seq, at, content } = self.0;
        match content {
            Content::Message { sender, nonce, body } => {
                let bytes = body.len();
                write!(f, "#{seq} (numbered at {at}): {sender}, nonce {nonce}, {bytes} bytes")
            }
            Content::Created { .. }
            | Content::Joined { .. }
            | Content::Added { .. }
            | Content::Left { .. }
            | Content::Removed { .. } => {
                let (by, asked) = content.asked();
                write!(f, "#{seq} (numbered at {at}): {asked} by {by}")
            }
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invoked { client, channel, nonce, body } => {
                write!(f, "{client} sends to {channel}: nonce {nonce}, {} bytes", body.len())
            }
            Self::ChangeInvoked { client, channel, asked } => {
                write!(f, "{client} asks {channel} for {asked}")
            }
            Self::Sent { client, session, channel, nonce } => {
                write!(f, "{client} transmits nonce {nonce} to {channel} on {session}")
            }
            Self::Accepted { client, channel, asked, seq, duplicate } => {
                let again = if *duplicate { " (duplicate)" } else { "" };
                write!(f, "{client} told: {channel} #{seq} is its {asked}{again}")
            }
            Self::Rejected { client, channel, asked, code } => {
                write!(f, "{client} told: {channel} refuses its {asked}: {code}")
            }
            Self::SessionOpened { client, session, gateway, channels } => {
                let count = channels.len();
                write!(f, "{client} opens {session} at {gateway} with {count} channels")
            }
            Self::SessionChannel { client, session, channel, after } => {
                write!(f, "{client} is served {channel} after #{after} in {session}")
            }
            Self::SessionLeft { client, session, channel, until } => {
                write!(f, "{client} is out of {channel} after #{until} in {session}")
            }
            Self::Received { client, session, channel, entry } => {
                write!(f, "{client} receives {channel} {} in {session}", Shown(entry))
            }
            Self::Delivered { client, channel, entry } => {
                write!(f, "{client} is delivered {channel} {}", Shown(entry))
            }
            Self::SessionClosed { client, session } => write!(f, "{client} loses {session}"),
            Self::ClientDown { client } => write!(f, "{client} dies"),
            Self::ClientStopped { client } => write!(f, "{client} is stopped"),
            Self::Stored { node, channel, entry } => {
                write!(f, "{node} holds {channel} {}", Shown(entry))
            }
            Self::AuditDone => f.write_str("every log has been read"),
            Self::NodeEnded { node } => write!(f, "{node} ends by itself"),
            Self::NodeRevived { node } => write!(f, "{node} is started again"),
            Self::FaultBegan { name, .. } => write!(f, "{name} begins"),
            Self::Heartbeat { .. }
            | Self::Watching { .. }
            | Self::Typed { .. }
            | Self::TypingTold { .. }
            | Self::PresenceTold { .. }
            | Self::PageAsked { .. }
            | Self::PageRead { .. }
            | Self::PageEnded { .. }
            | Self::PageRefused { .. }
            | Self::Forgot { .. }
            | Self::ReadMarked { .. }
            | Self::ReadTold { .. }
            | Self::ReadStored { .. } => self.fmt_of_people(f),
            Self::FaultHealed { name } => write!(f, "{name} heals"),
            Self::FaultsOver => f.write_str("all faults are over"),
            Self::Converged => f.write_str("every client holds everything"),
            Self::RunEnded => f.write_str("the run ends"),
            Self::Panicked { node, message } => write!(f, "{node} panics: {message}"),
            Self::ErrorLogged { node, message } => write!(f, "{node} logs an error: {message}"),
            Self::Peak { node, level } => {
                write!(f, "{node} has {} {} of at most {}", level.peak, level.what, level.limit)
            }
            Self::TaskLeaked { node, name } => write!(f, "{node} leaks the task {name}"),
        }
    }
}

impl What {
    /// What is about readers and writers, not about the log.
    fn fmt_of_people(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Heartbeat { client, session, state, background } = self {
            let hidden = if *background { ", hidden" } else { "" };
            write!(f, "{client} says on {session} that it is {}{hidden}", state.as_str())
        } else if let Self::Watching { client, session, users } = self {
            let users: Vec<&str> = users.iter().map(|user| user.as_str()).collect();
            write!(f, "{client} watches {} on {session}", users.join(", "))
        } else if let Self::Typed { client, channel } = self {
            write!(f, "{client} is writing in {channel}")
        } else if let Self::TypingTold { client, channel, user } = self {
            write!(f, "{client} told: {user} is writing in {channel}")
        } else if let Self::PresenceTold { client, session, user, state } = self {
            write!(f, "{client} told on {session}: {user} is {}", state.as_str())
        } else if let Self::PageRead { client, channel, entry } = self {
            write!(f, "{client} reads {channel} {}", Shown(entry))
        } else if let Self::PageAsked { client, channel, bound } = self {
            write!(f, "{client} wants to read {channel} {bound}")
        } else if let Self::PageEnded { client, channel, bound, more } = self {
            let more = if *more { "more" } else { "no more" };
            write!(f, "{client} has read {channel} {bound}: {more}")
        } else if let Self::PageRefused { client, channel, bound, code } = self {
            write!(f, "{client} may not read {channel} {bound}: {code}")
        } else if let Self::Forgot { client, channel, since } = self {
            write!(f, "{client} forgets {channel} and resumes since {since}")
        } else if let Self::ReadMarked { client, channel, seq } = self {
            write!(f, "{client} has read {channel} up to #{seq}")
        } else if let Self::ReadTold { client, channel, seq } = self {
            write!(f, "{client} told: {channel} is read up to #{seq}")
        } else if let Self::ReadStored { node, channel, user, seq } = self {
            write!(f, "{node} holds that {user} has read {channel} up to #{seq}")
        } else {
            Ok(())
        }
    }
}
