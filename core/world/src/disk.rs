//! Files, as the log store needs them: one flat directory, positioned reads and writes, and the
//! two syncs that decide what survives a power loss.

use std::io;

use bytes::Bytes;

use crate::BoxFuture;

/// One directory of files.
///
/// A file that was created, renamed or removed is only certain to be so after a power loss once
/// [`Disk::sync_directory`] returned; written bytes only once [`DiskFile::sync`] did.
pub trait Disk: Send + Sync + 'static {
    /// Opens `name` for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, and whatever the device reports.
    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn DiskFile>>>;

    /// Creates `name`, empty.
    ///
    /// # Errors
    /// `AlreadyExists`, `StorageFull`, and whatever the device reports.
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn DiskFile>>>;

    /// The names of all files, sorted.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn list(&self) -> BoxFuture<'_, io::Result<Vec<String>>>;

    /// Renames `from` to `to`, replacing `to` in one step.
    ///
    /// # Errors
    /// `NotFound`, and whatever the device reports.
    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>>;

    /// Removes `name`.
    ///
    /// # Errors
    /// `NotFound`, and whatever the device reports.
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<()>>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// Whatever the device reports; then none of them is certain.
    fn sync_directory(&self) -> BoxFuture<'_, io::Result<()>>;
}

/// An open file.
pub trait DiskFile: Send + Sync + 'static {
    /// The file's length in bytes.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn length(&self) -> BoxFuture<'_, io::Result<u64>>;

    /// Up to `length` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>>;

    /// Writes all of `bytes` at `offset`, growing the file as needed. Not durable before
    /// [`DiskFile::sync`].
    ///
    /// # Errors
    /// `StorageFull` and whatever the device reports; then any part may have been written.
    fn write_at(&self, offset: u64, bytes: Bytes) -> BoxFuture<'_, io::Result<()>>;

    /// As [`DiskFile::write_at`] and then, if that succeeded, [`DiskFile::sync`].
    ///
    /// # Errors
    /// As those two.
    fn write_and_sync(&self, offset: u64, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            self.write_at(offset, bytes).await?;
            self.sync().await
        })
    }

    /// Cuts or grows the file to `length` bytes.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn set_length(&self, length: u64) -> BoxFuture<'_, io::Result<()>>;

    /// Makes the file's bytes and length durable (fdatasync).
    ///
    /// # Errors
    /// Whatever the device reports. After an error no earlier write since the last good sync is
    /// certain, and a later good sync proves nothing about them: stop using the file, open it
    /// again and recover.
    fn sync(&self) -> BoxFuture<'_, io::Result<()>>;
}
