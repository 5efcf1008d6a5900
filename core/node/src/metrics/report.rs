//! What the figures say of a shard, and of a drain, for operators.

use serde::Serialize;

use seriatim_engine::ids::{Epoch, ShardId};

use super::{Board, OwnerFigures};

/// A shard that this node owns.
#[derive(Debug, Serialize)]
pub(crate) struct ShardReport {
    pub(crate) shard: ShardId,
    pub(crate) store_open: bool,
    pub(crate) epoch: Epoch,
    /// Times that the store was opened again after it had failed.
    pub(crate) reopened: u64,
    pub(crate) channels: usize,
    /// Since the store was opened.
    pub(crate) numbered: u64,
    pub(crate) durable: u64,
    pub(crate) levels: Vec<LevelReport>,
}

/// How full something bounded is.
#[derive(Debug, Serialize)]
pub(crate) struct LevelReport {
    pub(crate) what: &'static str,
    pub(crate) now: usize,
    pub(crate) peak: usize,
    pub(crate) limit: usize,
}

impl ShardReport {
    pub(super) fn new(shard: ShardId, owner: &OwnerFigures) -> Self {
        let levels = owner.levels().into_iter().map(|level| {
            let seriatim_engine::levels::Level { what, now, peak, limit } = level;
            LevelReport { what, now, peak, limit }
        });
        Self {
            shard,
            store_open: owner.store_open,
            epoch: owner.epoch,
            reopened: owner.reopened,
            channels: owner.counts.channels,
            numbered: owner.counts.numbered,
            durable: owner.counts.durable,
            levels: levels.collect(),
        }
    }
}

/// How far a drain has come. It is over when nothing is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DrainReport {
    pub(crate) draining: bool,
    /// Sessions that have not been told.
    pub(crate) sessions: usize,
    /// Sockets of clients that are not closed.
    pub(crate) connections: usize,
    /// What owners were asked and have not answered.
    pub(crate) requests: usize,
    /// Entries that wait for the stores of this node.
    pub(crate) waiting_entries: usize,
}

impl DrainReport {
    pub(super) fn new(board: &Board, connections: usize) -> Self {
        let gateway = board.gateway.as_ref();
        Self {
            draining: board.draining,
            sessions: gateway.map_or(0, |gateway| gateway.sessions.now),
            connections,
            requests: gateway.map_or(0, |gateway| gateway.tickets.now),
            waiting_entries: board.owners.values().map(|owner| owner.waiting.now).sum(),
        }
    }
}
