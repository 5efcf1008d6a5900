//! How fast background work goes, so that commits hardly notice it.

use std::sync::Arc;
use std::time::Duration;

use seriatim_engine::time::MonoTime;

use crate::{Clock, clock};

/// Background writes are synced in pieces of this size: a commit's sync waits for one at most.
const SYNC_BYTES: u64 = 1 << 20;

/// A merge that has nothing to catch up with leaves the disk and the thread alone for as long as
/// it just used them, but not longer than this at a time.
const REST_MAX: Duration = Duration::from_millis(200);

/// The pace of one job.
#[derive(Clone, Default)]
pub(super) struct Pace {
    /// None for a job that nobody else has to be considered in.
    clock: Option<Arc<dyn Clock>>,
    rests: bool,
    busy_since: MonoTime,
    unsynced: u64,
}

impl Pace {
    /// Works as fast as it can, but lets others in between.
    pub(super) fn full(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: Some(Arc::clone(clock)), ..Self::default() }
    }

    /// Works half of the time.
    pub(super) fn half(clock: &Arc<dyn Clock>) -> Self {
        let busy_since = clock.mono_now();
        Self { clock: Some(Arc::clone(clock)), rests: true, busy_since, unsynced: 0 }
    }

    /// So many bytes were written. Gives whether they should be synced.
    pub(super) fn wrote(&mut self, bytes: u64) -> bool {
        self.unsynced += bytes;
        let due = self.unsynced >= SYNC_BYTES;
        if due {
            self.unsynced = 0;
        }
        due
    }

    /// Lets others in.
    pub(super) async fn pause(&mut self) {
        let Some(clock) = &self.clock else { return };
        let worked = clock.mono_now() - self.busy_since;
        // Timers have a resolution of 1 ms: shorter rests would be longer than the work.
        if self.rests && worked >= Duration::from_millis(2) {
            clock::sleep(&**clock, worked.min(REST_MAX)).await;
            self.busy_since = clock.mono_now();
        } else {
            tokio::task::yield_now().await;
        }
    }
}
