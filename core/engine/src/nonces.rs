//! Remembers what was sent, so that a retry makes no second message.
//!
//! # Invariants
//!
//! - A key maps to the seq of its first message until [`NONCE_WINDOW`] has passed, or longer.
//! - Memory is bounded by the messages of one window.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{Nonce, SeqNo, UserId};
use crate::limits::NONCE_WINDOW;
use crate::time::WallTime;

/// The nonces of one channel.
#[derive(Debug, Default)]
pub struct Nonces {
    known: BTreeMap<(UserId, Nonce), (SeqNo, WallTime)>,
    /// In the order in which they were recorded, oldest first.
    ages: VecDeque<(WallTime, UserId, Nonce)>,
}

impl Nonces {
    /// The position that the nonce led to, and when it was numbered.
    pub fn find(&self, sender: &UserId, nonce: &Nonce) -> Option<(SeqNo, WallTime)> {
        // Cloning two reference counts is cheaper than a key type that borrows.
        self.known.get(&(sender.clone(), nonce.clone())).copied()
    }

    /// Remembers that `nonce` became `seq`, and forgets what is older than the window.
    pub fn record(&mut self, sender: UserId, nonce: Nonce, seq: SeqNo, at: WallTime) {
        self.forget_before(WallTime(at.0.saturating_sub(window_ms())));
        self.ages.push_back((at, sender.clone(), nonce.clone()));
        let earlier = self.known.insert((sender, nonce), (seq, at));
        assert!(earlier.is_none(), "a nonce was recorded twice");
    }

    fn forget_before(&mut self, limit: WallTime) {
        while self.ages.front().is_some_and(|(at, ..)| *at < limit) {
            if let Some((_, sender, nonce)) = self.ages.pop_front() {
                self.known.remove(&(sender, nonce));
            }
        }
    }

    pub fn count(&self) -> usize {
        self.known.len()
    }
}

/// [`NONCE_WINDOW`] in milliseconds.
pub fn window_ms() -> u64 {
    u64::try_from(NONCE_WINDOW.as_millis()).expect("a day fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> (UserId, Nonce) {
        (UserId::new("ada").unwrap(), Nonce::new(text).unwrap())
    }

    #[test]
    fn a_nonce_is_kept_for_the_whole_window_and_forgotten_after_it() {
        let mut nonces = Nonces::default();
        let (ada, first) = key("first");
        nonces.record(ada.clone(), first.clone(), SeqNo(1), WallTime(1_000));

        nonces.record(ada.clone(), key("b").1, SeqNo(2), WallTime(1_000 + window_ms()));
        assert_eq!(nonces.find(&ada, &first), Some((SeqNo(1), WallTime(1_000))));

        nonces.record(ada.clone(), key("c").1, SeqNo(3), WallTime(1_001 + window_ms()));
        assert_eq!(nonces.find(&ada, &first), None);
        assert_eq!(nonces.count(), 2);
    }

    #[test]
    fn another_sender_may_use_the_same_nonce() {
        let mut nonces = Nonces::default();
        let (ada, nonce) = key("n");
        nonces.record(ada, nonce.clone(), SeqNo(1), WallTime(0));
        assert_eq!(nonces.find(&UserId::new("bob").unwrap(), &nonce), None);
    }
}
