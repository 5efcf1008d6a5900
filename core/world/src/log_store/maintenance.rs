//! The work in the background: full segments become runs, runs are merged, the oldest go.
//!
//! Nothing of it is in a commit's way. What fails is tried again, as nothing was changed; only when
//! nobody knows what is durable, the store is given up and must be opened again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use seriatim_engine::time::{LogClock, LogTime};
use tokio::sync::mpsc;

use super::pace::Pace;
use super::run_name::RunName;
use super::run_writer::FinishError;
use super::store::LogStore;
use super::trim::TrimReport;
use crate::{Clock, StoreError, clock};

/// How long failed work waits before it is tried again: a full disk stays full for a while.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// A merge that fails again and again waits longer each time, up to this: nothing depends on it.
const MERGE_RETRY_DELAY_MAX: Duration = Duration::from_secs(10 * 60);

/// Channels that are switched from one source to another before others get their turn.
pub(super) const SWITCHED_AT_ONCE: usize = 256;

/// How the work in the background does, since the store was opened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Upkeep {
    /// Times that it failed and was put off.
    pub setbacks: u64,
    /// Runs that it found damaged. They stay as they are and are not merged; what of them can be
    /// read is served.
    pub damaged_runs: usize,
}

/// Why background work was not done.
#[derive(Debug)]
pub(super) enum Setback {
    /// Nothing has changed; it may work another time.
    Retry(StoreError),
    /// A run can't be read, and stays as it is.
    Damaged(RunName, StoreError),
    /// Nobody knows what a power loss would leave.
    Fatal(StoreError),
}

impl From<FinishError> for Setback {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::Unnamed(error) => Self::Retry(error),
            FinishError::Named(error) => Self::Fatal(error),
        }
    }
}

impl LogStore {
    pub fn upkeep(&self) -> Upkeep {
        let setbacks = self.setbacks.load(Ordering::Relaxed);
        Upkeep { setbacks, damaged_runs: self.damaged().len() }
    }

    /// Does the work in the background as it comes up, and tells `trims` of what it let go. Ages
    /// are told by `log_clock`. Returns when the store is given up.
    pub async fn maintain(
        &self,
        clock: Arc<dyn Clock>,
        log_clock: LogClock,
        trims: mpsc::Sender<TrimReport>,
    ) -> StoreError {
        tokio::select! {
            biased;
            error = self.keep_flushing(&clock) => error,
            error = self.keep_few_runs(&clock, log_clock, &trims) => error,
        }
    }

    /// Does all the work that is due at `now`, as fast as it can. Gives what it let go.
    ///
    /// # Errors
    /// [`StoreError::Failed`] and [`StoreError::Corrupt`]; then some may be left.
    pub async fn tidy(&self, now: LogTime) -> Result<Vec<TrimReport>, StoreError> {
        let mut trims = Vec::new();
        loop {
            match self.tidy_once(now, &mut trims).await {
                Ok(true) => {}
                Ok(false) => return Ok(trims),
                Err(Setback::Retry(error) | Setback::Damaged(_, error)) => return Err(error),
                Err(Setback::Fatal(error)) => {
                    self.give_up();
                    return Err(error);
                }
            }
        }
    }

    async fn tidy_once(&self, now: LogTime, trims: &mut Vec<TrimReport>) -> Result<bool, Setback> {
        if self.flush_oldest(LogTime(0), Pace::default()).await? || self.seal_if_old(now).await {
            return Ok(true);
        }
        if let Some(trim) = self.trim_due_runs(now, LogTime(0), Pace::default()).await? {
            trims.push(trim);
            return Ok(true);
        }
        self.merge_due_runs(LogTime(0), Pace::default()).await
    }

    async fn keep_flushing(&self, clock: &Arc<dyn Clock>) -> StoreError {
        loop {
            let done = self.flush_oldest(self.nonces_since(), Pace::full(clock)).await;
            self.flush_fails.store(done.is_err(), Ordering::Relaxed);
            match done {
                Ok(true) => self.runs_changed.notify_one(),
                Ok(false) => self.segment_full.notified().await,
                Err(Setback::Fatal(error)) => {
                    self.give_up();
                    return error;
                }
                Err(Setback::Retry(error) | Setback::Damaged(_, error)) => {
                    self.setbacks.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(shard = self.shard.0, %error, "a full segment can't be rewritten yet");
                    self.room.notify_waiters();
                    clock::sleep(&**clock, RETRY_DELAY).await;
                }
            }
        }
    }

    /// Lets the oldest runs go, and merges others.
    async fn keep_few_runs(
        &self,
        clock: &Arc<dyn Clock>,
        log_clock: LogClock,
        trims: &mpsc::Sender<TrimReport>,
    ) -> StoreError {
        let (mut delay, mut told) = (RETRY_DELAY, BTreeSet::new());
        loop {
            let now = log_clock.at(clock.mono_now());
            self.seal_if_old(now).await;
            match self.trim_or_merge(now, clock, trims).await {
                Ok(true) => {
                    delay = RETRY_DELAY;
                    continue;
                }
                Ok(false) => {
                    self.wait_for_runs(clock).await;
                    continue;
                }
                Err(Setback::Fatal(error)) => {
                    self.give_up();
                    return error;
                }
                // It isn't merged again, but may be let go when it can be read.
                Err(Setback::Damaged(run, error)) => {
                    if told.insert(run) {
                        let run = run.file();
                        tracing::warn!(shard = self.shard.0, %error, run, "a run is damaged");
                    }
                }
                Err(Setback::Retry(error)) => {
                    tracing::warn!(shard = self.shard.0, %error, "runs can't be merged yet");
                }
            }
            self.setbacks.fetch_add(1, Ordering::Relaxed);
            clock::sleep(&**clock, delay).await;
            delay = (2 * delay).min(MERGE_RETRY_DELAY_MAX);
        }
    }

    /// Gives whether there was something to do.
    async fn trim_or_merge(
        &self,
        now: LogTime,
        clock: &Arc<dyn Clock>,
        trims: &mpsc::Sender<TrimReport>,
    ) -> Result<bool, Setback> {
        let nonces_since = self.nonces_since();
        let put_off = match self.trim_due_runs(now, nonces_since, Pace::half(clock)).await {
            Ok(Some(trim)) => {
                let TrimReport { entries, bytes, upto, .. } = &trim;
                tracing::info!(shard = self.shard.0, entries, bytes, upto = upto.0, "entries went");
                // Nobody may be listening.
                drop(trims.send(trim).await);
                return Ok(true);
            }
            Ok(None) => Ok(false),
            Err(setback @ Setback::Fatal(_)) => return Err(setback),
            // What can't go keeps no others from being merged.
            Err(setback @ (Setback::Retry(_) | Setback::Damaged(..))) => Err(setback),
        };
        if self.merge_due_runs(nonces_since, Pace::half(clock)).await? { Ok(true) } else { put_off }
    }

    /// Until there are others, or some may be too old.
    async fn wait_for_runs(&self, clock: &Arc<dyn Clock>) {
        let changed = self.runs_changed.notified();
        match self.options.retention.look_every() {
            None => changed.await,
            Some(every) => tokio::select! {
                biased;
                () = changed => {}
                () = clock::sleep(&**clock, every) => {}
            },
        }
    }

    /// Nonces from before this are older than the window.
    fn nonces_since(&self) -> LogTime {
        self.log_time().before(self.options.nonce_window)
    }

    /// Refuses everything from here on but reads.
    fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Removes a file that counts for nothing any more. If that fails, the next opening does it.
    pub(super) async fn remove_needless(&self, file: &str) {
        if let Err(error) = self.disk.remove(file).await {
            tracing::warn!(shard = self.shard.0, %error, file, "a needless file can't be removed yet");
        }
    }
}
