//! When nothing was wrong, so that what was said then surely arrived.

use std::collections::VecDeque;
use std::time::Duration;

/// After a fault has healed, processes start, links and clients dial again.
pub(super) const SETTLING: Duration = Duration::from_secs(6);

/// Times of trouble that ended so long ago are forgotten: nobody asks about them any more.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The times of trouble, of one kind.
#[derive(Debug, Default)]
pub(super) struct Calm {
    /// In order, apart from each other. One without an end goes on.
    troubles: VecDeque<Trouble>,
    /// Faults that have begun and not healed.
    going_on: u32,
}

#[derive(Debug, Clone, Copy)]
struct Trouble {
    from: Duration,
    until: Option<Duration>,
}

impl Calm {
    pub(super) fn trouble_begins(&mut self, at: Duration) {
        self.going_on += 1;
        let last = self.troubles.back_mut();
        match last.filter(|last| last.until.is_none_or(|until| at <= until)) {
            Some(last) => last.until = None,
            None => self.troubles.push_back(Trouble { from: at, until: None }),
        }
        let old = |trouble: &Trouble| trouble.until.is_some_and(|until| until + REMEMBERED < at);
        while self.troubles.front().is_some_and(old) {
            self.troubles.pop_front();
        }
    }

    /// True when it was the last that went on.
    pub(super) fn trouble_ends(&mut self, at: Duration) -> bool {
        self.going_on = self.going_on.saturating_sub(1);
        if self.going_on == 0
            && let Some(last) = self.troubles.back_mut()
        {
            last.until = Some(at + SETTLING);
        }
        self.going_on == 0
    }

    /// There was trouble at some moment from `from` to `upto`.
    pub(super) fn broken(&self, from: Duration, upto: Duration) -> bool {
        self.troubles
            .iter()
            .rev()
            .take_while(|trouble| trouble.until.is_none_or(|until| from < until))
            .any(|trouble| trouble.from <= upto)
    }

    /// Since when there has been no trouble, at `now`; none while there is.
    pub(super) fn since(&self, now: Duration) -> Option<Duration> {
        let Some(last) = self.troubles.back() else { return Some(Duration::ZERO) };
        last.until.filter(|until| *until <= now)
    }

    /// When what arrives at `now` may have begun its way, if it takes `lag` while nothing is wrong.
    pub(super) fn window(&self, now: Duration, lag: Duration) -> Duration {
        let mut from = now.saturating_sub(lag);
        for trouble in self.troubles.iter().rev() {
            if trouble.until.is_some_and(|until| until < from) {
                break;
            }
            from = from.min(trouble.from.saturating_sub(lag));
        }
        from
    }

    /// Until when what was on its way at `at` may still arrive late; none while nobody knows.
    pub(super) fn settled_after(&self, at: Duration) -> Option<Duration> {
        let held = self
            .troubles
            .iter()
            .find(|trouble| trouble.from <= at && trouble.until.is_none_or(|until| at < until));
        held.map_or(Some(at), |held| held.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn trouble_lasts_until_everything_has_settled_and_overlaps_are_one() {
        let mut calm = Calm::default();
        assert_eq!(calm.since(s(5)), Some(s(0)));
        calm.trouble_begins(s(10));
        calm.trouble_begins(s(12));
        calm.trouble_ends(s(14));
        assert_eq!(calm.since(s(15)), None);
        calm.trouble_ends(s(20));
        assert_eq!((calm.since(s(25)), calm.since(s(26))), (None, Some(s(26))));
        assert!(!calm.broken(s(5), s(9)) && !calm.broken(s(26), s(99)));
        assert!(calm.broken(s(5), s(10)) && calm.broken(s(25), s(99)));
        assert_eq!(calm.settled_after(s(11)), Some(s(26)));
        assert_eq!(calm.settled_after(s(30)), Some(s(30)));
        calm.trouble_begins(s(40));
        assert_eq!(calm.settled_after(s(41)), None);
        assert_eq!(calm.since(s(41)), None);
        assert!(!calm.broken(s(27), s(39)));
    }

    #[test]
    fn what_arrives_amid_trouble_may_be_as_old_as_the_trouble() {
        let mut calm = Calm::default();
        calm.trouble_begins(s(10));
        calm.trouble_ends(s(20));
        assert_eq!(calm.window(s(9), s(2)), s(7));
        assert_eq!(calm.window(s(22), s(2)), s(8));
        assert_eq!(calm.window(s(27), s(2)), s(8));
        assert_eq!(calm.window(s(29), s(2)), s(27));
    }
}
