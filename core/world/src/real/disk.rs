//! A directory of the machine's file system.
//!
//! A read of what the kernel has in memory is done where it is asked for. Every other operation runs
//! on tokio's pool of blocking threads and finishes there even when its future is dropped. So that a
//! dropped write cannot land in a file that somebody has opened again and recovered in the meantime,
//! opening a file waits for the operations of its earlier handles, and operations on the directory
//! run one after the other.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard, RwLock};

use crate::{BoxFuture, Disk, DiskFile};

/// Whoever opens the directory holds a lock on this file; [`Disk::list`] does not show it.
const LOCK_FILE: &str = ".lock";

/// How often, and at what interval, a held lock is tried: a server that was just stopped may have
/// a sync in progress.
const LOCK_ATTEMPTS: u32 = 30;
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// What a read takes out of the kernel's memory without a change of threads, which costs some 20 µs:
/// copying so much takes as long.
const READ_AT_ONCE_BYTES_MAX: usize = 256 * 1024;

/// One directory, locked against other servers for as long as this or one of its files lives.
pub struct RealDisk {
    directory: Arc<Directory>,
    /// Held by the running directory operation.
    names: Arc<Mutex<Names>>,
}

struct Directory {
    path: PathBuf,
    /// The lock ends when this file is closed.
    _lock: File,
}

/// Per file that was opened: held for reading by each running operation on its handles.
type Names = BTreeMap<String, Arc<RwLock<()>>>;

impl RealDisk {
    /// Opens `directory`, creating it as needed, and locks it. Blocks for a moment while another
    /// server holds it.
    ///
    /// # Errors
    /// `ResourceBusy` when another server uses the directory; whatever the file system reports.
    pub fn open(directory: &Path) -> io::Result<Self> {
        create_directory(directory)?;
        let lock_path = directory.join(LOCK_FILE);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path)?;
        lock_exclusively(&lock, directory)?;
        let directory = Directory { path: directory.to_owned(), _lock: lock };
        Ok(Self { directory: Arc::new(directory), names: Arc::default() })
    }

    /// Runs `operation`, one such at a time, to its end.
    async fn run<T: Send + 'static>(
        &self,
        names: OwnedMutexGuard<Names>,
        operation: impl FnOnce(&Path, &mut Names) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let directory = Arc::clone(&self.directory);
        let mut names = names;
        blocking(move || operation(&directory.path, &mut names)).await
    }

    fn file(&self, file: File, in_use: Arc<RwLock<()>>) -> Box<dyn DiskFile> {
        let directory = Arc::clone(&self.directory);
        Box::new(RealFile { file: Arc::new(file), in_use, directory })
    }

    async fn names(&self) -> OwnedMutexGuard<Names> {
        Arc::clone(&self.names).lock_owned().await
    }
}

impl Disk for RealDisk {
    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn DiskFile>>> {
        Box::pin(async move {
            let name = plain(name)?;
            let mut names = self.names().await;
            let in_use = Arc::clone(names.entry(name.clone()).or_default());
            // Waits for the operations of earlier handles.
            drop(in_use.write().await);
            let open = move |path: &Path, names: &mut Names| {
                let opened = OpenOptions::new().read(true).write(true).open(path.join(&name));
                if opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                    names.remove(&name);
                }
                opened
            };
            Ok(self.file(self.run(names, open).await?, in_use))
        })
    }

    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn DiskFile>>> {
        Box::pin(async move {
            let name = plain(name)?;
            let create = move |path: &Path, names: &mut Names| {
                let path = path.join(&name);
                let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
                let in_use = Arc::<RwLock<()>>::default();
                names.insert(name, Arc::clone(&in_use));
                Ok((file, in_use))
            };
            let (file, in_use) = self.run(self.names().await, create).await?;
            Ok(self.file(file, in_use))
        })
    }

    fn list(&self) -> BoxFuture<'_, io::Result<Vec<String>>> {
        Box::pin(async move {
            let list = |path: &Path, _: &mut Names| {
                let mut found = Vec::new();
                for entry in fs::read_dir(path)? {
                    let entry = entry?;
                    if entry.file_type()?.is_file()
                        && let Ok(name) = entry.file_name().into_string()
                        && name != LOCK_FILE
                    {
                        found.push(name);
                    }
                }
                found.sort();
                Ok(found)
            };
            self.run(self.names().await, list).await
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let (from, to) = (plain(from)?, plain(to)?);
            let rename = move |path: &Path, names: &mut Names| {
                fs::rename(path.join(&from), path.join(&to))?;
                // The operations of a handle stay with its file.
                match names.remove(&from) {
                    Some(in_use) => names.insert(to, in_use),
                    None => names.remove(&to),
                };
                Ok(())
            };
            self.run(self.names().await, rename).await
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let name = plain(name)?;
            let remove = move |path: &Path, names: &mut Names| {
                fs::remove_file(path.join(&name))?;
                names.remove(&name);
                Ok(())
            };
            self.run(self.names().await, remove).await
        })
    }

    fn sync_directory(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let sync = |path: &Path, _: &mut Names| sync_directory(path);
            self.run(self.names().await, sync).await
        })
    }
}

/// An open file of a [`RealDisk`].
struct RealFile {
    file: Arc<File>,
    in_use: Arc<RwLock<()>>,
    directory: Arc<Directory>,
}

impl RealFile {
    /// Runs `operation` to its end, beside others on the same file.
    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let in_use = Arc::clone(&self.in_use).read_owned().await;
        let file = Arc::clone(&self.file);
        let directory = Arc::clone(&self.directory);
        blocking(move || {
            let result = operation(&file);
            // Released by whoever did the work, not by whoever stopped waiting for it.
            drop((in_use, directory));
            result
        })
        .await
    }
}

impl DiskFile for RealFile {
    fn length(&self) -> BoxFuture<'_, io::Result<u64>> {
        Box::pin(self.run(|file| Ok(file.metadata()?.len())))
    }

    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(async move {
            let mut buffer = vec![0; length];
            let filled = read_cached(&self.file, offset, &mut buffer);
            if filled == length {
                return Ok(Bytes::from(buffer));
            }
            self.run(move |file| read_rest(file, offset, buffer, filled)).await
        })
    }

    fn write_at(&self, offset: u64, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.run(move |file| file.write_all_at(&bytes, offset)))
    }

    /// On one thread: each change of threads costs about as much as writing a small group.
    fn write_and_sync(&self, offset: u64, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.run(move |file| {
            file.write_all_at(&bytes, offset)?;
            file.sync_data()
        }))
    }

    fn set_length(&self, length: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.run(move |file| file.set_len(length)))
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.run(File::sync_data))
    }
}

/// Fills the front of `buffer` with what the kernel has in memory of the bytes at `offset`, if it is
/// a small one. Never waits for the device. Gives how many bytes it filled.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, offset: u64, buffer: &mut [u8]) -> usize {
    use rustix::io::{ReadWriteFlags, preadv2};

    if buffer.len() > READ_AT_ONCE_BYTES_MAX {
        return 0;
    }
    // What fails here, also because the file system can't do this, is told by the read that waits.
    let mut buffers = [io::IoSliceMut::new(buffer)];
    preadv2(file, &mut buffers, offset, ReadWriteFlags::NOWAIT).unwrap_or(0)
}

/// Other systems have no read that never waits.
#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: u64, _: &mut [u8]) -> usize {
    0
}

/// Reads on after the first `filled` bytes until `buffer` is full or the file ends.
fn read_rest(
    file: &File,
    offset: u64,
    mut buffer: Vec<u8>,
    mut filled: usize,
) -> io::Result<Bytes> {
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(Bytes::from(buffer))
}

/// Runs `operation` on a thread that may block. It ends there even if the future is dropped.
#[expect(clippy::disallowed_methods, reason = "this is the real disk")]
async fn blocking<T: Send + 'static>(
    operation: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(operation).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    }
}

/// `name`, if it is a plain file name that we may use.
fn plain(name: &str) -> io::Result<String> {
    let is_reserved = matches!(name, "" | "." | ".." | LOCK_FILE);
    if is_reserved || name.contains(['/', '\0']) {
        let message = format!("{name:?} is not a plain file name");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(name.to_owned())
}

/// Creates `directory` and the missing ones above it, durably.
pub(super) fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Err(io::Error::new(io::ErrorKind::NotFound, "no such directory")),
    };
    create_directory(parent)?;
    fs::create_dir(directory)?;
    sync_directory(parent)
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Takes the lock that keeps a second server out.
#[expect(clippy::disallowed_methods, reason = "this is the real disk, before anything runs")]
fn lock_exclusively(lock: &File, directory: &Path) -> io::Result<()> {
    for _ in 0..LOCK_ATTEMPTS {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_INTERVAL),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    let message = format!(
        "the data directory {} is in use by another server; stop it or give another directory",
        directory.display()
    );
    Err(io::Error::new(io::ErrorKind::ResourceBusy, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timeout;
    use crate::real::RealClock;

    #[tokio::test]
    async fn second_opener_of_a_directory_gets_a_clear_error() {
        let directory = tempfile::tempdir().unwrap();
        let first = RealDisk::open(directory.path()).unwrap();

        let error = RealDisk::open(directory.path()).err().unwrap();

        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("in use by another server"), "{error}");
        drop(first);
        RealDisk::open(directory.path()).unwrap();
    }

    #[tokio::test]
    async fn directory_is_created_with_those_above_it() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("a/b/c");

        let disk = RealDisk::open(&deep).unwrap();

        assert!(deep.is_dir());
        assert_eq!(disk.list().await.unwrap(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn files_are_created_written_renamed_listed_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();

        let file = disk.create("b").await.unwrap();
        file.write_at(3, Bytes::from_static(b"xy")).await.unwrap();
        file.sync().await.unwrap();
        file.write_and_sync(5, Bytes::from_static(b"z")).await.unwrap();
        disk.create("a").await.unwrap();
        disk.sync_directory().await.unwrap();

        assert_eq!(disk.list().await.unwrap(), ["a", "b"]);
        assert_eq!(file.length().await.unwrap(), 6);
        assert_eq!(file.read_at(1, 100).await.unwrap(), &b"\0\0xyz"[..]);
        disk.rename("b", "a").await.unwrap();
        file.set_length(4).await.unwrap();
        assert_eq!(disk.open("a").await.unwrap().read_at(3, 9).await.unwrap(), &b"x"[..]);
        disk.remove("a").await.unwrap();
        assert_eq!(disk.list().await.unwrap(), Vec::<String>::new());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_the_kernel_has_in_memory_is_read_at_once_and_the_rest_by_waiting() {
        use std::task::{Context, Poll, Waker};

        use rustix::fs::{Advice, fadvise};

        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        let length = 3 * 4096 + 5;
        let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
        let file = disk.create("a").await.unwrap();
        file.write_and_sync(0, Bytes::from(bytes.clone())).await.unwrap();
        let plain = File::open(directory.path().join("a")).unwrap();
        // Not every file system can read without waiting.
        let at_once = read_cached(&plain, 0, &mut vec![0; length]) == length;

        let mut read = file.read_at(1, length - 1);
        let first = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match first {
            Poll::Ready(read) => assert_eq!(read.unwrap(), bytes[1..]),
            Poll::Pending => assert!(!at_once, "it waits for what is in memory"),
        }
        for kept in 0..=3 {
            fadvise(&plain, kept * 4096, None, Advice::DontNeed).unwrap();
            assert_eq!(file.read_at(7, length).await.unwrap(), bytes[7..], "{kept} pages are kept");
        }
        assert_eq!(file.read_at(length as u64, 9).await.unwrap(), Bytes::new());
    }

    #[tokio::test]
    async fn names_are_never_overwritten_missed_or_paths() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        disk.create("a").await.unwrap();

        let kind = |result: io::Result<Box<dyn DiskFile>>| result.err().unwrap().kind();

        assert_eq!(kind(disk.create("a").await), io::ErrorKind::AlreadyExists);
        assert_eq!(kind(disk.open("b").await), io::ErrorKind::NotFound);
        for name in ["../a", "/a", "", "..", LOCK_FILE] {
            assert_eq!(kind(disk.create(name).await), io::ErrorKind::InvalidInput, "{name}");
        }
    }

    #[tokio::test]
    async fn opening_again_waits_for_a_write_whose_caller_went_away() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        disk.create("a").await.unwrap();
        let file = RealFile {
            file: Arc::new(File::create(directory.path().join("a")).unwrap()),
            in_use: Arc::clone(&disk.names().await["a"]),
            directory: Arc::clone(&disk.directory),
        };
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let clock = RealClock::new();
        let moment = Duration::from_millis(30);

        let slow = file.run(move |file| {
            may_go_on.recv().unwrap();
            file.write_all_at(b"late", 0)
        });
        timeout(&clock, moment, slow).await.expect_err("it waits to go on");
        timeout(&clock, moment, disk.open("a")).await.err().expect("the write is not done");
        go_on.send(()).unwrap();

        assert_eq!(disk.open("a").await.unwrap().read_at(0, 9).await.unwrap(), &b"late"[..]);
    }
}
