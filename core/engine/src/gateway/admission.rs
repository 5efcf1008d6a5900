//! Turns requests away while the owner of their shard is behind.
//!
//! Requests that wait only lengthen the queue that they wait in. When the oldest one has had no
//! answer for [`ADMISSION_WAIT_MAX`], or [`SHARD_REQUESTS_MAX`] wait, new ones are told to come
//! again: nothing of them has happened, and the owner catches up meanwhile. What slows the owner,
//! its disk, its queue or the link, makes no difference.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::ShardId;
use crate::levels::Limit;
use crate::limits::{ADMISSION_WAIT_MAX, SHARD_REQUESTS_MAX};
use crate::link::Ticket;
use crate::time::MonoTime;

/// Come again after `wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Behind {
    pub(super) limit: Limit,
    pub(super) wait: Duration,
}

/// Between these, the time to come again is what the oldest request has waited: the longer the
/// queue, the later.
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The requests without an answer.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// In the order of their tickets, which is that of their times.
    open: BTreeMap<ShardId, BTreeMap<Ticket, MonoTime>>,
}

impl Admission {
    /// Whether a request for `shard` may be forwarded.
    ///
    /// # Errors
    /// [`Behind`]
    pub(super) fn admit(&self, now: MonoTime, shard: ShardId) -> Result<(), Behind> {
        let Some(open) = self.open.get(&shard) else { return Ok(()) };
        let Some((_, oldest)) = open.first_key_value() else { return Ok(()) };
        let waited = now - *oldest;
        let limit = if open.len() >= SHARD_REQUESTS_MAX {
            Limit::ShardRequests
        } else if waited >= ADMISSION_WAIT_MAX {
            Limit::AdmissionWait
        } else {
            return Ok(());
        };
        Err(Behind { limit, wait: waited.clamp(WAIT_MIN, WAIT_MAX) })
    }

    pub(super) fn asked(&mut self, now: MonoTime, shard: ShardId, ticket: Ticket) {
        self.open.entry(shard).or_default().insert(ticket, now);
    }

    /// Answered, or known never to be.
    pub(super) fn settled(&mut self, shard: ShardId, ticket: Ticket) {
        if let Some(open) = self.open.get_mut(&shard) {
            open.remove(&ticket);
        }
    }

    /// The link is gone, and all that it had on its way is settled.
    pub(super) fn link_down(&mut self, shard: ShardId) {
        self.open.remove(&shard);
    }

    /// The most that wait for one shard.
    pub(super) fn most(&self) -> usize {
        self.open.values().map(BTreeMap::len).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(0);

    #[test]
    fn requests_are_turned_away_while_the_oldest_waits_too_long() {
        let mut admission = Admission::default();
        let start = MonoTime(Duration::from_secs(60));
        admission.asked(start, SHARD, Ticket(1));
        admission.asked(start + Duration::from_secs(1), SHARD, Ticket(2));

        let late = start + ADMISSION_WAIT_MAX;
        assert_eq!(admission.admit(late + Duration::from_secs(60), ShardId(1)), Ok(()));
        assert_eq!(
            admission.admit(late, SHARD),
            Err(Behind { limit: Limit::AdmissionWait, wait: ADMISSION_WAIT_MAX })
        );
        let wait = admission.admit(late + Duration::from_secs(60), SHARD).unwrap_err().wait;
        assert_eq!(wait, WAIT_MAX);

        admission.settled(SHARD, Ticket(1));
        assert_eq!(admission.admit(late, SHARD), Ok(()), "the next oldest has time left");
    }

    #[test]
    fn requests_are_turned_away_while_too_many_wait() {
        let mut admission = Admission::default();
        let now = MonoTime(Duration::ZERO);
        for number in 0..SHARD_REQUESTS_MAX as u64 {
            assert_eq!(admission.admit(now, SHARD), Ok(()));
            admission.asked(now, SHARD, Ticket(number));
        }
        let behind = admission.admit(now, SHARD).unwrap_err();
        assert_eq!(behind, Behind { limit: Limit::ShardRequests, wait: WAIT_MIN });
        assert_eq!(admission.most(), SHARD_REQUESTS_MAX);
        admission.settled(SHARD, Ticket(7));
        assert_eq!(admission.admit(now, SHARD), Ok(()));
    }
}
