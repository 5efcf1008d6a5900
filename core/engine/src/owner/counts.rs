//! What an owner counts of itself.

use crate::histogram::Durations;
use crate::levels::{Hits, Level};
use crate::limits::{IN_FLIGHT_MAX, LINK_READS_MAX, REFUSALS_MAX, TRACE_ROWS_MAX};

/// Since the owner started on what its store recovered. Small, so that a copy of it may be
/// published after every turn.
#[derive(Debug, Clone, Copy)]
pub struct OwnerCounts {
    pub numbered: u64,
    pub durable: u64,
    /// Messages that were sent again with a nonce that was known.
    pub duplicates: u64,
    /// Of each entry, from when its request was handled to its being durable.
    pub durable_time: Durations,
    /// Pages that were read out of the log.
    pub reads: u64,
    /// Reads that the disk failed.
    pub reads_failed: u64,
    /// Reads that met damage.
    pub reads_damaged: u64,
    pub channels: usize,
    /// The entries of one channel that wait for the store: of the channel that numbered one last;
    /// its peak is that of all channels.
    pub in_flight: Level,
    /// Pages that are read for the link that asked for one last; its peak is that of all links.
    pub link_reads: Level,
    /// Entries whose times are remembered.
    pub trace_rows: Level,
    /// Refused sends that are remembered.
    pub refusals: Level,
    pub hits: Hits,
}

impl Default for OwnerCounts {
    fn default() -> Self {
        Self {
            numbered: 0,
            durable: 0,
            duplicates: 0,
            durable_time: Durations::default(),
            reads: 0,
            reads_failed: 0,
            reads_damaged: 0,
            channels: 0,
            in_flight: Level::new("channel_in_flight", IN_FLIGHT_MAX),
            link_reads: Level::new("link_reads", LINK_READS_MAX),
            trace_rows: Level::new("trace_entries", TRACE_ROWS_MAX),
            refusals: Level::new("refusals", REFUSALS_MAX),
            hits: Hits::default(),
        }
    }
}
