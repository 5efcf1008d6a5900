//! Sends that were refused for what may change: an earlier attempt of one may still be on its way.
//!
//! A client that lost its connection sends again on another. The first attempt may be held back on
//! the old one and arrive after the second was refused, when its sender has become a member. The
//! sender was told that it did not happen, so that it must not happen then.
//!
//! # Invariants
//!
//! - **Final**: a nonce that was recorded stays refused for [`REFUSAL_KEPT`].
//! - **Bounded**: at most [`REFUSALS_MAX`]; none is forgotten to make room.

use std::collections::{BTreeSet, VecDeque};

use crate::limits::{REFUSAL_KEPT, REFUSALS_MAX};
use crate::nonces::NonceKey;
use crate::time::MonoTime;

/// The refused sends of one shard.
#[derive(Debug, Default)]
pub struct Refusals {
    keys: BTreeSet<NonceKey>,
    /// The same with when they are forgotten, oldest first.
    until: VecDeque<(MonoTime, NonceKey)>,
}

/// There is no room to remember one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Refusals {
    pub fn contains(&self, key: NonceKey) -> bool {
        self.keys.contains(&key)
    }

    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The send is refused for good.
    ///
    /// # Errors
    /// [`Full`]: it must not be called refused.
    pub fn record(&mut self, now: MonoTime, key: NonceKey) -> Result<(), Full> {
        self.forget(now);
        if self.keys.contains(&key) {
            return Ok(());
        }
        if self.keys.len() >= REFUSALS_MAX {
            return Err(Full);
        }
        self.keys.insert(key);
        self.until.push_back((now + REFUSAL_KEPT, key));
        Ok(())
    }

    fn forget(&mut self, now: MonoTime) {
        while let Some((until, key)) = self.until.front().copied()
            && until <= now
        {
            self.until.pop_front();
            self.keys.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime(Duration::from_secs(seconds))
    }

    #[test]
    fn a_refusal_holds_for_its_time_and_is_then_forgotten() {
        let kept = REFUSAL_KEPT.as_secs();
        let mut refusals = Refusals::default();
        assert_eq!(refusals.record(at(0), NonceKey(1)), Ok(()));
        assert_eq!(refusals.record(at(kept - 1), NonceKey(1)), Ok(()), "again is once");
        assert_eq!(refusals.record(at(kept - 1), NonceKey(2)), Ok(()));
        assert!(refusals.contains(NonceKey(1)) && refusals.contains(NonceKey(2)));
        assert_eq!(refusals.record(at(kept), NonceKey(3)), Ok(()));
        assert_eq!((refusals.contains(NonceKey(1)), refusals.count()), (false, 2));
    }

    #[test]
    fn there_is_room_for_so_many_and_none_is_forgotten_early() {
        let mut refusals = Refusals::default();
        for key in 0..REFUSALS_MAX as u128 {
            assert_eq!(refusals.record(at(0), NonceKey(key)), Ok(()));
        }
        assert_eq!(refusals.record(at(1), NonceKey(u128::MAX)), Err(Full));
        assert!(refusals.contains(NonceKey(0)));
        assert_eq!(refusals.record(at(REFUSAL_KEPT.as_secs()), NonceKey(u128::MAX)), Ok(()));
        assert_eq!(refusals.count(), 1);
    }
}
