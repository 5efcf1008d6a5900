//! Requests that were refused for what may change: an earlier attempt of one may still be on its
//! way.
//!
//! A client that lost its connection asks again on another. The first attempt may be held back on
//! the old one and arrive after the second was refused, when its user has become a member. They were
//! told that it did not happen, so that it must not happen then.
//!
//! # Invariants
//!
//! - **Final**: a nonce that was recorded stays refused for [`REFUSAL_KEPT`].
//! - **Bounded**: at most [`REFUSALS_MAX`]; none is forgotten to make room.

use std::collections::{BTreeMap, VecDeque};

use crate::frame::RejectCode;
use crate::limits::{REFUSAL_KEPT, REFUSALS_MAX};
use crate::nonces::NonceKey;
use crate::time::MonoTime;

/// The refused requests of one shard.
#[derive(Debug, Default)]
pub struct Refusals {
    codes: BTreeMap<NonceKey, RejectCode>,
    /// The same with when they are forgotten, oldest first.
    until: VecDeque<(MonoTime, NonceKey)>,
}

/// There is no room to remember one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Refusals {
    /// What the request was told, if it was refused.
    pub fn find(&self, key: NonceKey) -> Option<RejectCode> {
        self.codes.get(&key).copied()
    }

    pub fn count(&self) -> usize {
        self.codes.len()
    }

    /// The request is refused for good.
    ///
    /// # Errors
    /// [`Full`]: it must not be called refused.
    pub fn record(&mut self, now: MonoTime, key: NonceKey, code: RejectCode) -> Result<(), Full> {
        self.forget(now);
        if self.codes.contains_key(&key) {
            return Ok(());
        }
        if self.codes.len() >= REFUSALS_MAX {
            return Err(Full);
        }
        self.codes.insert(key, code);
        self.until.push_back((now + REFUSAL_KEPT, key));
        Ok(())
    }

    fn forget(&mut self, now: MonoTime) {
        while let Some((until, key)) = self.until.front().copied()
            && until <= now
        {
            self.until.pop_front();
            self.codes.remove(&key);
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

    const CODE: RejectCode = RejectCode::NotMember;

    #[test]
    fn a_refusal_holds_for_its_time_and_is_then_forgotten() {
        let kept = REFUSAL_KEPT.as_secs();
        let mut refusals = Refusals::default();
        assert_eq!(refusals.record(at(0), NonceKey(1), CODE), Ok(()));
        assert_eq!(refusals.record(at(kept - 1), NonceKey(1), CODE), Ok(()), "again is once");
        assert_eq!(refusals.record(at(kept - 1), NonceKey(2), RejectCode::Forbidden), Ok(()));
        assert_eq!(refusals.find(NonceKey(1)), Some(CODE));
        assert_eq!(refusals.find(NonceKey(2)), Some(RejectCode::Forbidden));
        assert_eq!(refusals.record(at(kept), NonceKey(3), CODE), Ok(()));
        assert_eq!((refusals.find(NonceKey(1)), refusals.count()), (None, 2));
    }

    #[test]
    fn there_is_room_for_so_many_and_none_is_forgotten_early() {
        let mut refusals = Refusals::default();
        for key in 0..REFUSALS_MAX as u128 {
            assert_eq!(refusals.record(at(0), NonceKey(key), CODE), Ok(()));
        }
        assert_eq!(refusals.record(at(1), NonceKey(u128::MAX), CODE), Err(Full));
        assert_eq!(refusals.find(NonceKey(0)), Some(CODE));
        assert_eq!(refusals.record(at(REFUSAL_KEPT.as_secs()), NonceKey(u128::MAX), CODE), Ok(()));
        assert_eq!(refusals.count(), 1);
    }
}
