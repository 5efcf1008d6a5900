//! A client's requests without a final answer.
//!
//! Changes to the membership of one channel go out one at a time: when a later one overtook the
//! retry of an earlier one, the channel would be left as the earlier one wants it. Everything else
//! goes out as it comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::entry::{Asked, Wish};
use crate::frame::ClientFrame;
use crate::ids::{ChannelId, Nonce};
use crate::membership::Change;
use crate::time::MonoTime;

#[derive(Debug, Clone)]
pub(super) enum Request {
    Send { channel: ChannelId, nonce: Nonce, body: Arc<str> },
    Change { channel: ChannelId, nonce: Nonce, change: Change },
}

/// What a client has asked for, by id and so in the order in which it was first asked for.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<u64, Open>,
    /// Of each channel, the ids of its open changes: the first is on its way, others wait for it.
    changes: BTreeMap<ChannelId, Vec<u64>>,
}

#[derive(Debug)]
struct Open {
    request: Request,
    /// When to send it (again), if no reply has come by then. None while it waits for another.
    due: Option<MonoTime>,
}

impl Request {
    pub(super) fn into_parts(self) -> (ChannelId, Asked) {
        match self {
            Self::Send { channel, nonce, .. } => (channel, Asked { nonce, wish: Wish::Send }),
            Self::Change { channel, nonce, change } => {
                (channel, Asked { nonce, wish: change.wish() })
            }
        }
    }

    fn frame(&self, id: u64) -> ClientFrame {
        let (channel, nonce, change) = match self.clone() {
            Self::Send { channel, nonce, body } => {
                return ClientFrame::Send { id, channel, nonce, body };
            }
            Self::Change { channel, nonce, change } => (channel, nonce, change),
        };
        match change {
            Change::Create { kind, members } => {
                ClientFrame::CreateChannel { id, channel: Some(channel), nonce, kind, members }
            }
            Change::Join => ClientFrame::Join { id, channel, nonce },
            Change::Leave => ClientFrame::Leave { id, channel, nonce },
            Change::Add { user } => ClientFrame::AddMember { id, channel, nonce, user },
            Change::Remove { user } => ClientFrame::RemoveMember { id, channel, nonce, user },
        }
    }
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes a new request. Gives the frame to send, unless there is no connection or it has to wait
    /// for another.
    pub(super) fn add(
        &mut self,
        id: u64,
        request: Request,
        due: MonoTime,
        is_live: bool,
    ) -> Option<ClientFrame> {
        let mut waits = false;
        if let Request::Change { channel, .. } = &request {
            let changes = self.changes.entry(channel.clone()).or_default();
            waits = !changes.is_empty();
            changes.push(id);
        }
        let frame = (is_live && !waits).then(|| request.frame(id));
        self.open.insert(id, Open { request, due: (!waits).then_some(due) });
        frame
    }

    /// The request has its final answer. Gives it, and the frame of what waited for that.
    pub(super) fn settle(
        &mut self,
        id: u64,
        due: MonoTime,
    ) -> Option<(Request, Option<ClientFrame>)> {
        let Open { request, due: _ } = self.open.remove(&id)?;
        let Request::Change { channel, .. } = &request else { return Some((request, None)) };
        let changes = self.changes.get_mut(channel).expect("an open change is among its channel's");
        changes.retain(|one| *one != id);
        let next = changes.first().copied();
        if next.is_none() {
            self.changes.remove(channel);
        }
        let frame = next.and_then(|id| {
            let open = self.open.get_mut(&id)?;
            open.due = Some(due);
            Some(open.request.frame(id))
        });
        Some((request, frame))
    }

    /// The request was put off: it is due again at `due`.
    pub(super) fn defer(&mut self, id: u64, due: MonoTime) {
        if let Some(open) = self.open.get_mut(&id) {
            open.due = Some(due);
        }
    }

    /// The frames of all that do not wait for others, each due again at `again`.
    pub(super) fn all(&mut self, again: MonoTime) -> Vec<ClientFrame> {
        self.frames(again, |_| true)
    }

    /// As [`Self::all`], of those that are due.
    pub(super) fn due(&mut self, now: MonoTime, again: MonoTime) -> Vec<ClientFrame> {
        self.frames(again, |due| due <= now)
    }

    pub(super) fn next_due(&self) -> Option<MonoTime> {
        self.open.values().filter_map(|open| open.due).min()
    }

    fn frames(&mut self, again: MonoTime, is_due: impl Fn(MonoTime) -> bool) -> Vec<ClientFrame> {
        let mut frames = Vec::new();
        for (id, open) in &mut self.open {
            if open.due.is_some_and(&is_due) {
                open.due = Some(again);
                frames.push(open.request.frame(*id));
            }
        }
        frames
    }
}
