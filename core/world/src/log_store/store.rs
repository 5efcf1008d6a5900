//! Appends to the log and answers from it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use seriatim_engine::entry::{Batch, ChannelEntry, ReadCursor};
use seriatim_engine::history_bound::{HistoryBound, HistoryPage};
use seriatim_engine::ids::{ChannelKey, Epoch, ShardId};
use seriatim_engine::limits::STORE_BATCH_MAX;
use seriatim_engine::time::LogTime;
use tokio::sync::Notify;

use super::group::{Place, Stamp, encode_batch, encode_claim};
use super::index::{ChannelNumber, Index, Sealed};
use super::options::LogStoreOptions;
use super::peek::put_channel;
use super::read_cursors::ReadCursors;
use super::recovery::{RecoveredLog, RecoveryReport, recover};
use super::run_name::RunName;
use super::segment::{SEGMENT_HEADER_BYTES, create, failed, file_name};
use crate::store::Recovered;
use crate::{BoxFuture, Disk, DiskFile, Store, StoreError};

/// One shard's log on a [`Disk`]. Only one may be open for a shard at a time.
pub struct LogStore {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) shard: ShardId,
    pub(super) options: LogStoreOptions,
    /// Held for a whole commit, so commits go one after the other.
    writer: tokio::sync::Mutex<Writer>,
    /// Held for a whole note.
    reads: tokio::sync::Mutex<ReadCursors>,
    /// Never held across an await: readers don't wait for a commit.
    index: Mutex<Index>,
    /// The time of the newest group.
    log_time: AtomicU32,
    /// Runs that can't be merged because a part of them can't be read.
    damaged: Mutex<BTreeSet<RunName>>,
    pub(super) segment_full: Notify,
    pub(super) runs_changed: Notify,
    /// Fewer full segments wait, or there is no hope that they will.
    pub(super) room: Notify,
    pub(super) flush_fails: AtomicBool,
    pub(super) setbacks: AtomicU64,
    /// The background work met what only opening the store again can clear up.
    pub(super) given_up: AtomicBool,
}

struct Writer {
    epoch: Epoch,
    /// The segment that takes the next group, unless it is full.
    active: Option<Active>,
    /// The newest segment there was, in a run by now or not, and its length.
    last: (u32, u32),
    /// A commit began and did not succeed: it failed, or its future was dropped. Nobody knows what
    /// of it is durable, so nothing may follow it.
    in_doubt: bool,
}

struct Active {
    number: u32,
    file: Arc<dyn DiskFile>,
    end: u32,
}

/// A group that is durable.
struct Committed {
    segment: u32,
    bytes: Bytes,
    /// Where in the group each record begins.
    starts: Vec<u32>,
}

impl LogStore {
    /// Opens the log of `shard`, or begins one, and repairs what a crash left.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the log isn't what was written; its files stay as they are.
    /// [`StoreError::Failed`] when the disk failed; it may be tried again.
    pub async fn open(
        disk: Arc<dyn Disk>,
        shard: ShardId,
        options: LogStoreOptions,
    ) -> Result<(Self, RecoveryReport), StoreError> {
        let RecoveredLog { index, epoch, log_time, last, active, report } =
            recover(&*disk, shard).await?;
        let active = active.map(|file| Active { number: last.0, file, end: last.1 });
        let reads = ReadCursors::open(Arc::clone(&disk), shard).await?;
        let store = Self {
            disk,
            shard,
            options,
            writer: tokio::sync::Mutex::new(Writer { epoch, active, last, in_doubt: false }),
            reads: tokio::sync::Mutex::new(reads),
            index: Mutex::new(index),
            log_time: AtomicU32::new(log_time.0),
            damaged: Mutex::default(),
            segment_full: Notify::new(),
            runs_changed: Notify::new(),
            room: Notify::new(),
            flush_fails: AtomicBool::new(false),
            setbacks: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
        };
        Ok((store, report))
    }

    async fn claim_epoch(&self) -> Result<Epoch, StoreError> {
        let mut writer = self.writer.lock().await;
        self.prepare(&writer).await?;
        let epoch = Epoch(writer.epoch.0 + 1);
        let stamp = Stamp { epoch, at: self.log_time() };
        let encode = |place, offset| (encode_claim(stamp, place, offset), Vec::new());
        self.commit(&mut writer, encode).await?;
        writer.epoch = epoch;
        Ok(epoch)
    }

    async fn append_batch(&self, batch: Batch) -> Result<(), StoreError> {
        let Batch { shard, epoch, at, entries, confirmations } = batch;
        self.check_shard(shard);
        assert!(
            entries.len() + confirmations.len() <= STORE_BATCH_MAX,
            "a batch has more than {STORE_BATCH_MAX} records"
        );
        let mut writer = self.writer.lock().await;
        self.prepare(&writer).await?;
        if epoch < writer.epoch {
            return Err(StoreError::Fenced { shard, ours: epoch, newest: writer.epoch });
        }
        assert!(epoch == writer.epoch, "epoch {epoch} was never claimed");
        if entries.is_empty() && confirmations.is_empty() {
            return Ok(());
        }
        // From here on the positions are taken: if the commit fails, the store is in doubt.
        let numbers = self.assign(&entries);
        let stamp = Stamp { epoch, at: at.max(self.log_time()) };
        let records = (&*entries, &*confirmations);
        let encode = |place, offset| encode_batch(records, stamp, place, offset);
        let committed = self.commit(&mut writer, encode).await?;
        let Committed { segment, bytes, starts } = committed;
        self.log_time.store(stamp.at.0, Ordering::Relaxed);
        let mut index = self.index();
        let chunk = index.add_chunk(segment, bytes, stamp.at);
        let mut starts = starts.into_iter();
        for ((entry, number), start) in entries.iter().zip(numbers).zip(starts.by_ref()) {
            index.add(number, segment, (chunk, start), entry.entry.at);
        }
        for start in starts {
            index.add_confirmation(segment, (chunk, start));
        }
        Ok(())
    }

    /// Within a channel, the entries of a batch must follow each other and the log.
    fn assign(&self, entries: &[ChannelEntry]) -> Vec<ChannelNumber> {
        let mut index = self.index();
        let mut name = Vec::new();
        let mut numbers = Vec::with_capacity(entries.len());
        for ChannelEntry { channel, entry } in entries {
            name.clear();
            put_channel(channel, &mut name);
            match index.assign(&name, entry.seq) {
                Ok(number) => numbers.push(number),
                Err(newest) => panic!("{channel} goes from {newest} to {}", entry.seq),
            }
        }
        numbers
    }

    /// Makes sure that something may be committed, and that there is room in memory for it.
    async fn prepare(&self, writer: &Writer) -> Result<(), StoreError> {
        loop {
            let has_room = self.room.notified();
            if writer.in_doubt || self.given_up.load(Ordering::Relaxed) {
                return Err(StoreError::Poisoned);
            }
            let full = writer.active.as_ref().is_some_and(|active| self.is_full(active));
            if !full || self.index().waiting_count() < self.options.segments_waiting_max {
                return Ok(());
            }
            if self.flush_fails.load(Ordering::Relaxed) {
                let why = "too many full segments wait, and the newest attempt failed";
                let source = std::io::Error::other(why);
                let action = "rewrite a full segment".to_owned();
                return Err(StoreError::Failed { action, source });
            }
            has_room.await;
        }
    }

    fn is_full(&self, active: &Active) -> bool {
        active.end >= self.options.segment_bytes()
    }

    /// Writes one group and makes it durable. Until that has succeeded, the store is in doubt.
    async fn commit(
        &self,
        writer: &mut Writer,
        encode: impl FnOnce(Place, u32) -> (Vec<u8>, Vec<u32>),
    ) -> Result<Committed, StoreError> {
        writer.in_doubt = true;
        self.make_active(writer).await?;
        let active = writer.active.as_mut().expect("there is an active segment");
        let segment = active.number;
        let place = Place { shard: self.shard, segment };
        let (group, starts) = encode(place, active.end);
        let bytes = Bytes::from(group);
        let end = active.end + u32::try_from(bytes.len()).expect("groups have a limit");
        let written = active.file.write_and_sync(u64::from(active.end), bytes.clone()).await;
        written.map_err(|error| failed("write and sync", &file_name(place), error))?;
        active.end = end;
        writer.last = (segment, end);
        writer.in_doubt = false;
        Ok(Committed { segment, bytes, starts })
    }

    /// The segment that takes groups takes no more: it waits to be rewritten as a run.
    pub(super) async fn seal_active(&self) {
        let mut writer = self.writer.lock().await;
        if writer.in_doubt {
            return;
        }
        let epoch = writer.epoch;
        let Some(Active { number: segment, end: length, .. }) = writer.active.take() else {
            return;
        };
        self.index().seal(Sealed { segment, epoch, length, log_time: self.log_time() });
        self.segment_full.notify_one();
    }

    /// Sees to a segment with room for the next group.
    async fn make_active(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let full = writer.active.take_if(|active| self.is_full(active));
        if writer.active.is_some() {
            return Ok(());
        }
        let (last, length_before) = writer.last;
        let number = last + 1;
        let place = Place { shard: self.shard, segment: number };
        let file = create(&*self.disk, place, length_before).await?;
        writer.active = Some(Active { number, file, end: SEGMENT_HEADER_BYTES });
        let mut index = self.index();
        index.add_segment(number);
        if let Some(Active { number: segment, end: length, .. }) = full {
            let log_time = self.log_time();
            index.seal(Sealed { segment, epoch: writer.epoch, length, log_time });
            self.segment_full.notify_one();
        }
        Ok(())
    }

    async fn recovered(&self, nonce_window: Duration) -> Result<Recovered, StoreError> {
        // Held to the end, so that heads and nonces are of the same moment.
        let writer = self.writer.lock().await;
        if writer.in_doubt || self.given_up.load(Ordering::Relaxed) {
            return Err(StoreError::Poisoned);
        }
        let reads = self.read_positions().await?;
        Ok(Recovered { reads, ..self.restore(nonce_window).await? })
    }

    /// How far users have read: one for each user and channel at most.
    ///
    /// # Errors
    /// [`StoreError::Failed`]
    pub async fn read_positions(&self) -> Result<Vec<ReadCursor>, StoreError> {
        let positions = self.reads.lock().await.positions().await?;
        let read = |((channel, user), seq)| ReadCursor { channel, user, seq };
        Ok(positions.into_iter().map(read).collect())
    }

    async fn note_positions(&self, epoch: Epoch, reads: Vec<ReadCursor>) -> Result<(), StoreError> {
        let newest = self.writer.lock().await.epoch;
        if epoch < newest {
            return Err(StoreError::Fenced { shard: self.shard, ours: epoch, newest });
        }
        self.reads.lock().await.note(&reads, epoch).await
    }

    /// The time of the newest group.
    pub fn log_time(&self) -> LogTime {
        LogTime(self.log_time.load(Ordering::Relaxed))
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn damaged(&self) -> MutexGuard<'_, BTreeSet<RunName>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_shard(&self, shard: ShardId) {
        assert!(shard == self.shard, "shard {shard} was sent to the store of shard {}", self.shard);
    }
}

/// # Panics
/// When asked for another shard than the one it was opened for, given an epoch that was never
/// claimed, or given entries that leave a gap: the caller's mistakes.
impl Store for LogStore {
    fn claim(&self, shard: ShardId) -> BoxFuture<'_, Result<Epoch, StoreError>> {
        self.check_shard(shard);
        Box::pin(self.claim_epoch())
    }

    fn recover(
        &self,
        shard: ShardId,
        nonce_window: Duration,
    ) -> BoxFuture<'_, Result<Recovered, StoreError>> {
        self.check_shard(shard);
        Box::pin(self.recovered(nonce_window))
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.append_batch(batch))
    }

    fn note_reads(
        &self,
        shard: ShardId,
        epoch: Epoch,
        reads: Vec<ReadCursor>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.check_shard(shard);
        Box::pin(self.note_positions(epoch, reads))
    }

    fn history<'a>(
        &'a self,
        channel: &'a ChannelKey,
        bound: HistoryBound,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<HistoryPage, StoreError>> {
        Box::pin(self.page(channel, bound, entries_max, bytes_max))
    }
}
