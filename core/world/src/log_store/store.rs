//! Appends to the log and answers from it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use seriatim_engine::entry::{Batch, ChannelEntry, Content, Entry};
use seriatim_engine::ids::{ChannelKey, Epoch, SeqNo, ShardId};
use seriatim_engine::limits::STORE_BATCH_MAX;
use seriatim_engine::time::WallTime;

use super::group::{Place, encode_claim, encode_entries};
use super::history::{spans, visit_entries};
use super::index::{Index, Location};
use super::recovery::{RecoveredLog, RecoveryReport, recover};
use super::segment::{SEGMENT_BYTES_MAX, SEGMENT_HEADER_BYTES, create, failed, file_name};
use crate::store::Recovered;
use crate::{BoxFuture, Disk, DiskFile, Store, StoreError};

/// How a [`LogStore`] lays out its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStoreOptions {
    /// A segment of so many bytes takes no further group. At most [`SEGMENT_BYTES_MAX`], above
    /// which it counts as that. It may change from one opening to the next.
    pub segment_bytes: u32,
}

impl Default for LogStoreOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20 }
    }
}

/// One shard's log on a [`Disk`]. Only one may be open for a shard at a time.
pub struct LogStore {
    disk: Arc<dyn Disk>,
    shard: ShardId,
    segment_bytes: u32,
    /// Held for a whole commit, so commits go one after the other.
    writer: tokio::sync::Mutex<Writer>,
    /// Never held across an await: readers don't wait for a commit.
    index: Mutex<Index>,
}

struct Writer {
    epoch: Epoch,
    /// The segment that takes the next group, unless it is full.
    active: Option<Active>,
    /// A commit began and did not succeed: it failed, or its future was dropped. Nobody knows what
    /// of it is durable, so nothing may follow it.
    in_doubt: bool,
}

struct Active {
    number: u32,
    file: Arc<dyn DiskFile>,
    end: u32,
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
        let RecoveredLog { index, epoch, last, report } = recover(&*disk, shard).await?;
        let active = last.and_then(|number| index.segment(number)).map(|segment| Active {
            number: segment.number,
            file: Arc::clone(&segment.file),
            end: segment.end,
        });
        let store = Self {
            disk,
            shard,
            segment_bytes: options.segment_bytes.min(SEGMENT_BYTES_MAX),
            writer: tokio::sync::Mutex::new(Writer { epoch, active, in_doubt: false }),
            index: Mutex::new(index),
        };
        Ok((store, report))
    }

    /// Every durable entry of the shard, in the order in which they were appended, read from disk
    /// and verified. For audits: it holds all of them in memory.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] and [`StoreError::Failed`].
    pub async fn entries(&self) -> Result<Vec<ChannelEntry>, StoreError> {
        let segments = self.index().segments_since(WallTime(0));
        let mut entries = Vec::new();
        for segment in segments {
            visit_entries(&segment, self.shard, |entry| entries.push(entry)).await?;
        }
        Ok(entries)
    }

    async fn claim_epoch(&self) -> Result<Epoch, StoreError> {
        let mut writer = self.writer.lock().await;
        writer.check()?;
        let epoch = Epoch(writer.epoch.0 + 1);
        let encode = |place, offset| (encode_claim(epoch, place, offset), Vec::new());
        self.commit(&mut writer, encode).await?;
        writer.epoch = epoch;
        Ok(epoch)
    }

    async fn append_batch(&self, batch: Batch) -> Result<(), StoreError> {
        let Batch { shard, epoch, entries } = batch;
        self.check_shard(shard);
        assert!(
            entries.len() <= STORE_BATCH_MAX,
            "a batch has more than {STORE_BATCH_MAX} entries"
        );
        let mut writer = self.writer.lock().await;
        writer.check()?;
        if epoch < writer.epoch {
            return Err(StoreError::Fenced { shard, ours: epoch, newest: writer.epoch });
        }
        assert!(epoch == writer.epoch, "epoch {epoch} was never claimed");
        self.check_order(&entries);
        if entries.is_empty() {
            return Ok(());
        }
        let encode = |place, offset| encode_entries(&entries, epoch, place, offset);
        let locations = self.commit(&mut writer, encode).await?;
        let mut index = self.index();
        for (entry, location) in entries.iter().zip(locations) {
            index.add(entry, location).expect("the order was checked before the write");
        }
        Ok(())
    }

    /// Writes one group and makes it durable. Until that has succeeded, the store is in doubt.
    async fn commit(
        &self,
        writer: &mut Writer,
        encode: impl FnOnce(Place, u32) -> (Vec<u8>, Vec<Location>),
    ) -> Result<Vec<Location>, StoreError> {
        writer.in_doubt = true;
        let active = self.active(&mut writer.active).await?;
        let place = Place { shard: self.shard, segment: active.number };
        let (group, locations) = encode(place, active.end);
        let end = active.end + u32::try_from(group.len()).expect("groups have a limit");
        let written = active.file.write_at(u64::from(active.end), Bytes::from(group)).await;
        written.map_err(|error| failed("write", &file_name(place), error))?;
        let synced = active.file.sync().await;
        synced.map_err(|error| failed("sync", &file_name(place), error))?;
        active.end = end;
        self.index().extend_segment(active.number, end);
        writer.in_doubt = false;
        Ok(locations)
    }

    /// The segment for the next group: a new one if there is none with room.
    async fn active<'a>(
        &self,
        active: &'a mut Option<Active>,
    ) -> Result<&'a mut Active, StoreError> {
        let full = active.take_if(|active| active.end >= self.segment_bytes);
        if active.is_none() {
            let (number, length_before) = full.map_or((1, 0), |full| (full.number + 1, full.end));
            let place = Place { shard: self.shard, segment: number };
            let file = create(&*self.disk, place, length_before).await?;
            self.index().add_segment(number, Arc::clone(&file), SEGMENT_HEADER_BYTES);
            *active = Some(Active { number, file, end: SEGMENT_HEADER_BYTES });
        }
        Ok(active.as_mut().expect("it was there or was created"))
    }

    /// Within a channel, the entries of a batch must follow each other and the log.
    fn check_order(&self, entries: &[ChannelEntry]) {
        let index = self.index();
        let mut heads: BTreeMap<&ChannelKey, SeqNo> = BTreeMap::new();
        for ChannelEntry { channel, entry } in entries {
            let head = heads.entry(channel).or_insert_with(|| index.head(channel));
            assert!(entry.seq == head.next(), "{channel} goes from {head} to {}", entry.seq);
            *head = entry.seq;
        }
    }

    async fn recovered(&self, nonces_since: WallTime) -> Result<Recovered, StoreError> {
        // Held to the end, so that heads and nonces are of the same moment.
        let writer = self.writer.lock().await;
        writer.check()?;
        let (mut recovered, segments) = {
            let index = self.index();
            (index.recovered(), index.segments_since(nonces_since))
        };
        for segment in segments {
            visit_entries(&segment, self.shard, |ChannelEntry { channel, entry }| {
                let Entry { seq, at, content } = entry;
                match content {
                    Content::Message { sender, nonce, .. } if at >= nonces_since => {
                        let channel = recovered.channels.entry(channel).or_default();
                        channel.nonces.push((sender, nonce, seq, at));
                    }
                    Content::Message { .. } | Content::Joined { .. } => {}
                }
            })
            .await?;
        }
        Ok(recovered)
    }

    async fn page(
        &self,
        channel: &ChannelKey,
        after: SeqNo,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let spans = {
            let index = self.index();
            spans(&index, self.shard, &index.page(channel, after, entries_max, bytes_max))
        };
        let mut next = SeqNo(after.0.saturating_add(1));
        let mut entries = Vec::new();
        for span in spans {
            span.read(channel, &mut next, &mut entries).await?;
        }
        Ok(entries)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_shard(&self, shard: ShardId) {
        assert!(shard == self.shard, "shard {shard} was sent to the store of shard {}", self.shard);
    }
}

impl Writer {
    fn check(&self) -> Result<(), StoreError> {
        if self.in_doubt { Err(StoreError::Poisoned) } else { Ok(()) }
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
        nonces_since: WallTime,
    ) -> BoxFuture<'_, Result<Recovered, StoreError>> {
        self.check_shard(shard);
        Box::pin(self.recovered(nonces_since))
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.append_batch(batch))
    }

    fn history<'a>(
        &'a self,
        channel: &'a ChannelKey,
        after: SeqNo,
        entries_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, StoreError>> {
        Box::pin(self.page(channel, after, entries_max, bytes_max))
    }
}
