//! Turns requests away while the owner of their shard is behind.
//!
//! Requests that wait only lengthen the queue that they wait in. When the oldest one has had no
//! answer for [`ADMISSION_WAIT_MAX`], or [`SHARD_REQUESTS_MAX`] wait, new ones are told to come
//! again: nothing of them has happened, and the owner catches up meanwhile. What slows the owner,
//! its disk, its queue or the link, makes no difference. Neither may all that waits be too long for
//! the link, on its way there ([`SHARD_REQUEST_BYTES_MAX`]) or back ([`SHARD_PAGES_MAX`]): a link
//! that is too full is closed, and takes everybody's requests with it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::ShardId;
use crate::levels::Limit;
use crate::limits::{
    ADMISSION_WAIT_MAX, SHARD_PAGES_MAX, SHARD_REQUEST_BYTES_MAX, SHARD_REQUESTS_MAX,
};
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

/// What a request asks of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// As the client sent it.
    pub(super) bytes: usize,
    /// It is for a page, of history or of channels.
    pub(super) page: bool,
}

/// The requests without an answer.
#[derive(Debug, Default)]
pub(super) struct Admission {
    open: BTreeMap<ShardId, Open>,
}

/// Those of one shard.
#[derive(Debug, Default)]
struct Open {
    /// In the order of their tickets, which is that of their times.
    requests: BTreeMap<Ticket, (MonoTime, Cost)>,
    /// What they cost together.
    bytes: usize,
    pages: usize,
}

impl Admission {
    /// Whether a request for `shard` may be forwarded.
    ///
    /// # Errors
    /// [`Behind`]
    pub(super) fn admit(&self, now: MonoTime, shard: ShardId, cost: Cost) -> Result<(), Behind> {
        let Some(open) = self.open.get(&shard) else { return Ok(()) };
        let Some((_, (oldest, _))) = open.requests.first_key_value() else { return Ok(()) };
        let waited = now - *oldest;
        let limit = if open.requests.len() >= SHARD_REQUESTS_MAX {
            Limit::ShardRequests
        } else if open.bytes + cost.bytes > SHARD_REQUEST_BYTES_MAX {
            Limit::ShardRequestBytes
        } else if cost.page && open.pages >= SHARD_PAGES_MAX {
            Limit::ShardPages
        } else if waited >= ADMISSION_WAIT_MAX {
            Limit::AdmissionWait
        } else {
            return Ok(());
        };
        Err(Behind { limit, wait: waited.clamp(WAIT_MIN, WAIT_MAX) })
    }

    pub(super) fn asked(&mut self, now: MonoTime, shard: ShardId, ticket: Ticket, cost: Cost) {
        let open = self.open.entry(shard).or_default();
        open.bytes += cost.bytes;
        open.pages += usize::from(cost.page);
        open.requests.insert(ticket, (now, cost));
    }

    /// Answered, or known never to be.
    pub(super) fn settled(&mut self, shard: ShardId, ticket: Ticket) {
        let Some(open) = self.open.get_mut(&shard) else { return };
        let Some((_, cost)) = open.requests.remove(&ticket) else { return };
        open.bytes -= cost.bytes;
        open.pages -= usize::from(cost.page);
    }

    /// The link is gone, and all that it had on its way is settled.
    pub(super) fn link_down(&mut self, shard: ShardId) {
        self.open.remove(&shard);
    }

    /// The most that wait for one shard.
    pub(super) fn most(&self) -> usize {
        self.open.values().map(|open| open.requests.len()).max().unwrap_or_default()
    }

    /// The most bytes of requests that wait for one shard.
    pub(super) fn most_bytes(&self) -> usize {
        self.open.values().map(|open| open.bytes).max().unwrap_or_default()
    }

    /// The most pages that are awaited from one shard.
    pub(super) fn most_pages(&self) -> usize {
        self.open.values().map(|open| open.pages).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(0);
    const SMALL: Cost = Cost { bytes: 100, page: false };
    const PAGE: Cost = Cost { bytes: 100, page: true };

    #[test]
    fn requests_are_turned_away_while_the_oldest_waits_too_long() {
        let mut admission = Admission::default();
        let start = MonoTime(Duration::from_secs(60));
        admission.asked(start, SHARD, Ticket(1), SMALL);
        admission.asked(start + Duration::from_secs(1), SHARD, Ticket(2), SMALL);

        let late = start + ADMISSION_WAIT_MAX;
        assert_eq!(admission.admit(late + Duration::from_secs(60), ShardId(1), SMALL), Ok(()));
        assert_eq!(
            admission.admit(late, SHARD, SMALL),
            Err(Behind { limit: Limit::AdmissionWait, wait: ADMISSION_WAIT_MAX })
        );
        let wait = admission.admit(late + Duration::from_secs(60), SHARD, SMALL).unwrap_err().wait;
        assert_eq!(wait, WAIT_MAX);

        admission.settled(SHARD, Ticket(1));
        assert_eq!(admission.admit(late, SHARD, SMALL), Ok(()), "the next oldest has time left");
    }

    #[test]
    fn requests_are_turned_away_while_too_many_wait() {
        let mut admission = Admission::default();
        let now = MonoTime(Duration::ZERO);
        for number in 0..SHARD_REQUESTS_MAX as u64 {
            assert_eq!(admission.admit(now, SHARD, SMALL), Ok(()));
            admission.asked(now, SHARD, Ticket(number), SMALL);
        }
        let behind = admission.admit(now, SHARD, SMALL).unwrap_err();
        assert_eq!(behind, Behind { limit: Limit::ShardRequests, wait: WAIT_MIN });
        assert_eq!(admission.most(), SHARD_REQUESTS_MAX);
        admission.settled(SHARD, Ticket(7));
        assert_eq!(admission.admit(now, SHARD, SMALL), Ok(()));
    }

    #[test]
    fn requests_for_pages_are_turned_away_while_too_many_are_awaited() {
        let mut admission = Admission::default();
        let now = MonoTime(Duration::ZERO);
        for number in 0..SHARD_PAGES_MAX as u64 {
            assert_eq!(admission.admit(now, SHARD, PAGE), Ok(()));
            admission.asked(now, SHARD, Ticket(number), PAGE);
        }
        let behind = Behind { limit: Limit::ShardPages, wait: WAIT_MIN };
        assert_eq!(admission.admit(now, SHARD, PAGE), Err(behind));
        assert_eq!(admission.admit(now, SHARD, SMALL), Ok(()), "messages go on");
        admission.settled(SHARD, Ticket(7));
        admission.settled(SHARD, Ticket(7));
        assert_eq!(admission.admit(now, SHARD, PAGE), Ok(()));
        assert_eq!(admission.most_pages(), SHARD_PAGES_MAX - 1);
    }

    #[test]
    fn requests_are_turned_away_while_too_many_bytes_wait() {
        let mut admission = Admission::default();
        let now = MonoTime(Duration::ZERO);
        let large = Cost { bytes: SHARD_REQUEST_BYTES_MAX / 4, page: false };
        for number in 0..4 {
            assert_eq!(admission.admit(now, SHARD, large), Ok(()));
            admission.asked(now, SHARD, Ticket(number), large);
        }
        let behind = Behind { limit: Limit::ShardRequestBytes, wait: WAIT_MIN };
        assert_eq!(admission.admit(now, SHARD, SMALL), Err(behind));
        assert_eq!(admission.most_bytes(), SHARD_REQUEST_BYTES_MAX);
        admission.settled(SHARD, Ticket(0));
        assert_eq!(admission.admit(now, SHARD, SMALL), Ok(()));
    }
}
