//! Three kinds of time that do not mix.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Time since the node started, by a clock that never jumps. For deadlines and latencies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonoTime(pub Duration);

impl Add<Duration> for MonoTime {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub for MonoTime {
    type Output = Duration;
    /// The time from `rhs` to `self`; zero when `rhs` is later.
    fn sub(self, rhs: Self) -> Duration {
        self.0.saturating_sub(rhs.0)
    }
}

/// Milliseconds since 1970, UTC. For showing to people; never for ordering.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallTime(pub u64);

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// Full seconds for which a log has had an owner, by the owners' clocks that never jump. It is kept
/// in the log and stands still between two owners. For the ages of nonces: what is said to be a day
/// old is at least that. 136 years fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogTime(pub u32);

impl LogTime {
    /// So long before. What was noted before the time that this gives is older than `age`.
    #[must_use]
    pub fn before(self, age: Duration) -> Self {
        let seconds = age.as_secs().saturating_add(u64::from(age.subsec_nanos() > 0));
        Self(self.0.saturating_sub(u32::try_from(seconds).unwrap_or(u32::MAX)))
    }
}

impl fmt::Display for LogTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

/// Tells a log's time while an owner runs: it goes on from what the log says.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogClock {
    newest: LogTime,
    since: MonoTime,
}

impl LogClock {
    /// The log's newest time is `newest`, at `now`.
    pub fn new(newest: LogTime, now: MonoTime) -> Self {
        Self { newest, since: now }
    }

    pub fn at(&self, now: MonoTime) -> LogTime {
        let seconds = u32::try_from((now - self.since).as_secs()).unwrap_or(u32::MAX);
        LogTime(self.newest.0.saturating_add(seconds))
    }
}

/// Both clocks at one moment: tells people when something happened.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    pub mono: MonoTime,
    pub wall: WallTime,
}

impl Clocks {
    /// What the wall clock would have shown at `at`, had it not been set since.
    pub fn wall_at(self, at: MonoTime) -> WallTime {
        let ago_ms = u64::try_from((self.mono - at).as_millis()).unwrap_or(u64::MAX);
        WallTime(self.wall.0.saturating_sub(ago_ms))
    }

    /// A duration in whole microseconds.
    pub fn micros(time: Duration) -> u64 {
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_where_it_stopped_and_counts_full_seconds_of_its_owner() {
        let at = |seconds: f64| MonoTime(Duration::from_secs_f64(seconds));
        let clock = LogClock::new(LogTime(100), at(5.5));
        assert_eq!(
            [5.0, 5.5, 6.4, 6.5, 65.5].map(|now| clock.at(at(now)).0),
            [100, 100, 100, 101, 160]
        );
    }

    #[test]
    fn nothing_younger_than_an_age_is_before_it() {
        let now = LogTime(100);
        assert_eq!(now.before(Duration::from_secs(10)), LogTime(90));
        // Parts of a second count as one, so that nothing is forgotten early.
        assert_eq!(now.before(Duration::from_millis(10_001)), LogTime(89));
        assert_eq!(now.before(Duration::from_secs(101)), LogTime(0));
    }
}
