//! Writes a run: channel by channel, record by record, so that it is whole before it has its name.

use std::sync::Arc;

use bytes::Bytes;
use seriatim_engine::ids::{Epoch, SeqNo};
use seriatim_engine::nonces::NonceKey;
use seriatim_engine::time::{LogTime, WallTime};

use super::block::{BlockWriter, Section, SectionKind};
use super::extent::{Extent, MARKS_PER_BLOCK, Mark, STRIDE_BYTES};
use super::footer::{Footer, RUN_HEADER_BYTES, RUN_MAGIC};
use super::index::Trimmed;
use super::pace::Pace;
use super::peek::Peek;
use super::record::Flaw;
use super::run::Run;
use super::run_name::{Job, RunName};
use super::segment::failed;
use crate::{Disk, DiskFile, StoreError};

/// What is written at once. It bounds how long writing a run keeps the node's thread.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// A nonce with the position it led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StoredNonce {
    pub(super) key: NonceKey,
    pub(super) seq: SeqNo,
    pub(super) at: WallTime,
    /// The log's time when it was written.
    pub(super) logged: LogTime,
    /// It is that of a confirmation, of which the run holds no record.
    pub(super) is_confirmation: bool,
}

/// Marks the nonce of a confirmation: no channel has so many entries.
pub(super) const CONFIRMATION_BIT: u64 = 1 << 63;

impl StoredNonce {
    pub(super) fn of(record: &Peek<'_>, logged: LogTime) -> Result<Self, Flaw> {
        let (key, is_confirmation) = (record.nonce()?, record.is_confirmation());
        Ok(Self { key, seq: record.seq, at: record.at, logged, is_confirmation })
    }
}

/// What a run says beside its records.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunFacts {
    pub(super) level: u32,
    pub(super) epoch: Epoch,
    pub(super) segment_length: u32,
    pub(super) log_time: LogTime,
}

/// A run in the making.
pub(super) struct RunWriter {
    name: RunName,
    temporary: String,
    file: Box<dyn DiskFile>,
    pace: Pace,
    /// What follows the first `written` bytes of the file.
    buffer: Vec<u8>,
    written: u64,
    channel: Option<OpenChannel>,
    state: BlockWriter,
    nonces: BlockWriter,
    channels: BlockWriter,
    /// Of every channel, in order.
    extents: Vec<(Box<[u8]>, Extent)>,
    entries: u64,
    nonce_count: u64,
    newest_at: WallTime,
    data_end: Option<u64>,
}

/// The channel whose records are being written.
struct OpenChannel {
    name: Box<[u8]>,
    extent: Extent,
    marks: Vec<Mark>,
}

impl RunWriter {
    /// Begins the run `name` in the job's temporary file. What a failed attempt left is removed.
    pub(super) async fn begin(
        disk: &dyn Disk,
        name: RunName,
        job: Job,
        pace: Pace,
    ) -> Result<Self, StoreError> {
        let temporary = job.temporary(name.shard);
        let created = match disk.create(&temporary).await {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let removed = disk.remove(&temporary).await;
                removed.map_err(|error| failed("remove", &temporary, error))?;
                disk.create(&temporary).await
            }
            created => created,
        };
        let file = created.map_err(|error| failed("create", &temporary, error))?;
        let section = |kind| BlockWriter::new(Section { run: name, kind }, 0);
        Ok(Self {
            name,
            temporary,
            file,
            pace,
            buffer: Vec::from(RUN_MAGIC),
            written: 0,
            channel: None,
            state: section(SectionKind::State),
            nonces: section(SectionKind::Nonces),
            channels: section(SectionKind::Channels),
            extents: Vec::new(),
            entries: 0,
            nonce_count: 0,
            newest_at: WallTime(0),
            data_end: None,
        })
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Bytes that wait to be written; see [`RunWriter::drain`].
    pub(super) fn is_full(&self) -> bool {
        self.buffer.len() >= CHUNK_BYTES
    }

    /// Adds the next record of its channel. Channels come in the order of their names.
    pub(super) fn push(&mut self, record: &Peek<'_>) {
        if self.channel.as_ref().is_none_or(|channel| *channel.name != *record.channel) {
            self.close_channel();
            self.open_channel(record);
        }
        self.push_open(record);
    }

    fn open_channel(&mut self, record: &Peek<'_>) {
        let offset = self.position();
        let last = self.extents.last();
        assert!(last.is_none_or(|(name, _)| **name < *record.channel), "channels out of order");
        let extent = Extent {
            first: record.seq,
            count: 0,
            offset,
            bytes: 0,
            newest_at: WallTime(0),
            marks: 0,
        };
        self.channel = Some(OpenChannel { name: record.channel.into(), extent, marks: Vec::new() });
    }

    fn push_open(&mut self, record: &Peek<'_>) {
        let position = self.position();
        let channel = self.channel.as_mut().expect("a channel was opened for the record");
        let extent = &mut channel.extent;
        assert!(record.seq.0 == extent.first.0 + extent.count, "a channel's records have a gap");
        let offset = position - extent.offset;
        extent.newest_at = extent.newest_at.max(record.at);
        let newest_at = extent.newest_at;
        match channel.marks.last_mut() {
            Some(mark) if offset - mark.offset < STRIDE_BYTES => mark.newest_at = newest_at,
            _ => channel.marks.push(Mark { seq: record.seq, offset, newest_at }),
        }
        extent.count += 1;
        extent.bytes += record.bytes.len() as u64;
        self.buffer.extend_from_slice(record.bytes);
        self.entries += 1;
        self.newest_at = self.newest_at.max(record.at);
        if record.is_state() {
            self.state.push(|buffer| buffer.extend_from_slice(record.bytes));
        }
    }

    fn close_channel(&mut self) {
        let Some(OpenChannel { name, mut extent, marks }) = self.channel.take() else { return };
        if marks.len() > 1 {
            extent.marks = u32::try_from(marks.len()).expect("a mark stands for 8 KiB of a run");
            let section = Section { run: self.name, kind: SectionKind::Marks };
            let mut blocks = BlockWriter::new(section, self.position());
            for block in marks.chunks(MARKS_PER_BLOCK as usize) {
                for mark in block {
                    blocks.push(|buffer| mark.encode(buffer));
                }
                blocks.close();
            }
            blocks.take(&mut self.buffer);
        }
        self.channels.push(|buffer| extent.encode(&name, buffer));
        self.extents.push((name, extent));
    }

    /// Writes what waits. Called whenever [`RunWriter::is_full`].
    pub(super) async fn drain(&mut self) -> Result<(), StoreError> {
        let next = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        let chunk = Bytes::from(std::mem::replace(&mut self.buffer, next));
        let length = chunk.len() as u64;
        // Little by little, so that no commit's sync has to wait for much of ours.
        let written = if self.pace.wrote(length) {
            self.file.write_and_sync(self.written, chunk).await
        } else {
            self.file.write_at(self.written, chunk).await
        };
        written.map_err(|error| failed("write", &self.temporary, error))?;
        self.written += length;
        self.pace.pause().await;
        Ok(())
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.file.sync().await.map_err(|error| failed("sync", &self.temporary, error))
    }

    /// Ends the records. What is left of the state follows, then nonces, sorted.
    pub(super) fn end_records(&mut self) {
        self.close_channel();
        self.data_end = Some(self.position());
        self.end_state();
    }

    /// Adds a record of the state of a run that has no records.
    pub(super) fn push_state(&mut self, record: &[u8]) {
        self.state.push(|buffer| buffer.extend_from_slice(record));
        self.state.take(&mut self.buffer);
    }

    /// Ends the state. Nonces follow, sorted.
    pub(super) fn end_state(&mut self) {
        self.state.close();
        self.state.take(&mut self.buffer);
    }

    /// Adds a channel of which only this is left: that its entries up to one are gone.
    pub(super) fn push_trimmed(&mut self, name: Box<[u8]>, trimmed: Trimmed) {
        let Trimmed { upto, newest_at } = trimmed;
        let (first, offset) = (upto.next(), RUN_HEADER_BYTES);
        let extent = Extent { first, count: 0, offset, bytes: 0, newest_at, marks: 0 };
        self.channels.push(|buffer| extent.encode(&name, buffer));
        self.extents.push((name, extent));
    }

    pub(super) fn push_nonce(&mut self, nonce: &StoredNonce) {
        self.nonce_count += 1;
        self.nonces.push(|buffer| {
            buffer.extend_from_slice(&nonce.key.0.to_be_bytes());
            let mark = if nonce.is_confirmation { CONFIRMATION_BIT } else { 0 };
            buffer.extend_from_slice(&(nonce.seq.0 | mark).to_le_bytes());
            buffer.extend_from_slice(&nonce.at.0.to_le_bytes());
            buffer.extend_from_slice(&nonce.logged.0.to_le_bytes());
        });
        self.nonces.take(&mut self.buffer);
    }

    /// Makes the run durable under its name. Gives it with the extent of every channel, in order.
    ///
    /// After an error of `Unnamed` nothing has happened: the run may be written again. After one of
    /// `Named` nobody knows what a power loss leaves.
    pub(super) async fn finish(
        mut self,
        disk: &dyn Disk,
        facts: RunFacts,
    ) -> Result<(Arc<Run>, Vec<(Box<[u8]>, Extent)>), FinishError> {
        let data_end = self.data_end.expect("the records were ended");
        self.nonces.close();
        self.nonces.take(&mut self.buffer);
        self.channels.close();
        self.channels.take(&mut self.buffer);
        let footer = Footer {
            name: self.name,
            level: facts.level,
            epoch: facts.epoch,
            segment_length: facts.segment_length,
            log_time: facts.log_time,
            newest_at: self.newest_at,
            entries: self.entries,
            nonces: self.nonce_count,
            data_end,
            state_bytes: self.state.end(),
            nonces_bytes: self.nonces.end(),
            channels_bytes: self.channels.end(),
        };
        self.buffer.extend_from_slice(&footer.encode());
        debug_assert_eq!(self.position(), footer.file_bytes(), "the footer miscounts");
        self.drain().await.map_err(FinishError::Unnamed)?;
        self.sync().await.map_err(FinishError::Unnamed)?;
        let file = self.name.file();
        let renamed = disk.rename(&self.temporary, &file).await;
        renamed.map_err(|error| FinishError::Unnamed(failed("name", &file, error)))?;
        let synced = disk.sync_directory().await;
        synced.map_err(|error| FinishError::Named(failed("sync the name of", &file, error)))?;
        let run = Arc::new(Run { file: Arc::from(self.file), footer });
        Ok((run, self.extents))
    }
}

/// How far a run came that could not be finished.
#[derive(Debug)]
pub(super) enum FinishError {
    Unnamed(StoreError),
    Named(StoreError),
}

const _: () = assert!(RUN_HEADER_BYTES == RUN_MAGIC.len() as u64);
