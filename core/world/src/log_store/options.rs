//! How a log store lays out its files.

use std::time::Duration;

use seriatim_engine::limits::NONCE_WINDOW;

use super::retention::Retention;
use super::segment::SEGMENT_BYTES_MAX;

/// How a [`super::LogStore`] lays out its files. All of it may change from one opening to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStoreOptions {
    /// A segment of so many bytes takes no further group and is rewritten as a run. It is also
    /// what the entries that are in no run yet take in memory. At most [`SEGMENT_BYTES_MAX`],
    /// above which it counts as that.
    pub segment_bytes: u32,
    /// Full segments that may wait for their run. One more, and appends wait: memory is bounded.
    pub segments_waiting_max: usize,
    /// So many neighbouring runs of one level become one of the next.
    pub merge_runs: usize,
    /// Runs of this level are left alone, so an entry is written at most twice more than this.
    pub level_max: u32,
    /// Nonces of entries older than this, by the log's clock, are dropped when runs are written.
    pub nonce_window: Duration,
    /// Which entries go.
    pub retention: Retention,
}

impl Default for LogStoreOptions {
    /// An entry is written three times: to the log, to its run, and to a merged run of about
    /// 512 MiB.
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            segments_waiting_max: 3,
            merge_runs: 16,
            level_max: 1,
            nonce_window: NONCE_WINDOW,
            retention: Retention::default(),
        }
    }
}

impl LogStoreOptions {
    pub(super) fn segment_bytes(&self) -> u32 {
        let most = self.retention.file_bytes().unwrap_or(u64::MAX);
        let bytes = self.segment_bytes.min(SEGMENT_BYTES_MAX);
        u32::try_from(most).map_or(bytes, |most| bytes.min(most))
    }

    /// Merging fewer than two runs would go on for ever.
    pub(super) fn merge_runs(&self) -> usize {
        self.merge_runs.max(2)
    }
}
