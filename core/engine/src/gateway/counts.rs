//! What a gateway counts of itself.

use crate::histogram::Durations;
use crate::levels::{Hits, Level};
use crate::limits::{
    BODY_BYTES_MAX, CATCH_UP_READS_MAX, RATE_BUCKETS_MAX, RUN_BYTES_MAX, SESSION_PAGES_MAX,
    SESSION_QUEUE_BYTES_MAX, SESSION_REQUESTS_MAX, SESSIONS_MAX, SHARD_LOCATES_MAX,
    SHARD_PAGES_MAX, SHARD_REQUEST_BYTES_MAX, SHARD_REQUESTS_MAX, TRACE_ROWS_MAX,
};

/// A session takes one more run of entries while its queue is not above its limit; the run is as
/// long as it may be, and its last frame holds the longest body in the worst JSON escaping.
const SESSION_QUEUE_LEVEL_MAX: usize =
    SESSION_QUEUE_BYTES_MAX + RUN_BYTES_MAX + 6 * BODY_BYTES_MAX + 1_024;

/// Since the start. Small, so that a copy of it may be published after every turn.
#[derive(Debug, Clone, Copy)]
pub struct GatewayCounts {
    /// Text frames from clients.
    pub frames: u64,
    pub rejected: Tally,
    pub goodbyes: Tally,
    /// From a request to its `accepted`.
    pub accept: Durations,
    /// Of each entry that sessions were sent as it was announced, from its `at_ms` to its being
    /// written to the last of their sockets.
    pub deliver: Durations,
    /// Entries that owners announced.
    pub published: u64,
    /// Entries that sessions were sent as they were announced.
    pub delivered_live: u64,
    /// Entries that sessions were sent out of the log.
    pub delivered_from_log: u64,
    /// Entries that sessions were told are gone, each to each session.
    pub trimmed: u64,
    /// Pages that were read out of the log for sessions that were behind.
    pub pages: u64,
    pub channels: usize,
    pub sessions: Level,
    /// The requests of the session that made one last; its peak is that of all sessions.
    pub session_requests: Level,
    /// As above, for pages of history.
    pub session_pages: Level,
    /// What owners have been asked and have not answered.
    pub tickets: Level,
    /// The requests without an answer of the shard that most wait for.
    pub shard_requests: Level,
    /// The same in bytes.
    pub shard_request_bytes: Level,
    /// Pages of history that sessions have asked of the shard of which most are awaited.
    pub shard_pages: Level,
    /// Sessions that resume by time, whose positions were asked of the shard that was asked last and
    /// have not come; its peak is that of all shards.
    pub shard_locates: Level,
    /// Bytes queued for the session that was sent an entry last; its peak is that of all sessions.
    pub session_queue_bytes: Level,
    /// Pages on their way from the log of the shard that was asked last; its peak is that of all.
    pub catch_up_reads: Level,
    /// Users and workspaces whose rate is kept.
    pub rate_buckets: Level,
    /// Rows of the fullest table from which traces are told.
    pub trace_rows: Level,
    pub hits: Hits,
}

impl GatewayCounts {
    pub fn new(shards: u32) -> Self {
        let shards = usize::try_from(shards).unwrap_or(usize::MAX);
        // Requests and reads are bounded for each shard; a session is opened by itself, and a user
        // again when a link comes back.
        let tickets_max = shards
            .saturating_mul(SHARD_REQUESTS_MAX + CATCH_UP_READS_MAX + SHARD_LOCATES_MAX)
            .saturating_add(2 * SESSIONS_MAX);
        Self {
            frames: 0,
            rejected: Tally::default(),
            goodbyes: Tally::default(),
            accept: Durations::default(),
            deliver: Durations::default(),
            published: 0,
            delivered_live: 0,
            delivered_from_log: 0,
            trimmed: 0,
            pages: 0,
            channels: 0,
            sessions: Level::new("sessions", SESSIONS_MAX),
            session_requests: Level::new("session_requests", SESSION_REQUESTS_MAX),
            session_pages: Level::new("session_pages", SESSION_PAGES_MAX),
            shard_requests: Level::new("shard_requests", SHARD_REQUESTS_MAX),
            shard_request_bytes: Level::new("shard_request_bytes", SHARD_REQUEST_BYTES_MAX),
            shard_pages: Level::new("shard_pages", SHARD_PAGES_MAX),
            shard_locates: Level::new("shard_locates", SHARD_LOCATES_MAX),
            tickets: Level::new("tickets", tickets_max),
            session_queue_bytes: Level::new("session_queue_bytes", SESSION_QUEUE_LEVEL_MAX),
            catch_up_reads: Level::new("catch_up_reads", CATCH_UP_READS_MAX),
            rate_buckets: Level::new("rate_buckets", 2 * RATE_BUCKETS_MAX),
            trace_rows: Level::new("trace_rows", TRACE_ROWS_MAX),
            hits: Hits::default(),
        }
    }

    pub fn levels(&self) -> [Level; 12] {
        [
            self.sessions,
            self.session_requests,
            self.session_pages,
            self.shard_requests,
            self.shard_request_bytes,
            self.shard_pages,
            self.shard_locates,
            self.tickets,
            self.session_queue_bytes,
            self.catch_up_reads,
            self.rate_buckets,
            self.trace_rows,
        ]
    }
}

/// As many codes as a frame may name.
const CODES_MAX: usize = 24;

/// How often each code of an enumeration was used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally([(&'static str, u64); CODES_MAX]);

impl Tally {
    /// `index` is the code's place in its enumeration.
    pub fn count(&mut self, index: usize, name: &'static str) {
        let (known, count) = self.0.get_mut(index).expect("there are fewer codes");
        (*known, *count) = (name, *count + 1);
    }

    /// The codes that were used.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied().filter(|(_, count)| *count > 0)
    }
}
