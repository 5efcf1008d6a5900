//! How far users have read, in a file of its own beside the log.
//!
//! A position replaces the earlier one of the same user and channel, so these are rows, not
//! entries. The file `shard-0000.reads` has the header and the groups of a segment, whose number is
//! 0, and its records are of a kind that no segment has. Notes are appended; when what is out of
//! date takes more room than what counts, and at each opening, the file is written anew beside the
//! old one and renamed.
//!
//! # Invariants
//!
//! - **Durable first**: a note counts when its group is synced.
//! - **Never back**: of several notes the greatest counts, in whatever order they are read.
//! - **Damage costs what it hits**: a group that doesn't verify is skipped, told of, and those
//!   after it are read. Its users have read less, as far as the server knows; no message is lost
//!   with it, and the shard is served.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use seriatim_engine::entry::ReadCursor;
use seriatim_engine::ids::{ChannelKey, Epoch, SeqNo, ShardId, UserId};
use seriatim_engine::limits::STORE_BATCH_MAX;

use super::group::{self, Place, encode_reads};
use super::record::length_u32;
use super::segment::{self, SEGMENT_HEADER_BYTES, failed};
use crate::{Disk, DiskFile, StoreError};

/// Below it the file is never written anew.
const COMPACT_BYTES_MIN: u64 = 64 * 1024;

/// The newest position of each user in each channel.
pub(super) type Positions = BTreeMap<(ChannelKey, UserId), SeqNo>;

/// The file, which begins with the first note.
pub(super) struct ReadCursors {
    disk: Arc<dyn Disk>,
    shard: ShardId,
    file: Option<File>,
    /// A write began and did not succeed.
    in_doubt: bool,
}

struct File {
    file: Arc<dyn DiskFile>,
    end: u64,
    /// When the file is as long as this, it is written anew.
    compact_at: u64,
}

/// What a file said.
#[derive(Debug, Default)]
struct Read {
    positions: Positions,
    /// Bytes that did not verify. A crash may spoil the last group, whose notes nobody relies on.
    skipped_bytes: u64,
}

pub(super) fn place(shard: ShardId) -> Place {
    Place { shard, segment: 0 }
}

/// The name of the file.
pub(super) fn file_name(shard: ShardId) -> String {
    format!("shard-{:04}.reads", shard.0)
}

/// What a crash may leave of writing it anew.
pub(super) fn temporary(shard: ShardId) -> String {
    format!("shard-{:04}.reads.tmp", shard.0)
}

impl ReadCursors {
    /// Opens the file, if there is one, and writes it anew: what was read may be in the kernel's
    /// memory only, and its end may be spoilt.
    ///
    /// # Errors
    /// [`StoreError::Failed`]
    pub(super) async fn open(disk: Arc<dyn Disk>, shard: ShardId) -> Result<Self, StoreError> {
        let name = file_name(shard);
        let mut cursors = Self { disk, shard, file: None, in_doubt: false };
        match cursors.disk.open(&name).await {
            Ok(file) => {
                let Read { positions, skipped_bytes } = read(&*file, shard).await?;
                if skipped_bytes > 0 {
                    tracing::warn!(file = name, skipped_bytes, "some read positions are lost");
                }
                cursors.rewrite(&positions, Epoch::default()).await?;
                Ok(cursors)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(cursors),
            Err(error) => Err(failed("open", &name, error)),
        }
    }

    /// Every position.
    ///
    /// # Errors
    /// [`StoreError::Failed`]
    pub(super) async fn positions(&self) -> Result<Positions, StoreError> {
        match &self.file {
            Some(file) => Ok(read(&*file.file, self.shard).await?.positions),
            None => Ok(Positions::new()),
        }
    }

    /// Returns once the notes survive a power loss.
    ///
    /// # Errors
    /// [`StoreError::Failed`]; after it, and after being dropped half-way, [`StoreError::Poisoned`].
    pub(super) async fn note(
        &mut self,
        notes: &[ReadCursor],
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.in_doubt, true) {
            return Err(StoreError::Poisoned);
        }
        match &mut self.file {
            Some(File { file, end, compact_at }) if *end < *compact_at => {
                let name = file_name(self.shard);
                for notes in notes.chunks(STORE_BATCH_MAX) {
                    let group = encode_reads(notes, epoch, place(self.shard), offset(*end)?);
                    *end = append(&**file, &name, *end, group).await?;
                }
                sync(&**file, &name).await?;
            }
            Some(_) | None => {
                let mut positions = self.positions().await?;
                notes.iter().cloned().for_each(|note| raise(&mut positions, note));
                self.rewrite(&positions, epoch).await?;
            }
        }
        self.in_doubt = false;
        Ok(())
    }

    /// Puts a file with these positions, and nothing else, in the place of the one there is.
    async fn rewrite(&mut self, positions: &Positions, epoch: Epoch) -> Result<(), StoreError> {
        let name = temporary(self.shard);
        let file: Arc<dyn DiskFile> = Arc::from(begin(&*self.disk, &name).await?);
        let header = segment::encode_header(place(self.shard), 0);
        let mut end = append(&*file, &name, 0, header).await?;
        let mut cursors = positions.iter().map(|((channel, user), seq)| ReadCursor {
            channel: channel.clone(),
            user: user.clone(),
            seq: *seq,
        });
        loop {
            let some: Vec<ReadCursor> = cursors.by_ref().take(STORE_BATCH_MAX).collect();
            if some.is_empty() {
                break;
            }
            let group = encode_reads(&some, epoch, place(self.shard), offset(end)?);
            end = append(&*file, &name, end, group).await?;
        }
        sync(&*file, &name).await?;
        let to = file_name(self.shard);
        self.disk.rename(&name, &to).await.map_err(|error| failed("name", &to, error))?;
        let synced = self.disk.sync_directory().await;
        synced.map_err(|error| failed("sync the name of", &to, error))?;
        self.file = Some(File { file, end, compact_at: (2 * end).max(COMPACT_BYTES_MIN) });
        Ok(())
    }
}

pub(super) fn raise(positions: &mut Positions, ReadCursor { channel, user, seq }: ReadCursor) {
    let position = positions.entry((channel, user)).or_default();
    *position = seq.max(*position);
}

/// Creates `name`, in place of what a crash may have left of it.
async fn begin(disk: &dyn Disk, name: &str) -> Result<Box<dyn DiskFile>, StoreError> {
    match disk.remove(name).await {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove", name, error)),
    }
    disk.create(name).await.map_err(|error| failed("create", name, error))
}

/// Gives the new end.
async fn append(
    file: &dyn DiskFile,
    name: &str,
    end: u64,
    bytes: Vec<u8>,
) -> Result<u64, StoreError> {
    let length = bytes.len() as u64;
    let written = file.write_at(end, Bytes::from(bytes)).await;
    written.map_err(|error| failed("write", name, error))?;
    Ok(end + length)
}

async fn sync(file: &dyn DiskFile, name: &str) -> Result<(), StoreError> {
    file.sync().await.map_err(|error| failed("sync", name, error))
}

/// Where a group lies. A file of 4 GiB would hold the positions of more than 20 million users.
fn offset(end: u64) -> Result<u32, StoreError> {
    u32::try_from(end).map_err(|_| StoreError::Failed {
        action: "note read positions".to_owned(),
        source: std::io::Error::new(ErrorKind::FileTooLarge, "the file has 4 GiB"),
    })
}

/// Reads the whole file.
async fn read(file: &dyn DiskFile, shard: ShardId) -> Result<Read, StoreError> {
    let name = file_name(shard);
    let length = file.length().await.map_err(|error| failed("read", &name, error))?;
    let length = usize::try_from(offset(length)?).unwrap_or(usize::MAX);
    let bytes = file.read_at(0, length).await.map_err(|error| failed("read", &name, error))?;
    Ok(fold(&bytes, shard))
}

/// A header that doesn't verify says nothing about the groups: each knows its own place.
fn fold(bytes: &[u8], shard: ShardId) -> Read {
    let mut read = Read::default();
    let mut at = SEGMENT_HEADER_BYTES;
    while (at as usize) < bytes.len() {
        let reads = group::decode(bytes, place(shard), at)
            .and_then(|group| Ok((group.reads()?, group.end())));
        if let Ok((reads, end)) = reads {
            reads.into_iter().for_each(|note| raise(&mut read.positions, note));
            at = end;
        } else {
            let end = length_u32(bytes.len());
            let next = group::find_after(bytes, place(shard), at).unwrap_or(end);
            read.skipped_bytes += u64::from(next - at);
            at = next;
        }
    }
    read
}
