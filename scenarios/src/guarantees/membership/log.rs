//! One channel's log, entry by entry: who was a member from where to where, and what no entry may
//! do. It decides for itself what is right, from the entries alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::entry::{ChannelKind, Content, Entry};
use seriatim_engine::ids::{SeqNo, UserId};

use crate::history::Event;

use super::requests::Requests;

/// What is known of one channel's log.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Every entry up to here has been taken, in order.
    upto: SeqNo,
    /// First sights of later ones.
    ahead: BTreeMap<SeqNo, Arc<Event>>,
    /// Of which kind the channel is and who made it, from its first entry on.
    origin: Option<(ChannelKind, UserId)>,
    /// Entries that are no messages, as each was first seen.
    changes: BTreeMap<SeqNo, Arc<Event>>,
    stays: BTreeMap<UserId, Vec<Stay>>,
    /// The newest change was not numbered before this.
    asked_at: Duration,
}

/// A user is a member from one entry to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stay {
    pub(super) from: Edge,
    /// None while it lasts.
    pub(super) until: Option<Edge>,
}

/// Where a stay begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) seq: SeqNo,
    /// It was not numbered before this…
    pub(super) asked_at: Duration,
    /// … and was by then: somebody has seen it.
    pub(super) seen_at: Duration,
}

/// What an entry does that it may not.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) entry: Arc<Event>,
    pub(super) message: String,
    /// The change that makes it wrong.
    pub(super) because: Option<SeqNo>,
}

impl Stay {
    /// Whether a member of this stay may have been given the entry at `at`: members read all of
    /// the log, once they are members and up to their last entry.
    fn allows(&self, seq: SeqNo, at: Duration) -> bool {
        self.until.is_none_or(|until| seq <= until.seq)
            && (self.from.seq <= seq || self.from.asked_at <= at)
    }
}

impl Log {
    /// Takes the first sight of an entry. Gives what is wrong with it and those that waited for it.
    pub(super) fn take(&mut self, seq: SeqNo, seen: Arc<Event>, requests: &Requests) -> Vec<Wrong> {
        self.ahead.insert(seq, seen);
        let mut wrongs = Vec::new();
        while let Some(seen) = self.ahead.remove(&self.upto.next()) {
            self.upto = self.upto.next();
            let Some(entry) = seen.what.entry() else { continue };
            if let Err((message, because)) = self.judge(entry) {
                wrongs.push(Wrong { entry: seen.clone(), message, because });
            }
            self.apply(entry, &seen, requests, &mut wrongs);
        }
        wrongs
    }

    /// Every entry up to here is known.
    pub(super) fn upto(&self) -> SeqNo {
        self.upto
    }

    pub(super) fn kind(&self) -> Option<ChannelKind> {
        self.origin.as_ref().map(|(kind, _)| *kind)
    }

    /// The entry at `seq`, if it is known and no message.
    pub(super) fn change(&self, seq: SeqNo) -> Option<&Arc<Event>> {
        self.changes.get(&seq)
    }

    /// Oldest first.
    pub(super) fn stays(&self, user: &UserId) -> &[Stay] {
        self.stays.get(user).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_member(&self, user: &UserId) -> bool {
        self.stays(user).last().is_some_and(|stay| stay.until.is_none())
    }

    /// Whether `user` may have been given the entry at `at`, as far as the log is known.
    pub(super) fn allows(&self, user: &UserId, seq: SeqNo, at: Duration) -> bool {
        self.stays(user).iter().rev().any(|stay| stay.allows(seq, at))
    }

    /// Where the newest stay of `user` ended, if it has.
    pub(super) fn ended(&self, user: &UserId) -> Option<SeqNo> {
        self.stays(user).last()?.until.map(|until| until.seq)
    }

    /// How many changes are known.
    pub(super) fn version(&self) -> usize {
        self.changes.len()
    }

    fn judge(&self, entry: &Entry) -> Result<(), (String, Option<SeqNo>)> {
        let seq = entry.seq;
        match &entry.content {
            Content::Message { sender, .. } => self.is_in(sender, "posts", seq),
            Content::Created { by, members, .. } => {
                if seq != SeqNo::ZERO.next() {
                    return Err((format!("{by} creates at #{seq} what there is"), None));
                }
                require(members.contains(by), || format!("{by} creates #{seq} for others only"))
            }
            Content::Joined { user, .. } => {
                self.is_out(user, "joins", seq)?;
                let is_open = self.kind().is_none_or(|kind| kind == ChannelKind::Public);
                require(is_open, || format!("{user} joins at #{seq} what is not public"))
            }
            Content::Added { user, by, .. } => {
                self.is_in(by, "adds somebody", seq)?;
                self.is_not_direct(seq)?;
                self.is_out(user, "is added", seq)
            }
            Content::Left { user, .. } => {
                self.is_not_direct(seq)?;
                self.is_in(user, "leaves", seq)
            }
            Content::Removed { user, by, .. } => {
                self.is_in(by, "removes somebody", seq)?;
                self.is_not_direct(seq)?;
                let may = self
                    .origin
                    .as_ref()
                    .is_none_or(|(kind, creator)| *kind != ChannelKind::Public || creator == by);
                require(may, || {
                    format!("{by} removes {user} at #{seq} from a public channel of another")
                })?;
                self.is_in(user, "is removed", seq)
            }
        }
    }

    fn is_in(&self, user: &UserId, does: &str, seq: SeqNo) -> Result<(), (String, Option<SeqNo>)> {
        if self.is_member(user) {
            return Ok(());
        }
        let ended = self.ended(user);
        let message = match ended {
            Some(until) => format!("{user} {does} at #{seq}, a member up to #{until} only"),
            None => format!("{user} {does} at #{seq}, a stranger"),
        };
        Err((message, ended))
    }

    fn is_out(&self, user: &UserId, does: &str, seq: SeqNo) -> Result<(), (String, Option<SeqNo>)> {
        let stay = self.stays(user).last().filter(|stay| stay.until.is_none());
        stay.map_or(Ok(()), |Stay { from, .. }| {
            let from = from.seq;
            Err((format!("{user} {does} at #{seq}, a member since #{from} already"), Some(from)))
        })
    }

    fn is_not_direct(&self, seq: SeqNo) -> Result<(), (String, Option<SeqNo>)> {
        let is_direct = self.kind() == Some(ChannelKind::Direct);
        require(!is_direct, || format!("#{seq} changes the members of a direct channel"))
    }

    fn apply(
        &mut self,
        entry: &Entry,
        seen: &Arc<Event>,
        requests: &Requests,
        wrongs: &mut Vec<Wrong>,
    ) {
        if let Content::Message { .. } = &entry.content {
            return;
        }
        let (by, nonce) = entry.content.author();
        match requests.made(by, nonce, self.asked_at) {
            Some(asked_at) => self.asked_at = self.asked_at.max(asked_at),
            // What nobody ever asked for is `no-invention`'s to tell.
            None if requests.has_asked(by, nonce) => {
                let (seq, wish) = (entry.seq, entry.content.wish());
                let message = format!("#{seq}, {wish} by {by}, was answered and is made again");
                let because = self.changes.keys().next_back().copied();
                wrongs.push(Wrong { entry: seen.clone(), message, because });
            }
            None => {}
        }
        if self.origin.is_none() {
            let kind = if let Content::Created { kind, .. } = &entry.content {
                *kind
            } else {
                ChannelKind::Public
            };
            self.origin = Some((kind, by.clone()));
        }
        let edge = Edge { seq: entry.seq, asked_at: self.asked_at, seen_at: seen.at };
        for user in entry.content.begins() {
            let stays = self.stays.entry(user.clone()).or_default();
            if stays.last().is_none_or(|stay| stay.until.is_some()) {
                stays.push(Stay { from: edge, until: None });
            }
        }
        let stays = entry.content.ends().and_then(|user| self.stays.get_mut(user));
        if let Some(stay) = stays.and_then(|stays| stays.last_mut()) {
            stay.until = stay.until.or(Some(edge));
        }
        self.changes.insert(entry.seq, seen.clone());
    }
}

fn require(holds: bool, message: impl FnOnce() -> String) -> Result<(), (String, Option<SeqNo>)> {
    if holds { Ok(()) } else { Err((message(), None)) }
}
