//! `bounded`: queues, buffers and tables stay under their limits.
//!
//! The world looks at how full everything bounded is in each node, and tells every new peak. A node
//! that tells of nothing at all isn't watched, and that is a violation too: the promise would hold
//! of nothing.

use std::time::Duration;

use crate::history::{Event, What};

use super::{Findings, Guarantee, Seen};

/// Judges `bounded`.
#[derive(Debug)]
pub struct Bounded {
    findings: Findings,
    is_watched: bool,
    ended_at: Duration,
}

impl Bounded {
    pub const NAME: &'static str = "bounded";
}

impl Default for Bounded {
    fn default() -> Self {
        let findings = Findings::new(Self::NAME);
        Self { findings, is_watched: false, ended_at: Duration::ZERO }
    }
}

impl Guarantee for Bounded {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn observe(&mut self, seen: &Seen<'_>) {
        let Event { at, what } = seen.event;
        self.ended_at = *at;
        let What::Peak { node, level } = what else { return };
        self.is_watched = true;
        if level.peak > level.limit {
            let message = || {
                let (what, peak, limit) = (level.what, level.peak, level.limit);
                format!("{node} let {what} grow to {peak}, beyond its limit of {limit}")
            };
            self.findings.report(*at, message, [seen.event]);
        }
    }

    fn conclude(&mut self) {
        if !self.is_watched {
            let message = || "no node told how full its queues and tables were".to_owned();
            let witness = ["from its start to its end, the history tells no peak".to_owned()];
            self.findings.report_lines(self.ended_at, message, witness);
        }
    }

    fn findings(&self) -> &Findings {
        &self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    #[test]
    fn a_healthy_history_is_bounded() {
        assert_eq!(judged(Bounded::default(), healthy()), [""; 0]);
    }

    #[test]
    fn a_level_may_reach_its_limit_and_no_more() {
        let full = healthy().before(&What::FaultsOver, [peak(10, 10)]);
        assert_eq!(judged(Bounded::default(), full), [""; 0]);
        let over = healthy().before(&What::FaultsOver, [peak(11, 10)]);
        let expected = "gateway-1 let sessions grow to 11, beyond its limit of 10";
        assert_eq!(judged(Bounded::default(), over), [expected]);
    }

    #[test]
    fn a_history_without_levels_proves_nothing() {
        let blind = healthy().without(&peak(3, 10));
        let expected = "no node told how full its queues and tables were";
        assert_eq!(judged(Bounded::default(), blind), [expected]);
    }
}
