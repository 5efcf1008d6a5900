//! The durable log of channels.

use std::collections::BTreeMap;
use std::time::Duration;

use seriatim_engine::entry::{Batch, ReadCursor};
use seriatim_engine::history_bound::{HistoryBound, HistoryPage};
use seriatim_engine::ids::{ChannelKey, Epoch, SeqNo, ShardId};
use seriatim_engine::membership::Roster;
use seriatim_engine::nonces::Nonces;
use seriatim_engine::time::LogTime;

use crate::BoxFuture;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else owns the shard: stop serving it.
    #[error("epoch {ours} of shard {shard} is over: the store is at epoch {newest}")]
    Fenced { shard: ShardId, ours: Epoch, newest: Epoch },
    /// Whether the batch is durable is unknown. Open the store again and recover.
    #[error("{action} failed: {source}; the store must be opened again")]
    Failed { action: String, source: std::io::Error },
    /// An earlier failure left this handle unusable.
    #[error("the store failed before and must be opened again")]
    Poisoned,
    /// Stored bytes are not what was written. Nothing of it is served.
    #[error("{file} is corrupt at byte {offset}: {what}")]
    Corrupt { file: String, offset: u64, what: String },
}

/// What an owner needs to go on where its predecessor stopped.
#[derive(Debug, Default)]
pub struct Recovered {
    pub channels: BTreeMap<ChannelKey, RecoveredChannel>,
    /// The greatest time of a batch: the log's clock goes on from it.
    pub log_time: LogTime,
    /// Everything that was written up to this time is gone; 0: nothing is.
    pub trimmed_upto: LogTime,
    /// Every nonce that was asked for.
    pub nonces: Nonces,
    /// How far users have read: one for each user and channel at most.
    pub reads: Vec<ReadCursor>,
}

/// One channel's state, from its log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RecoveredChannel {
    /// The newest durable position.
    pub head: SeqNo,
    /// Entries up to this one are gone: the log is not to keep everything.
    pub trimmed_upto: SeqNo,
    /// What all of its entries say about the channel itself.
    pub roster: Roster,
}

/// Durable, append-only logs of channels, grouped in shards with one writer each.
pub trait Store: Send + Sync + 'static {
    /// Makes the caller the shard's writer: raises the epoch, durably, and fences all earlier ones.
    ///
    /// # Errors
    /// [`StoreError`]
    fn claim(&self, shard: ShardId) -> BoxFuture<'_, Result<Epoch, StoreError>>;

    /// The state of every channel of `shard`, with the nonces of all batches that are not older than
    /// `nonce_window` by the log's time.
    ///
    /// # Errors
    /// [`StoreError`]
    fn recover(
        &self,
        shard: ShardId,
        nonce_window: Duration,
    ) -> BoxFuture<'_, Result<Recovered, StoreError>>;

    /// Returns once `batch` survives a power loss, as a whole. Its time counts as that of the batch
    /// before if it is less.
    ///
    /// # Errors
    /// [`StoreError::Fenced`]: nothing was written. Any other: unknown, see there.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Returns once it survives a power loss how far users have read. Of several positions of one
    /// user in one channel, the greatest counts.
    ///
    /// # Errors
    /// [`StoreError`]
    fn note_reads(
        &self,
        shard: ShardId,
        epoch: Epoch,
        reads: Vec<ReadCursor>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The page of `channel` at `bound`: consecutive entries, in order, at most `entries_max`, and
    /// no more than `bytes_max` bytes of bodies unless the one next to the bound alone is larger.
    /// Durable entries only. What the log did not keep is left out, and told of.
    ///
    /// # Errors
    /// [`StoreError`]
    fn history<'a>(
        &'a self,
        channel: &'a ChannelKey,
        bound: HistoryBound,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<HistoryPage, StoreError>>;
}
