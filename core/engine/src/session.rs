//! One client's session at a gateway: where it is in its life, and what it has been sent.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::frame::Resume;
use crate::ids::{ChannelKey, SeqNo, UserKey};
use crate::limits::{SESSION_QUEUE_BYTES_LOW, SESSION_QUEUE_BYTES_MAX};
use crate::time::MonoTime;

/// A session, keyed by its connection.
#[derive(Debug)]
pub struct Session {
    pub phase: Phase,
    /// When the last frame came.
    pub heard_at: MonoTime,
    /// Requests without a reply.
    pub requests: usize,
    /// Those of them that are for a page of history.
    pub pages: usize,
    pub queue: SendQueue,
}

#[derive(Debug)]
pub enum Phase {
    /// Connected; `hello` has not come.
    Greeting,
    /// The owner was asked for the user's channels.
    Opening {
        user: UserKey,
        resume: Vec<Resume>,
    },
    Live {
        user: UserKey,
        channels: BTreeMap<ChannelKey, Cursor>,
    },
}

/// What a session has of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Every entry up to here has been queued for the session, each once.
    pub sent_upto: SeqNo,
    /// A page is on its way.
    pub reading: bool,
    /// The session is owed a `caught_up` when it reaches the head.
    pub owes_caught_up: bool,
}

/// What became of an entry that was offered to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    Sent,
    /// The session already had it, or is not in the channel.
    NotNeeded,
    /// Entries before it are missing; the log has them.
    Behind,
    /// The session's queue is full; the log will have it.
    Full,
}

impl Session {
    pub fn new(now: MonoTime) -> Self {
        Self {
            phase: Phase::Greeting,
            heard_at: now,
            requests: 0,
            pages: 0,
            queue: SendQueue::default(),
        }
    }

    pub fn user(&self) -> Option<&UserKey> {
        match &self.phase {
            Phase::Greeting => None,
            Phase::Opening { user, .. } | Phase::Live { user, .. } => Some(user),
        }
    }

    pub fn cursor_mut(&mut self, channel: &ChannelKey) -> Option<&mut Cursor> {
        match &mut self.phase {
            Phase::Live { channels, .. } => channels.get_mut(channel),
            Phase::Greeting | Phase::Opening { .. } => None,
        }
    }

    /// Takes the entry at `seq` if it is the next one and there is room for its frame. The caller
    /// queues the frame when the answer is [`Offer::Sent`].
    pub fn offer(&mut self, channel: &ChannelKey, seq: SeqNo, frame: &Bytes) -> Offer {
        let full = self.queue.is_full();
        let Some(cursor) = self.cursor_mut(channel) else { return Offer::NotNeeded };
        if seq <= cursor.sent_upto {
            return Offer::NotNeeded;
        }
        if seq != cursor.sent_upto.next() {
            return Offer::Behind;
        }
        if full {
            cursor.owes_caught_up = true;
            return Offer::Full;
        }
        cursor.sent_upto = seq;
        self.queue.add(frame.len());
        Offer::Sent
    }
}

/// An estimate, from above, of the bytes queued for a session.
///
/// The machine only adds; now and then it asks the shell for the real figure. The shell answers
/// at once when the queue is short, and otherwise when it has become short.
#[derive(Debug, Default)]
pub struct SendQueue {
    bytes: usize,
    asked: bool,
}

impl SendQueue {
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Whether it is time to ask the shell, once per answer.
    pub fn should_measure(&mut self) -> bool {
        let ask = !self.asked && self.bytes > SESSION_QUEUE_BYTES_MAX / 2;
        self.asked |= ask;
        ask
    }

    /// The shell's answer.
    pub fn measured(&mut self, bytes: usize) {
        debug_assert!(bytes <= SESSION_QUEUE_BYTES_LOW, "the shell answers when it is short");
        self.bytes = bytes;
        self.asked = false;
    }

    /// Entries have to wait in the log.
    pub fn is_full(&self) -> bool {
        self.bytes > SESSION_QUEUE_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChannelId, UserId, WorkspaceId};

    fn live() -> (Session, ChannelKey) {
        let workspace = WorkspaceId::new("w").unwrap();
        let channel =
            ChannelKey { workspace: workspace.clone(), channel: ChannelId::new("c").unwrap() };
        let user = UserKey { workspace, user: UserId::new("ada").unwrap() };
        let cursor = Cursor { sent_upto: SeqNo(5), reading: false, owes_caught_up: false };
        let mut session = Session::new(MonoTime::default());
        session.phase = Phase::Live { user, channels: BTreeMap::from([(channel.clone(), cursor)]) };
        (session, channel)
    }

    #[test]
    fn a_session_takes_each_entry_once_and_in_order() {
        let (mut session, channel) = live();
        let frame = Bytes::from_static(b"frame");
        assert_eq!(session.offer(&channel, SeqNo(5), &frame), Offer::NotNeeded);
        assert_eq!(session.offer(&channel, SeqNo(7), &frame), Offer::Behind);
        assert_eq!(session.offer(&channel, SeqNo(6), &frame), Offer::Sent);
        assert_eq!(session.offer(&channel, SeqNo(6), &frame), Offer::NotNeeded);
        assert_eq!(session.offer(&channel, SeqNo(7), &frame), Offer::Sent);
    }

    #[test]
    fn a_full_queue_leaves_entries_in_the_log_until_it_is_short_again() {
        let (mut session, channel) = live();
        let frame = Bytes::from(vec![0; SESSION_QUEUE_BYTES_MAX / 2 + 1]);
        assert_eq!(session.offer(&channel, SeqNo(6), &frame), Offer::Sent);
        assert!(session.queue.should_measure());
        assert!(!session.queue.should_measure());
        assert_eq!(session.offer(&channel, SeqNo(7), &frame), Offer::Sent);
        assert_eq!(session.offer(&channel, SeqNo(8), &frame), Offer::Full);
        session.queue.measured(0);
        assert_eq!(session.offer(&channel, SeqNo(8), &frame), Offer::Sent);
    }
}
