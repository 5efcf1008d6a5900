//! The machine's clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use seriatim_engine::time::{MonoTime, WallTime};

use crate::{BoxFuture, Clock};

/// The machine's monotonic clock, counted from when this was made, and its wall clock.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    started: Instant,
}

impl RealClock {
    #[expect(clippy::disallowed_methods, reason = "this is the real clock")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn mono_now(&self) -> MonoTime {
        MonoTime(self.started.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the real clock")]
    fn wall_now(&self) -> WallTime {
        // A machine without a battery may boot before 1970.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the real clock")]
    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        match self.started.checked_add(deadline.0) {
            Some(instant) => Box::pin(tokio::time::sleep_until(instant.into())),
            // The end of time never comes.
            None => Box::pin(std::future::pending()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{TimedOut, timeout};

    #[tokio::test]
    async fn sleep_ends_at_its_deadline_and_not_before() {
        let clock = RealClock::new();
        let deadline = clock.mono_now() + Duration::from_millis(5);

        clock.sleep_until(deadline).await;

        assert!(clock.mono_now() >= deadline);
    }

    #[tokio::test]
    async fn wait_without_end_is_cut_by_a_timeout() {
        let clock = RealClock::new();

        let forever = clock.sleep_until(MonoTime(Duration::MAX));

        assert_eq!(timeout(&clock, Duration::from_millis(5), forever).await, Err(TimedOut));
    }
}
