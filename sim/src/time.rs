//! Simulated time: one line for all hosts, and each host's own clock on it.

use std::fmt;
use std::future::Future;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::time::{MonoTime, WallTime};
use seriatim_world::{BoxFuture, Clock};
use tokio::time::Instant;

use crate::host::HostState;

/// 2026-01-01T00:00:00Z in milliseconds since 1970: where every simulation starts.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

/// Microseconds since the simulation started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(pub u64);

impl SimTime {
    /// When the simulation starts.
    pub const ZERO: Self = Self(0);

    /// Later than everything.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time `elapsed` after the start.
    pub fn after(elapsed: Duration) -> Self {
        Self(micros(elapsed))
    }

    /// The time from `earlier` to this; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This time and `micros` more.
    pub fn plus(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

impl Add<Duration> for SimTime {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        self.plus(micros(rhs))
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The clock of one boot of one host. No other boot or host may use it: it counts from a tokio
/// instant, and those differ between runtimes.
#[derive(Debug, Clone)]
pub struct SimClock {
    host: Arc<HostState>,
    boot: u64,
    boot_at: SimTime,
    boot_instant: Instant,
}

impl SimClock {
    /// Starts the clock; called on the host's runtime before any of its time has passed.
    #[expect(clippy::disallowed_methods, reason = "this is the simulated source of time")]
    pub(crate) fn start(host: Arc<HostState>) -> Self {
        let (boot, boot_at) = (host.boot(), host.boot_at());
        Self { host, boot, boot_at, boot_instant: Instant::now() }
    }

    /// Simulated time on this host. A dead boot's clock stands at the time of its death, so that
    /// destructors cannot see the real clock behind a runtime that is gone.
    #[expect(clippy::disallowed_methods, reason = "this is the simulated source of time")]
    pub fn now(&self) -> SimTime {
        if !self.host.runs(self.boot) {
            return self.host.dead_at();
        }
        self.boot_at + Instant::now().saturating_duration_since(self.boot_instant)
    }

    /// Whether this boot is the host's current one and alive.
    pub(crate) fn runs(&self) -> bool {
        self.host.runs(self.boot)
    }

    pub(crate) fn host(&self) -> &Arc<HostState> {
        &self.host
    }

    pub(crate) fn boot(&self) -> u64 {
        self.boot
    }

    /// The host runtime's instant for `at`, or `None` when it lies too far ahead to be reached.
    fn instant(&self, at: SimTime) -> Option<Instant> {
        if at == SimTime::NEVER {
            return None;
        }
        self.boot_instant.checked_add(at.since(self.boot_at))
    }

    /// Waits until `at` has come on this host.
    #[expect(clippy::disallowed_methods, reason = "this is the simulated source of time")]
    pub async fn sleep_until_sim(&self, at: SimTime) {
        match self.instant(at) {
            Some(instant) => tokio::time::sleep_until(instant).await,
            None => std::future::pending().await,
        }
    }
}

impl Clock for SimClock {
    fn mono_now(&self) -> MonoTime {
        MonoTime(self.now().since(self.boot_at))
    }

    fn wall_now(&self) -> WallTime {
        WallTime(self.host.wall_ms(self.now()))
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        let at = self.boot_at + deadline.0;
        let clock = self.clone();
        Box::pin(async move { clock.sleep_until_sim(at).await })
    }
}

/// A timer that a poll function sets anew as its deadline moves.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
    at: SimTime,
}

impl Alarm {
    /// Wakes the task of `context` at `at`; true when that time has come.
    #[expect(clippy::disallowed_methods, reason = "this is the simulated source of time")]
    pub(crate) fn poll(
        &mut self,
        clock: &SimClock,
        at: SimTime,
        context: &mut std::task::Context<'_>,
    ) -> bool {
        let Some(instant) = clock.instant(at) else {
            self.sleep = None;
            return false;
        };
        if self.at != at || self.sleep.is_none() {
            self.at = at;
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(instant),
                None => self.sleep = Some(Box::pin(tokio::time::sleep_until(instant))),
            }
        }
        self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_saturate_and_print_as_seconds() {
        assert_eq!(SimTime(1_500_000).to_string(), "1.500000");
        assert_eq!(SimTime::NEVER + Duration::from_secs(1), SimTime::NEVER);
        assert_eq!(SimTime(1).since(SimTime(5)), Duration::ZERO);
    }
}
