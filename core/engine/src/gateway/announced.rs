//! When the entries were made that sessions were sent in this turn: for the time to delivery.

use std::time::Duration;

use crate::entry::Entry;
use crate::histogram::Durations;
use crate::time::WallTime;

/// A gateway that is never through with its writing for a second. Beyond it, entries count as if
/// they were as old as the last row: longer, not shorter.
const ROWS_MAX: usize = 1_024;

/// Entries that are on their way to sockets. As few rows as they have times: those of one
/// millisecond are one.
#[derive(Debug, Default)]
pub(super) struct Announced(Vec<(WallTime, u64)>);

impl Announced {
    pub(super) fn add(&mut self, entries: &[Entry]) {
        for entry in entries {
            let full = self.0.len() >= ROWS_MAX;
            match self.0.last_mut() {
                Some((at, count)) if *at == entry.at || full => *count += 1,
                Some(_) | None => self.0.push((entry.at, 1)),
            }
        }
    }

    /// All of them have been written. The clock that numbered them may be another node's, and
    /// ahead: then no time has passed.
    pub(super) fn flushed(&mut self, wall: WallTime, deliver: &mut Durations) {
        for (at, count) in self.0.drain(..) {
            deliver.record_times(Duration::from_millis(wall.0.saturating_sub(at.0)), count);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Content;
    use crate::ids::{Nonce, SeqNo, UserId};

    fn made_at(ms: u64) -> Entry {
        let content =
            Content::Joined { user: UserId::new("ada").unwrap(), nonce: Nonce::new("n").unwrap() };
        Entry { seq: SeqNo(1), at: WallTime(ms), content }
    }

    #[test]
    fn entries_count_one_by_one_and_a_clock_ahead_counts_as_no_time() {
        let mut announced = Announced::default();
        announced.add(&[made_at(100), made_at(100), made_at(97)]);
        announced.add(&[made_at(107)]);
        assert_eq!(announced.0.len(), 3);
        let mut deliver = Durations::default();
        announced.flushed(WallTime(102), &mut deliver);
        assert!(announced.is_empty());
        let upto = |us| deliver.cumulative().find(|(bound, _)| *bound == us).unwrap().1;
        assert_eq!((upto(50), upto(1_000), upto(2_500), upto(5_000)), (1, 1, 3, 4));
    }

    #[test]
    fn a_gateway_that_never_stops_writing_keeps_a_bounded_table_and_every_count() {
        let mut announced = Announced::default();
        for ms in 0..2 * ROWS_MAX as u64 {
            announced.add(&[made_at(ms)]);
        }
        assert_eq!(announced.0.len(), ROWS_MAX);
        let mut deliver = Durations::default();
        announced.flushed(WallTime(0), &mut deliver);
        assert_eq!(deliver.count(), 2 * ROWS_MAX as u64);
    }
}
