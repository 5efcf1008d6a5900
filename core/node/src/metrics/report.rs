//! What the figures say of one shard, for operators.

use serde::Serialize;

use seriatim_engine::ids::{Epoch, ShardId};

use super::OwnerFigures;

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
