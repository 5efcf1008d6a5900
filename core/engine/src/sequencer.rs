//! Gives the entries of one channel their order.
//!
//! A [`Sequencer`] hands out positions and gives an entry back for announcing only once the store
//! holds it. The owner machine drives it.
//!
//! # Invariants
//!
//! - **Dense**: positions are 1, 2, 3, … without a gap or a repeat.
//! - **Durable first**: an entry leaves [`Sequencer::durable`] only after the store held it.
//! - **Bounded**: at most [`IN_FLIGHT_MAX`] entries wait for the store.

use std::collections::VecDeque;

use crate::entry::{Content, Entry};
use crate::ids::SeqNo;
use crate::limits::IN_FLIGHT_MAX;
use crate::time::WallTime;

/// The store is behind; nothing was assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("channel is busy: {IN_FLIGHT_MAX} entries wait for the store")]
pub struct Busy;

#[derive(Debug)]
pub struct Sequencer {
    assigned_upto: SeqNo,
    durable_upto: SeqNo,
    /// Exactly the entries `durable_upto + 1 ..= assigned_upto`.
    in_flight: VecDeque<Entry>,
}

impl Sequencer {
    /// Goes on after `head`, the newest durable position.
    pub fn new(head: SeqNo) -> Self {
        Self { assigned_upto: head, durable_upto: head, in_flight: VecDeque::new() }
    }

    /// Numbers an entry. The caller hands it to the store, in this order.
    ///
    /// # Errors
    /// [`Busy`]
    pub fn assign(&mut self, at: WallTime, content: Content) -> Result<Entry, Busy> {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            return Err(Busy);
        }
        let entry = Entry { seq: self.assigned_upto.next(), at, content };
        self.assigned_upto = entry.seq;
        self.in_flight.push_back(entry.clone());
        self.assert_invariants();
        Ok(entry)
    }

    /// The store holds the oldest entry in flight: it may be announced.
    pub fn durable(&mut self) -> Entry {
        // The store answers in order and only for what we asked, so anything else is our bug.
        let entry = self.in_flight.pop_front().expect("the store holds an entry nobody assigned");
        assert_eq!(entry.seq, self.durable_upto.next(), "the store skipped an entry");
        self.durable_upto = entry.seq;
        self.assert_invariants();
        entry
    }

    /// The newest position that the store holds.
    pub fn head(&self) -> SeqNo {
        self.durable_upto
    }

    /// Entries that wait for the store.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn assert_invariants(&self) {
        let span = self.assigned_upto.0 - self.durable_upto.0;
        assert_eq!(span, self.in_flight.len() as u64, "in flight is not the span between heads");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Nonce, UserId};

    fn joined() -> Content {
        Content::Joined { user: UserId::new("ada").unwrap(), nonce: Nonce::new("n").unwrap() }
    }

    #[test]
    fn positions_are_dense_and_go_on_after_a_restart() {
        let mut sequencer = Sequencer::new(SeqNo(41));
        let seqs: Vec<u64> =
            (0..3).map(|_| sequencer.assign(WallTime(0), joined()).unwrap().seq.0).collect();
        assert_eq!(seqs, [42, 43, 44]);
    }

    #[test]
    fn the_head_moves_only_when_the_store_holds_the_entry() {
        let mut sequencer = Sequencer::new(SeqNo::ZERO);
        let assigned = sequencer.assign(WallTime(0), joined()).unwrap();
        assert_eq!(sequencer.head(), SeqNo::ZERO);
        assert_eq!(sequencer.durable(), assigned);
        assert_eq!(sequencer.head(), SeqNo(1));
    }

    #[test]
    fn a_stalled_store_makes_the_channel_busy_and_assigns_nothing() {
        let mut sequencer = Sequencer::new(SeqNo::ZERO);
        for _ in 0..IN_FLIGHT_MAX {
            sequencer.assign(WallTime(0), joined()).unwrap();
        }
        assert_eq!(sequencer.assign(WallTime(0), joined()), Err(Busy));
        sequencer.durable();
        let next = sequencer.assign(WallTime(0), joined()).unwrap();
        assert_eq!(next.seq.0, IN_FLIGHT_MAX as u64 + 1);
    }
}
