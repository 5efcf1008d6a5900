//! The only source of time.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use seriatim_engine::time::{MonoTime, WallTime};

use crate::BoxFuture;

/// Tells the time and waits for it.
pub trait Clock: Send + Sync + 'static {
    /// Since this node started. Never jumps.
    fn mono_now(&self) -> MonoTime;

    /// Since 1970; may jump. For showing to people, never for ordering.
    fn wall_now(&self) -> WallTime;

    /// Returns at `deadline` or soon after (timers have a resolution of 1 ms).
    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()>;
}

/// Waits for `duration`.
pub async fn sleep(clock: &dyn Clock, duration: Duration) {
    clock.sleep_until(clock.mono_now() + duration).await;
}

/// The wait took longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct TimedOut;

/// Runs `future` for at most `duration`, then drops it.
///
/// # Errors
/// [`TimedOut`] when it was not done by then.
pub async fn timeout<F: Future>(
    clock: &dyn Clock,
    duration: Duration,
    future: F,
) -> Result<F::Output, TimedOut> {
    let mut future = pin!(future);
    let mut sleep = clock.sleep_until(clock.mono_now() + duration);
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        sleep.as_mut().poll(context).map(|()| Err(TimedOut))
    })
    .await
}
