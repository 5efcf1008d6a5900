//! How far users have read: collected, made durable together, then told.
//!
//! Marks come often and only the last one of a user in a channel matters, so the owner collects
//! them for [`READ_COALESCE`] and hands the store one note. What is not durable yet is told to
//! nobody: a position that was told never falls, whatever crashes.
//!
//! # Invariants
//!
//! - **Never back**: a position only rises.
//! - **Durable first**: [`ReadCursors::of`] and [`ReadCursors::noted`] give durable positions only.
//! - **One note at a time**, of at most [`STORE_BATCH_MAX`] positions.

use std::collections::BTreeMap;

use crate::entry::ReadCursor;
use crate::ids::{ChannelKey, SeqNo, UserId};
use crate::limits::{READ_COALESCE, STORE_BATCH_MAX};
use crate::time::MonoTime;

/// The positions of one shard's users.
#[derive(Debug, Default)]
pub struct ReadCursors {
    durable: BTreeMap<ChannelKey, BTreeMap<UserId, SeqNo>>,
    /// Marks that no note holds.
    marked: BTreeMap<(ChannelKey, UserId), SeqNo>,
    /// When the next note is due; none without marks.
    due: Option<MonoTime>,
    /// The note that the store was given.
    noting: Vec<ReadCursor>,
}

impl ReadCursors {
    /// Goes on from what the store holds.
    pub fn new(durable: Vec<ReadCursor>) -> Self {
        let mut cursors = Self::default();
        durable.into_iter().for_each(|cursor| cursors.settle(&cursor));
        cursors
    }

    /// Up to where the user has read; 0 if nothing was ever marked.
    pub fn of(&self, channel: &ChannelKey, user: &UserId) -> SeqNo {
        self.durable.get(channel).and_then(|users| users.get(user)).copied().unwrap_or_default()
    }

    /// The user says so. The caller has seen to it that they may, and that the entry exists.
    pub fn mark(&mut self, now: MonoTime, cursor: ReadCursor) {
        if cursor.seq <= self.of(&cursor.channel, &cursor.user) {
            return;
        }
        let ReadCursor { channel, user, seq } = cursor;
        let marked = self.marked.entry((channel, user)).or_default();
        *marked = seq.max(*marked);
        self.due.get_or_insert(now + READ_COALESCE);
    }

    /// What the store is to note now, if it is time for it and no note is under way.
    pub fn next_note(&mut self, now: MonoTime) -> Option<Vec<ReadCursor>> {
        if !self.noting.is_empty() || self.due.is_none_or(|due| due > now) {
            return None;
        }
        while self.noting.len() < STORE_BATCH_MAX
            && let Some(((channel, user), seq)) = self.marked.pop_first()
        {
            self.noting.push(ReadCursor { channel, user, seq });
        }
        self.due = (!self.marked.is_empty()).then_some(now);
        Some(self.noting.clone())
    }

    /// The note is durable: gives what may be told.
    pub fn noted(&mut self) -> Vec<ReadCursor> {
        let noted = std::mem::take(&mut self.noting);
        noted.iter().for_each(|cursor| self.settle(cursor));
        noted
    }

    /// When to ask for [`Self::next_note`], if nothing else happens before.
    pub fn next_deadline(&self) -> Option<MonoTime> {
        self.due.filter(|_| self.noting.is_empty())
    }

    fn settle(&mut self, ReadCursor { channel, user, seq }: &ReadCursor) {
        let users = self.durable.entry(channel.clone()).or_default();
        let position = users.entry(user.clone()).or_default();
        *position = (*seq).max(*position);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::{ChannelId, WorkspaceId};

    const START: MonoTime = MonoTime(Duration::ZERO);

    fn channel() -> ChannelKey {
        ChannelKey {
            workspace: WorkspaceId::new("w").unwrap(),
            channel: ChannelId::new("c").unwrap(),
        }
    }

    fn cursor(user: u64, seq: u64) -> ReadCursor {
        let user = UserId::new(&format!("u{user}")).unwrap();
        ReadCursor { channel: channel(), user, seq: SeqNo(seq) }
    }

    fn of(cursors: &ReadCursors, user: u64) -> u64 {
        cursors.of(&channel(), &cursor(user, 0).user).0
    }

    #[test]
    fn marks_are_collected_noted_together_and_only_then_count() {
        let mut cursors = ReadCursors::new(vec![cursor(1, 4)]);
        cursors.mark(START, cursor(1, 3));
        assert_eq!(cursors.next_deadline(), None, "it was read before");
        cursors.mark(START, cursor(1, 6));
        cursors.mark(START, cursor(2, 9));
        cursors.mark(START, cursor(1, 5));
        assert_eq!(cursors.next_note(START), None, "more may come");
        let due = cursors.next_deadline().unwrap();
        assert_eq!(due, START + READ_COALESCE);

        assert_eq!(cursors.next_note(due), Some(vec![cursor(1, 6), cursor(2, 9)]));
        assert_eq!((of(&cursors, 1), of(&cursors, 2)), (4, 0), "it is not durable");
        cursors.mark(due, cursor(1, 7));
        assert_eq!(cursors.next_note(due + READ_COALESCE), None, "one note at a time");
        assert_eq!(cursors.next_deadline(), None);

        assert_eq!(cursors.noted(), [cursor(1, 6), cursor(2, 9)]);
        assert_eq!((of(&cursors, 1), of(&cursors, 2)), (6, 9));
        assert_eq!(cursors.next_note(due + READ_COALESCE), Some(vec![cursor(1, 7)]));
    }

    #[test]
    fn a_crowd_takes_several_notes() {
        let mut cursors = ReadCursors::default();
        let crowd = STORE_BATCH_MAX as u64 + 1;
        (0..crowd).for_each(|user| cursors.mark(START, cursor(user, 1)));
        let due = START + READ_COALESCE;
        assert_eq!(cursors.next_note(due).unwrap().len(), STORE_BATCH_MAX);
        cursors.noted();
        assert_eq!(cursors.next_deadline(), Some(due), "the rest follows at once");
        assert_eq!(cursors.next_note(due).unwrap().len(), 1);
        cursors.noted();
        assert_eq!(cursors.next_deadline(), None);
        assert!((0..crowd).all(|user| of(&cursors, user) == 1));
    }
}
