//! What a client has of one channel: re-sorts, drops repeats, asks for what is missing.
//!
//! # Invariants
//!
//! - **Contiguous**: entries are handed on as +1, +1, …, across connections and gateways.
//! - **Bounded**: at most [`CLIENT_REORDER_MAX`] entries wait behind a gap.

use std::collections::BTreeMap;

use crate::entry::Entry;
use crate::ids::SeqNo;
use crate::limits::CLIENT_REORDER_MAX;

/// A client's view of one channel.
#[derive(Debug)]
pub struct ChannelView {
    last: SeqNo,
    early: BTreeMap<SeqNo, Entry>,
    filling: bool,
}

/// More entries wait behind a gap than a client may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFarAhead;

impl ChannelView {
    /// Nothing is known up to and including `after`; the next entry wanted is the one behind it.
    pub fn new(after: SeqNo) -> Self {
        Self { last: after, early: BTreeMap::new(), filling: false }
    }

    /// The last position that was handed on: where to resume.
    pub fn last(&self) -> SeqNo {
        self.last
    }

    /// Takes an entry in any order; appends those that are due to `due`.
    ///
    /// # Errors
    /// [`TooFarAhead`]: the entry was dropped; resume on a new connection.
    pub fn take(&mut self, entry: Entry, due: &mut Vec<Entry>) -> Result<(), TooFarAhead> {
        if entry.seq <= self.last {
            return Ok(());
        }
        if entry.seq != self.last.next() && self.early.len() >= CLIENT_REORDER_MAX {
            return Err(TooFarAhead);
        }
        self.early.insert(entry.seq, entry);
        while let Some(entry) = self.early.remove(&self.last.next()) {
            self.last = entry.seq;
            due.push(entry);
        }
        Ok(())
    }

    /// The entries up to `upto` are gone. Gives the last one before that was handed on, if some
    /// after it will never be; appends those behind them that are due to `due`.
    pub fn skip(&mut self, upto: SeqNo, due: &mut Vec<Entry>) -> Option<SeqNo> {
        if upto <= self.last {
            return None;
        }
        let before = std::mem::replace(&mut self.last, upto);
        self.early = self.early.split_off(&upto.next());
        while let Some(entry) = self.early.remove(&self.last.next()) {
            self.last = entry.seq;
            due.push(entry);
        }
        Some(before)
    }

    /// Whether to ask for the entries after [`Self::last`]: there is a gap and nobody asked yet.
    pub fn should_fill(&mut self) -> bool {
        let ask = !self.filling && !self.early.is_empty();
        self.filling |= ask;
        ask
    }

    /// The page that was asked for came, or will not come.
    pub fn filled(&mut self) {
        self.filling = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Content;
    use crate::ids::{Nonce, UserId};
    use crate::time::WallTime;

    fn entry(seq: u64) -> Entry {
        let content =
            Content::Joined { user: UserId::new("ada").unwrap(), nonce: Nonce::new("n").unwrap() };
        Entry { seq: SeqNo(seq), at: WallTime(0), content }
    }

    fn take(view: &mut ChannelView, seq: u64) -> Vec<u64> {
        let mut due = Vec::new();
        view.take(entry(seq), &mut due).unwrap();
        due.iter().map(|entry| entry.seq.0).collect()
    }

    #[test]
    fn entries_come_out_in_order_and_once() {
        let mut view = ChannelView::new(SeqNo(10));
        assert!(take(&mut view, 12).is_empty());
        assert!(view.should_fill());
        assert!(!view.should_fill(), "one request for one gap");
        assert!(take(&mut view, 13).is_empty());
        assert_eq!(take(&mut view, 11), [11, 12, 13]);
        assert!(take(&mut view, 12).is_empty());
        view.filled();
        assert!(!view.should_fill());
        assert_eq!(view.last(), SeqNo(13));
    }

    #[test]
    fn what_is_gone_is_skipped_and_what_waits_behind_it_comes_out() {
        let mut view = ChannelView::new(SeqNo(10));
        for early in [13, 15, 16, 18] {
            assert!(take(&mut view, early).is_empty());
        }
        let mut due = Vec::new();
        assert_eq!(view.skip(SeqNo(10), &mut due), None);
        assert_eq!(view.skip(SeqNo(14), &mut due), Some(SeqNo(10)));
        assert_eq!(due.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), [15, 16]);
        assert_eq!(take(&mut view, 17), [17, 18]);
    }

    #[test]
    fn what_waits_behind_a_gap_is_bounded() {
        let mut view = ChannelView::new(SeqNo(0));
        for seq in 0..CLIENT_REORDER_MAX as u64 {
            assert!(take(&mut view, seq + 2).is_empty());
        }
        let far = entry(CLIENT_REORDER_MAX as u64 + 2);
        assert_eq!(view.take(far, &mut Vec::new()), Err(TooFarAhead));
        assert_eq!(take(&mut view, 1).len(), CLIENT_REORDER_MAX + 1);
    }
}
