//! One client's session at a gateway: where it is in its life, and how much is queued for it.

use crate::frame::Resume;
use crate::ids::{ChannelKey, UserKey};
use crate::limits::{SESSION_QUEUE_BYTES_LOW, SESSION_QUEUE_BYTES_MAX};
use crate::link::Ticket;
use crate::time::{MonoTime, WallTime};

/// A session, keyed by its connection.
#[derive(Debug)]
pub struct Session {
    pub phase: Phase,
    /// When the last frame came.
    pub heard_at: MonoTime,
    /// When its token expires. Before `hello` it has none.
    pub expires_at: WallTime,
    /// Requests without a reply.
    pub requests: usize,
    /// Those of them that are for a page of history.
    pub pages: usize,
    pub queue: SendQueue,
    /// Channels whose entries wait in the log until the queue is short.
    pub waiting: Vec<ChannelKey>,
}

#[derive(Debug)]
pub enum Phase {
    /// Connected; `hello` has not come.
    Greeting,
    /// The owner was asked for the user's channels.
    Opening {
        user: UserKey,
        resume: Vec<Resume>,
        /// Of the question, if the owner could be asked.
        ticket: Option<Ticket>,
    },
    Live {
        user: UserKey,
        /// Each has a cursor in [`crate::followers`].
        channels: Vec<ChannelKey>,
    },
}

impl Session {
    pub fn new(now: MonoTime) -> Self {
        Self {
            phase: Phase::Greeting,
            heard_at: now,
            expires_at: WallTime(u64::MAX),
            requests: 0,
            pages: 0,
            queue: SendQueue::default(),
            waiting: Vec::new(),
        }
    }

    pub fn user(&self) -> Option<&UserKey> {
        match &self.phase {
            Phase::Greeting => None,
            Phase::Opening { user, .. } | Phase::Live { user, .. } => Some(user),
        }
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

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it is time to ask the shell, once per answer.
    pub fn should_measure(&mut self) -> bool {
        let ask = !self.asked && self.is_long();
        self.asked |= ask;
        ask
    }

    /// The shell's answer.
    pub fn measured(&mut self, bytes: usize) {
        debug_assert!(bytes <= SESSION_QUEUE_BYTES_LOW, "the shell answers when it is short");
        self.bytes = bytes;
        self.asked = false;
    }

    /// So much waits that what can be left out, or told later, is.
    pub fn is_long(&self) -> bool {
        self.bytes > SESSION_QUEUE_BYTES_MAX / 2
    }

    /// Entries have to wait in the log.
    pub fn is_full(&self) -> bool {
        self.bytes > SESSION_QUEUE_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_is_asked_once_for_what_is_really_queued() {
        let mut queue = SendQueue::default();
        queue.add(SESSION_QUEUE_BYTES_MAX / 2);
        assert!(!queue.should_measure());
        queue.add(1);
        assert!(queue.should_measure());
        assert!(!queue.should_measure(), "it was asked already");
        queue.measured(0);
        queue.add(SESSION_QUEUE_BYTES_MAX);
        assert!(!queue.is_full());
        assert!(queue.should_measure());
        queue.add(1);
        assert!(queue.is_full());
    }
}
