//! What a node counts, and where whoever watches it finds the figures.
//!
//! Machines and shells count in plain numbers of their own and publish a copy after each turn:
//! nothing is recorded per delivery, and a reader never waits for a busy machine. Readers are
//! `/metrics` ([`text`]), `/readyz`, and the simulator, which holds every level against its limit.
//! All time in it comes from the node's clock.

mod disk;
mod report;
mod shared;
mod text;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seriatim_engine::gateway::GatewayCounts;
use seriatim_engine::histogram::{Durations, Sizes};
use seriatim_engine::ids::{Epoch, ShardId};
use seriatim_engine::levels::{Hits, Level, Limit};
use seriatim_engine::limits::{
    HANDSHAKES_MAX, HTTP_CONNECTIONS_MAX, INBOX_MAX, LINK_QUEUE_BYTES_MAX,
    OPERATIONS_CONNECTIONS_MAX, POLL_SESSIONS_MAX, STORE_BATCH_MAX,
};
use seriatim_engine::owner::OwnerCounts;
use seriatim_world::log_store::Upkeep;

pub(crate) use disk::MeasuredDisk;
pub(crate) use report::{DrainReport, ShardReport};
pub(crate) use shared::{Count, Gauge, SharedLevel};

/// The figures of one node. Cheap to clone: all clones are one.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Shared>);

/// What many tasks count, each for itself, and what the machines' shells publish.
#[derive(Default)]
struct Shared {
    gauges: Gauges,
    board: Mutex<Board>,
}

/// Counted by many tasks at once.
pub(crate) struct Gauges {
    pub(crate) handshakes: SharedLevel,
    pub(crate) exchanges: SharedLevel,
    /// Sessions whose clients poll.
    pub(crate) poll_sessions: SharedLevel,
    pub(crate) handshakes_done: Count,
    pub(crate) origins_refused: Count,
    pub(crate) plain_requests: Count,
    /// Admin requests with the right secret.
    pub(crate) admin_requests: Count,
    /// Admin requests without it.
    pub(crate) admin_denied: Count,
    /// The longest queue of any link.
    pub(crate) link_queue_bytes: SharedLevel,
    /// What waits for the gateway's next turn.
    pub(crate) gateway_inbox: SharedLevel,
    /// Bytes of frames that were queued for sessions.
    pub(crate) queued_bytes: Count,
    /// Sockets of clients: those of sessions, and those that are still told that theirs is over.
    pub(crate) connections: Gauge,
}

impl Default for Gauges {
    fn default() -> Self {
        Self {
            // On the clients' port, and on the operators'.
            handshakes: SharedLevel::new("handshakes", HANDSHAKES_MAX + OPERATIONS_CONNECTIONS_MAX),
            exchanges: SharedLevel::new(
                "plain_connections",
                HTTP_CONNECTIONS_MAX + OPERATIONS_CONNECTIONS_MAX,
            ),
            poll_sessions: SharedLevel::new("poll_sessions", POLL_SESSIONS_MAX),
            handshakes_done: Count::default(),
            origins_refused: Count::default(),
            plain_requests: Count::default(),
            admin_requests: Count::default(),
            admin_denied: Count::default(),
            // The frame that fills a queue beyond its limit closes the link and empties it.
            link_queue_bytes: SharedLevel::new("link_queue_bytes", LINK_QUEUE_BYTES_MAX),
            gateway_inbox: SharedLevel::new("gateway_inbox", INBOX_MAX),
            queued_bytes: Count::default(),
            connections: Gauge::default(),
        }
    }
}

impl Gauges {
    fn levels(&self) -> [Level; 5] {
        let Self { handshakes, exchanges, poll_sessions, link_queue_bytes, gateway_inbox, .. } =
            self;
        [handshakes, exchanges, poll_sessions, link_queue_bytes, gateway_inbox]
            .map(SharedLevel::level)
    }
}

#[derive(Default)]
struct Board {
    /// Hits of limits that belong to no machine.
    hits: Hits,
    draining: bool,
    links_up: BTreeMap<ShardId, bool>,
    gateway: Option<GatewayCounts>,
    owners: BTreeMap<ShardId, OwnerFigures>,
}

/// What the shell of one owner publishes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnerFigures {
    pub(crate) store_open: bool,
    /// The owner's, once the store was opened.
    pub(crate) epoch: Epoch,
    /// Times the store was opened again after it had failed.
    pub(crate) reopened: u64,
    /// The store's work in the background.
    pub(crate) upkeep: Upkeep,
    /// What the store let go.
    pub(crate) trimmed_entries: u64,
    pub(crate) trimmed_bytes: u64,
    /// How old the oldest entries may be that it has, by the log's clock.
    pub(crate) log_age_s: u64,
    pub(crate) counts: OwnerCounts,
    /// Entries of one store commit.
    pub(crate) batch: Sizes,
    /// From handing a batch to the store to its being durable.
    pub(crate) commit: Durations,
    /// What waits for the owner's next turn.
    pub(crate) inbox: Level,
    /// Entries that wait for the store to take them.
    pub(crate) waiting: Level,
    pub(crate) fsync: Durations,
}

/// A turn takes as many arrivals as fill a batch, on top of one entry less than a batch.
const WAITING_MAX: usize = 2 * STORE_BATCH_MAX - 1;

impl Default for OwnerFigures {
    fn default() -> Self {
        Self {
            store_open: false,
            epoch: Epoch::default(),
            reopened: 0,
            upkeep: Upkeep::default(),
            trimmed_entries: 0,
            trimmed_bytes: 0,
            log_age_s: 0,
            counts: OwnerCounts::default(),
            batch: Sizes::default(),
            commit: Durations::default(),
            inbox: Level::new("owner_inbox", INBOX_MAX),
            waiting: Level::new("waiting_entries", WAITING_MAX),
            fsync: Durations::default(),
        }
    }
}

impl OwnerFigures {
    pub(crate) fn levels(&self) -> [Level; 6] {
        let OwnerCounts { in_flight, link_reads, trace_rows, refusals, .. } = self.counts;
        [self.inbox, self.waiting, in_flight, link_reads, trace_rows, refusals]
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// A node starts: nothing is up yet.
    pub(crate) fn start(&self) {
        let mut board = self.board();
        board.draining = false;
        board.links_up.clear();
        board.owners.clear();
    }

    pub(crate) fn gauges(&self) -> &Gauges {
        &self.0.gauges
    }

    pub(crate) fn hit(&self, limit: Limit) {
        self.board().hits.hit(limit);
    }

    /// Whether clients are to be sent elsewhere.
    pub(crate) fn set_draining(&self, draining: bool) {
        self.board().draining = draining;
    }

    /// How far a drain has come.
    pub(crate) fn drain(&self) -> DrainReport {
        DrainReport::new(&self.board(), self.0.gauges.connections.get())
    }

    pub(crate) fn link(&self, shard: ShardId, up: bool) {
        self.board().links_up.insert(shard, up);
    }

    pub(crate) fn gateway(&self, counts: &GatewayCounts) {
        self.board().gateway = Some(*counts);
    }

    /// Changes what is known of the owner of `shard`.
    pub(crate) fn owner(&self, shard: ShardId, change: impl FnOnce(&mut OwnerFigures)) {
        change(self.board().owners.entry(shard).or_default());
    }

    /// What keeps the node from serving, a line each. None: it is ready.
    pub(crate) fn missing(&self) -> Vec<String> {
        let board = self.board();
        let mut missing = Vec::new();
        if board.draining {
            missing.push("the node is being drained".to_owned());
        }
        for (shard, up) in &board.links_up {
            if !up {
                missing.push(format!("the link to the owner of shard {shard} is down"));
            }
        }
        for (shard, owner) in &board.owners {
            if !owner.store_open {
                missing.push(format!("the store of shard {shard} is not open"));
            }
        }
        missing
    }

    /// Whether the link to each shard's owner is up.
    pub(crate) fn links(&self) -> BTreeMap<ShardId, bool> {
        self.board().links_up.clone()
    }

    /// The shards that the node owns.
    pub(crate) fn shards(&self) -> Vec<ShardReport> {
        self.board().owners.iter().map(|(shard, owner)| ShardReport::new(*shard, owner)).collect()
    }

    /// How full everything bounded is and has been.
    pub fn levels(&self) -> Vec<Level> {
        let mut levels = Vec::from(self.0.gauges.levels());
        let board = self.board();
        levels.extend(board.gateway.iter().flat_map(|counts| counts.levels()));
        for owner in board.owners.values() {
            levels.extend(owner.levels());
        }
        levels
    }

    /// Everything, in the text format that Prometheus reads. `uptime` is the node's.
    pub fn text(&self, uptime: Duration) -> String {
        let missing = self.missing();
        text::write(&self.0.gauges, &self.board(), missing.is_empty(), uptime)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
