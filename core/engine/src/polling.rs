//! What a client that polls is still to be given, in batches that outlive a lost answer.
//!
//! The answer to a poll may be lost on its way, so a [`Batches`] keeps the batch until a later poll
//! acknowledges its number; a poll that acknowledges the one before is given the same batch again.
//! It performs no I/O; `node/src/polling/` drives it.
//!
//! # Invariants
//!
//! - **Each once, in order**: a client that takes each batch number once has every frame once, in
//!   the order in which they were pushed.
//! - **Bounded**: two batches at most are held, each of [`POLL_BATCH_BYTES_MAX`] and what is pushed
//!   at once when there is room.

use crate::limits::POLL_BATCH_BYTES_MAX;

/// The frames of one session that no poll has acknowledged.
#[derive(Debug, Default)]
pub struct Batches {
    /// The last batch that was made; 0 before the first.
    number: u64,
    /// Its frames, until they are acknowledged.
    unacknowledged: Option<Vec<String>>,
    /// Frames of the batch that comes after it.
    next: Vec<String>,
    next_bytes: usize,
}

/// A poll acknowledges a batch that is neither the last nor the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`ack` is {ack}, the last batch was {last}: name the last batch that came; or open anew")]
pub struct UnknownBatch {
    pub ack: u64,
    pub last: u64,
}

impl Batches {
    /// Whether another frame may be pushed.
    pub fn has_room(&self) -> bool {
        self.next_bytes < POLL_BATCH_BYTES_MAX
    }

    pub fn push(&mut self, frame: String) {
        self.next_bytes += frame.len();
        self.next.push(frame);
    }

    /// The client has every batch up to and including `ack`.
    ///
    /// # Errors
    /// It can't, or has gone back by more than the one that may have been lost.
    pub fn acknowledge(&mut self, ack: u64) -> Result<(), UnknownBatch> {
        if ack == self.number {
            self.unacknowledged = None;
            return Ok(());
        }
        if self.unacknowledged.is_some() && ack.checked_add(1) == Some(self.number) {
            return Ok(());
        }
        Err(UnknownBatch { ack, last: self.number })
    }

    /// The batch to answer with: the unacknowledged one again, else what was pushed since. `None`
    /// when there is nothing.
    pub fn due(&mut self) -> Option<(u64, &[String])> {
        if self.unacknowledged.is_none() && !self.next.is_empty() {
            self.number += 1;
            self.unacknowledged = Some(std::mem::take(&mut self.next));
            self.next_bytes = 0;
        }
        self.unacknowledged.as_deref().map(|frames| (self.number, frames))
    }

    /// The last batch that was made.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether nothing comes behind the batch that is unacknowledged.
    pub fn is_last(&self) -> bool {
        self.next.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(batches: &mut Batches) -> Option<(u64, Vec<String>)> {
        batches.due().map(|(number, frames)| (number, frames.to_vec()))
    }

    fn batch(number: u64, frames: &[&str]) -> Option<(u64, Vec<String>)> {
        Some((number, frames.iter().map(|frame| (*frame).to_owned()).collect()))
    }

    #[test]
    fn a_batch_is_given_again_until_it_is_acknowledged() {
        let mut batches = Batches::default();
        assert_eq!(batches.acknowledge(0), Ok(()));
        assert_eq!(frames(&mut batches), None);
        for frame in ["a", "b"] {
            batches.push(frame.to_owned());
        }
        assert_eq!(frames(&mut batches), batch(1, &["a", "b"]));
        batches.push("c".to_owned());
        assert_eq!(batches.acknowledge(0), Ok(()), "the answer was lost");
        assert_eq!(frames(&mut batches), batch(1, &["a", "b"]));
        assert!(!batches.is_last());
        assert_eq!(batches.acknowledge(1), Ok(()));
        assert_eq!(frames(&mut batches), batch(2, &["c"]));
        assert!(batches.is_last());
        assert_eq!(batches.acknowledge(2), Ok(()));
        assert_eq!(frames(&mut batches), None);
        assert_eq!(batches.acknowledge(2), Ok(()), "a poll that got nothing is repeated");
    }

    #[test]
    fn a_poll_can_neither_skip_a_batch_nor_ask_for_one_that_is_gone() {
        let mut batches = Batches::default();
        assert_eq!(batches.acknowledge(1), Err(UnknownBatch { ack: 1, last: 0 }));
        batches.push("a".to_owned());
        batches.due();
        for ack in [2, u64::MAX] {
            assert_eq!(batches.acknowledge(ack), Err(UnknownBatch { ack, last: 1 }));
        }
        assert_eq!(batches.acknowledge(1), Ok(()));
        assert_eq!(batches.acknowledge(0), Err(UnknownBatch { ack: 0, last: 1 }));
        assert_eq!(batches.acknowledge(u64::MAX), Err(UnknownBatch { ack: u64::MAX, last: 1 }));
    }

    #[test]
    fn there_is_no_room_behind_a_full_batch() {
        let mut batches = Batches::default();
        let half = "x".repeat(POLL_BATCH_BYTES_MAX / 2);
        for _ in 0..2 {
            assert!(batches.has_room());
            batches.push(half.clone());
        }
        assert!(!batches.has_room());
        batches.due();
        assert!(batches.has_room(), "the next one may fill while this one is read");
        for _ in 0..2 {
            batches.push(half.clone());
        }
        batches.due();
        assert!(!batches.has_room(), "the first is not acknowledged");
    }
}
