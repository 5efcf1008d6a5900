//! The sessions that follow one channel at a gateway, and how far each has been sent its entries.
//!
//! Cursors of one channel lie side by side, so that publishing is one pass through memory. The
//! rule that all delivery rests on is [`Cursor::offer`].

use std::time::Duration;

use bytes::Bytes;

use crate::ids::{ConnectionId, SeqNo};
use crate::session::SendQueue;
use crate::time::MonoTime;

/// What one session has of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub connection: ConnectionId,
    /// Every entry up to here has been queued for the session, each once.
    pub sent_upto: SeqNo,
    /// Nothing after this entry is for the session.
    until: SeqNo,
    /// The page after this entry is wanted or on its way.
    pub reading: Option<SeqNo>,
    /// The session has no room; what comes waits in the log until its queue is short.
    pub waiting: bool,
    /// The session is owed a `caught_up` when it reaches the head.
    pub owes_caught_up: bool,
}

/// An end that is never reached.
const FOR_EVER: SeqNo = SeqNo(u64::MAX);

/// The frames of consecutive entries, end to end: encoded once for all who get them.
#[derive(Debug, Clone, Default)]
pub struct Run {
    first: SeqNo,
    bytes: Vec<u8>,
    /// Where each entry's frame ends.
    ends: Vec<usize>,
}

/// A [`Run`] that is complete.
#[derive(Debug, Clone)]
pub struct Frames {
    first: SeqNo,
    bytes: Bytes,
    ends: Vec<usize>,
}

/// What a session takes of the frames that it is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    All,
    /// It has the first ones already, or may not have the last ones; these bytes are the rest.
    Part(Bytes),
    /// It already has them, or may not have them.
    NotNeeded,
    /// Entries before them are missing; the log has them.
    Behind,
    /// Its queue is full; the log will have them.
    Full,
}

impl Cursor {
    pub fn new(connection: ConnectionId, sent_upto: SeqNo, owes_caught_up: bool) -> Self {
        let (until, reading, waiting) = (FOR_EVER, None, false);
        Self { connection, sent_upto, until, reading, waiting, owes_caught_up }
    }

    /// The user is a member up to this entry only; `None`: for as long as nothing else is said.
    pub fn end(&mut self, until: Option<SeqNo>) {
        self.until = until.unwrap_or(FOR_EVER);
    }

    /// The user is no member any more; the session may have to be sent what came before.
    pub fn is_ending(&self) -> bool {
        self.until != FOR_EVER
    }

    /// The last entry that is for the session, when it has been sent it.
    pub fn ended(&self) -> Option<SeqNo> {
        (self.until <= self.sent_upto).then_some(self.until)
    }

    /// Takes what follows on the entry that the session was sent last, if there is room. The
    /// caller queues the frames.
    pub fn offer(&mut self, frames: &Frames, queue: &mut SendQueue) -> Offer {
        let last = frames.last().min(self.until);
        if last <= self.sent_upto {
            return Offer::NotNeeded;
        }
        let next = self.sent_upto.next();
        if next < frames.first {
            return Offer::Behind;
        }
        if queue.is_full() {
            self.owes_caught_up = true;
            return Offer::Full;
        }
        self.sent_upto = last;
        if next == frames.first && last == frames.last() {
            queue.add(frames.bytes.len());
            return Offer::All;
        }
        let part = frames.part(next, last);
        queue.add(part.len());
        Offer::Part(part)
    }

    /// Entries up to `upto` are gone: the session goes on behind them. Gives the last one that it is
    /// not sent, if there are any.
    pub fn skip(&mut self, upto: SeqNo) -> Option<SeqNo> {
        let upto = upto.min(self.until);
        if upto <= self.sent_upto {
            return None;
        }
        self.sent_upto = upto;
        Some(upto)
    }

    /// Whether the session has to be looked at: it is behind `head` and nothing is under way, or
    /// it is owed word that it has caught up, or that this is all it gets.
    pub fn is_unsettled(&self, head: SeqNo) -> bool {
        if self.ended().is_some() {
            true
        } else if self.sent_upto < head {
            self.reading.is_none() && !self.waiting
        } else {
            self.owes_caught_up
        }
    }
}

impl Run {
    /// Bytes that `write` may append a frame to.
    ///
    /// # Panics
    /// The entry does not follow on the last one.
    pub fn add(&mut self, seq: SeqNo, write: impl FnOnce(&mut Vec<u8>)) {
        if self.ends.is_empty() {
            self.first = seq;
        }
        assert!(self.next().is_none_or(|next| next == seq), "a run has a gap");
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// The only entry that may be added; `None`: any.
    pub fn next(&self) -> Option<SeqNo> {
        (!self.ends.is_empty()).then(|| SeqNo(self.first.0 + self.ends.len() as u64))
    }

    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The frames; `None` when there are none.
    pub fn finish(self) -> Option<Frames> {
        let Self { first, bytes, ends } = self;
        (!ends.is_empty()).then(|| Frames { first, bytes: bytes.into(), ends })
    }
}

impl Frames {
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn count(&self) -> u64 {
        self.ends.len() as u64
    }

    pub fn last(&self) -> SeqNo {
        SeqNo(self.first.0 + self.ends.len() as u64 - 1)
    }

    /// The frames of the entries from `from` up to `upto`, which are among them.
    fn part(&self, from: SeqNo, upto: SeqNo) -> Bytes {
        self.bytes.slice(self.end_before(from)..self.end_before(upto.next()))
    }

    /// Where the frames of the entries before `seq` end.
    fn end_before(&self, seq: SeqNo) -> usize {
        let before = usize::try_from(seq.0 - self.first.0).expect("an index of `ends`");
        let last = before.checked_sub(1).and_then(|index| self.ends.get(index));
        last.copied().unwrap_or_default()
    }
}

/// Where and when a session began to follow a channel. There is one for each cursor: 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// It is sent what comes after this entry.
    pub after: SeqNo,
    at_ns: u64,
}

impl Start {
    /// Half a millennium of nanoseconds fits.
    fn new(after: SeqNo, at: MonoTime) -> Self {
        Self { after, at_ns: u64::try_from(at.0.as_nanos()).unwrap_or(u64::MAX) }
    }

    pub fn at(self) -> MonoTime {
        MonoTime(Duration::from_nanos(self.at_ns))
    }
}

const _: () = assert!(size_of::<Start>() == 16);

/// All cursors of one channel, in the order of their connections' places.
#[derive(Debug, Default)]
pub struct Followers {
    cursors: Vec<Cursor>,
    /// Of each cursor. Apart from them, since publishing doesn't need it.
    starts: Vec<Start>,
}

impl Followers {
    /// Adds the cursor, in place of the one that the connection has.
    pub fn insert(&mut self, cursor: Cursor, at: MonoTime) {
        let start = Start::new(cursor.sent_upto, at);
        match self.find(cursor.connection) {
            Ok(index) => {
                *self.cursors.get_mut(index).expect("found") = cursor;
                *self.starts.get_mut(index).expect("there is one for each cursor") = start;
            }
            Err(index) => {
                self.cursors.insert(index, cursor);
                self.starts.insert(index, start);
            }
        }
    }

    pub fn remove(&mut self, connection: ConnectionId) -> Option<Cursor> {
        let index = self.find(connection).ok()?;
        let cursor = self.cursors.remove(index);
        self.starts.remove(index);
        if self.cursors.len() * 4 < self.cursors.capacity() {
            self.cursors.shrink_to(self.cursors.len() * 2);
            self.starts.shrink_to(self.starts.len() * 2);
        }
        Some(cursor)
    }

    pub fn get(&self, connection: ConnectionId) -> Option<&Cursor> {
        let index = self.find(connection).ok()?;
        self.cursors.get(index)
    }

    pub fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Cursor> {
        let index = self.find(connection).ok()?;
        self.cursors.get_mut(index)
    }

    /// The connection's cursor, and where it began.
    pub fn with_start(&self, connection: ConnectionId) -> Option<(&Cursor, &Start)> {
        let index = self.find(connection).ok()?;
        self.cursors.get(index).zip(self.starts.get(index))
    }

    /// All cursors, and where they began.
    pub fn with_starts(&self) -> impl Iterator<Item = (&Cursor, &Start)> {
        self.cursors.iter().zip(&self.starts)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Cursor> {
        self.cursors.iter_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Cursor> {
        self.cursors.iter()
    }

    pub fn len(&self) -> usize {
        self.cursors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cursors.is_empty()
    }

    fn find(&self, connection: ConnectionId) -> Result<usize, usize> {
        let key = |one: ConnectionId| (one.slot(), one);
        self.cursors.binary_search_by_key(&key(connection), |cursor| key(cursor.connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SESSION_QUEUE_BYTES_MAX;

    const ADA: ConnectionId = ConnectionId(1);

    fn cursor(sent_upto: u64) -> Cursor {
        Cursor::new(ADA, SeqNo(sent_upto), false)
    }

    /// One byte for each entry: its number.
    fn frames(seqs: std::ops::RangeInclusive<u8>) -> Frames {
        let mut run = Run::default();
        for seq in seqs {
            run.add(SeqNo(u64::from(seq)), |bytes| bytes.push(seq));
        }
        run.finish().expect("not empty")
    }

    #[test]
    fn a_session_takes_each_entry_once_and_in_order() {
        let (mut cursor, mut queue) = (cursor(5), SendQueue::default());
        assert_eq!(cursor.offer(&frames(4..=5), &mut queue), Offer::NotNeeded);
        assert_eq!(cursor.offer(&frames(7..=8), &mut queue), Offer::Behind);
        assert_eq!(cursor.offer(&frames(6..=7), &mut queue), Offer::All);
        assert_eq!(cursor.offer(&frames(6..=7), &mut queue), Offer::NotNeeded);
        let rest = Offer::Part(Bytes::from_static(&[8, 9]));
        assert_eq!(cursor.offer(&frames(6..=9), &mut queue), rest);
        assert_eq!(cursor.sent_upto, SeqNo(9));
        assert!(!cursor.owes_caught_up);
    }

    #[test]
    fn a_session_takes_nothing_after_the_end_of_its_membership() {
        let (mut cursor, mut queue) = (cursor(5), SendQueue::default());
        cursor.end(Some(SeqNo(7)));
        assert_eq!((cursor.ended(), cursor.is_unsettled(SeqNo(5))), (None, false));
        let part = |bytes| Offer::Part(Bytes::from_static(bytes));
        assert_eq!(cursor.offer(&frames(6..=9), &mut queue), part(&[6, 7]));
        assert_eq!((cursor.ended(), cursor.is_unsettled(SeqNo(9))), (Some(SeqNo(7)), true));
        assert_eq!(cursor.offer(&frames(8..=9), &mut queue), Offer::NotNeeded);

        cursor.end(None);
        assert_eq!(cursor.ended(), None, "a member again");
        assert_eq!(cursor.offer(&frames(7..=9), &mut queue), part(&[8, 9]));
    }

    #[test]
    fn a_session_goes_on_behind_what_is_gone_but_not_behind_its_end() {
        let (mut cursor, mut queue) = (cursor(5), SendQueue::default());
        assert_eq!(cursor.skip(SeqNo(5)), None);
        assert_eq!(cursor.skip(SeqNo(7)), Some(SeqNo(7)));
        assert_eq!(cursor.offer(&frames(8..=8), &mut queue), Offer::All);
        cursor.end(Some(SeqNo(9)));
        assert_eq!(cursor.skip(SeqNo(12)), Some(SeqNo(9)));
        assert_eq!((cursor.ended(), cursor.skip(SeqNo(12))), (Some(SeqNo(9)), None));
    }

    #[test]
    fn a_full_queue_leaves_entries_in_the_log_until_it_is_short_again() {
        let (mut cursor, mut queue) = (cursor(5), SendQueue::default());
        queue.add(SESSION_QUEUE_BYTES_MAX);
        assert_eq!(cursor.offer(&frames(6..=6), &mut queue), Offer::All);
        assert_eq!(cursor.offer(&frames(7..=7), &mut queue), Offer::Full);
        assert!(cursor.owes_caught_up);
        queue.measured(0);
        assert_eq!(cursor.offer(&frames(7..=7), &mut queue), Offer::All);
    }

    #[test]
    fn a_session_is_left_alone_while_something_is_under_way_for_it() {
        let mut cursor = cursor(5);
        assert!(!cursor.is_unsettled(SeqNo(5)));
        assert!(cursor.is_unsettled(SeqNo(6)));
        cursor.reading = Some(SeqNo(5));
        assert!(!cursor.is_unsettled(SeqNo(6)));
        (cursor.reading, cursor.waiting) = (None, true);
        assert!(!cursor.is_unsettled(SeqNo(6)));
        (cursor.sent_upto, cursor.owes_caught_up) = (SeqNo(6), true);
        assert!(cursor.is_unsettled(SeqNo(6)));
    }

    #[test]
    fn cursors_are_found_by_their_connection_and_not_by_its_place_alone() {
        let (old, new) = (ConnectionId::new(3, 0), ConnectionId::new(3, 1));
        let mut followers = Followers::default();
        for connection in [ConnectionId::new(9, 0), new, ConnectionId::new(1, 7)] {
            followers.insert(Cursor::new(connection, SeqNo(1), false), MonoTime::default());
        }
        assert_eq!(followers.remove(old), None);
        assert_eq!(followers.get_mut(new).map(|cursor| cursor.connection), Some(new));
        let slots: Vec<usize> = followers.iter().map(|cursor| cursor.connection.slot()).collect();
        assert_eq!(slots, [1, 3, 9]);
        assert!(followers.remove(new).is_some());
        assert_eq!(followers.len(), 2);
    }
}
