//! A disk and its files in a process's hands.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use seriatim_world::{BoxFuture, Disk, DiskFile};

use super::device::{Device, NameChange};
use super::fault::{DiskFault, Operation};
use super::file::{Change, File};
use crate::journal::Field;
use crate::shared::Shared;
use crate::time::{SimClock, SimTime};

/// EIO, as Linux numbers it.
const EIO: i32 = 5;

/// Who holds a handle.
#[derive(Clone)]
pub(super) enum Owner {
    /// One boot of the host. When it is over, the handle does nothing any more.
    Boot(SimClock),
    /// Somebody outside the simulation, for whom nothing takes time.
    Auditor,
}

#[derive(Clone)]
pub(super) struct DiskHandle {
    pub(super) device: Shared<Device>,
    pub(super) owner: Owner,
}

struct FileHandle {
    disk: DiskHandle,
    name: String,
    inode: u64,
}

/// An operation that the disk has taken on.
struct Begun {
    faults: Vec<DiskFault>,
}

impl Begun {
    fn fails(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault, DiskFault::Error(_)))
    }

    fn is_full(&self) -> bool {
        self.faults.contains(&DiskFault::Full)
    }

    fn is_misdirected(&self) -> bool {
        self.faults.contains(&DiskFault::Misdirected)
    }

    fn lies(&self) -> bool {
        self.faults.contains(&DiskFault::LyingSync)
    }

    fn stall(&self) -> Duration {
        let stalls = self.faults.iter().map(|fault| match fault {
            DiskFault::Stall(_, duration) => *duration,
            DiskFault::Error(_)
            | DiskFault::Full
            | DiskFault::LyingSync
            | DiskFault::Misdirected => Duration::ZERO,
        });
        stalls.sum()
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

impl DiskHandle {
    fn now(&self) -> SimTime {
        match &self.owner {
            Owner::Boot(clock) => clock.now(),
            Owner::Auditor => SimTime::ZERO,
        }
    }

    /// Works on the device, unless the owner's boot is over.
    fn with<T>(&self, work: impl FnOnce(&mut Device) -> io::Result<T>) -> io::Result<T> {
        let mut device = self.device.lock();
        match &self.owner {
            Owner::Boot(clock) if !clock.runs() || !device.serves(clock.boot()) => Err(eio()),
            Owner::Boot(_) | Owner::Auditor => work(&mut device),
        }
    }

    /// Takes an operation on: counts it, and lets faults stall it or fail it. A disk without power
    /// never answers.
    async fn begin(
        &self,
        operation: Operation,
        name: &str,
        fields: &[Field<'_>],
    ) -> io::Result<Begun> {
        let at = self.now();
        let begun = match &self.owner {
            Owner::Auditor => Some(Vec::new()),
            Owner::Boot(clock) => {
                let mut device = self.device.lock();
                if device.serves(clock.boot()) && clock.runs() {
                    device.begin(at, operation, name, fields)
                } else {
                    None
                }
            }
        };
        let Some(faults) = begun else {
            return std::future::pending().await;
        };
        let begun = Begun { faults };
        self.pass(begun.stall()).await;
        if begun.fails() && operation != Operation::Sync && operation != Operation::SyncDirectory {
            return Err(eio());
        }
        Ok(begun)
    }

    async fn pass(&self, duration: Duration) {
        if let Owner::Boot(clock) = &self.owner
            && !duration.is_zero()
        {
            clock.sleep_until_sim(clock.now() + duration).await;
        }
    }

    /// Lets the time of a sync pass.
    async fn pass_sync(&self) -> io::Result<()> {
        if let Owner::Boot(_) = &self.owner {
            let sync_us = self.with(|device| Ok(device.sync_us()))?;
            self.pass(Duration::from_micros(sync_us)).await;
        }
        Ok(())
    }

    fn open_inode(&self, name: &str, inode: u64, device: &mut Device) -> Box<dyn DiskFile> {
        if let Some(file) = device.files.get_mut(&inode) {
            file.open_count += 1;
        }
        Box::new(FileHandle { disk: self.clone(), name: name.to_owned(), inode })
    }
}

impl Disk for DiskHandle {
    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn DiskFile>>> {
        Box::pin(async move {
            self.begin(Operation::Read, name, &[]).await?;
            self.with(|device| {
                let inode = device.inode(name)?;
                Ok(self.open_inode(name, inode, device))
            })
        })
    }

    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn DiskFile>>> {
        Box::pin(async move {
            let begun = self.begin(Operation::Name, name, &[Field::Text("do", "create")]).await?;
            self.with(|device| {
                if device.names.contains_key(name) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                if begun.is_full() {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let inode = device.create(name);
                Ok(self.open_inode(name, inode, device))
            })
        })
    }

    fn list(&self) -> BoxFuture<'_, io::Result<Vec<String>>> {
        Box::pin(async move {
            self.begin(Operation::Read, "", &[]).await?;
            self.with(|device| Ok(device.names.keys().cloned().collect()))
        })
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let fields = [Field::Text("do", "rename"), Field::Text("to", to)];
            self.begin(Operation::Name, from, &fields).await?;
            self.with(|device| {
                device.inode(from)?;
                device.rename(NameChange::Rename(from.to_owned(), to.to_owned()));
                Ok(())
            })
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            self.begin(Operation::Name, name, &[Field::Text("do", "remove")]).await?;
            self.with(|device| {
                device.inode(name)?;
                device.rename(NameChange::Remove(name.to_owned()));
                Ok(())
            })
        })
    }

    fn sync_directory(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let begun = self.begin(Operation::SyncDirectory, "", &[]).await?;
            let count = self.with(|device| Ok(device.pending_names_count()))?;
            self.pass_sync().await?;
            self.with(|device| {
                if begun.fails() {
                    return Err(eio());
                }
                if !begun.lies() {
                    device.sync_names(count);
                }
                Ok(())
            })
        })
    }
}

impl FileHandle {
    fn on_file<T>(&self, work: impl FnOnce(&mut File) -> T) -> io::Result<T> {
        self.disk.with(|device| match device.files.get_mut(&self.inode) {
            Some(file) => Ok(work(file)),
            // The disk was replaced under the process.
            None => Err(eio()),
        })
    }

    /// Grows or overwrites, as far as the disk has room.
    fn change(&self, begun: &Begun, end: usize, change: Change) -> io::Result<()> {
        self.disk.with(|device| {
            let visible = device.files.get(&self.inode).ok_or_else(eio)?.visible.len();
            let is_full = begun.is_full() || !device.fits(end.saturating_sub(visible) as u64);
            device.counters.refused += u64::from(is_full);
            let file = device.files.get_mut(&self.inode).ok_or_else(eio)?;
            match change {
                Change::Write { offset, bytes } if is_full => {
                    let part = bytes.slice(..bytes.len() / 2);
                    if begun.is_full() && !part.is_empty() {
                        file.change(Change::Write { offset, bytes: part });
                    }
                    return Err(io::ErrorKind::StorageFull.into());
                }
                Change::SetLength(_) if is_full => return Err(io::ErrorKind::StorageFull.into()),
                Change::Write { .. } | Change::SetLength(_) => {
                    let bytes = change.bytes() as u64;
                    file.change(change);
                    device.counters.bytes_written += bytes;
                }
            }
            Ok(())
        })
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl DiskFile for FileHandle {
    fn length(&self) -> BoxFuture<'_, io::Result<u64>> {
        Box::pin(async move {
            self.disk.begin(Operation::Read, &self.name, &[]).await?;
            self.on_file(|file| file.visible.len() as u64)
        })
    }

    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(async move {
            self.disk.begin(Operation::Read, &self.name, &[]).await?;
            let start = position(offset)?;
            self.on_file(|file| {
                let end = start.saturating_add(length).min(file.visible.len());
                Bytes::copy_from_slice(file.visible.get(start..end).unwrap_or_default())
            })
        })
    }

    fn write_at(&self, offset: u64, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let fields = [Field::Number("offset", offset), Field::Bytes("bytes", &bytes)];
            let begun = self.disk.begin(Operation::Write, &self.name, &fields).await?;
            let offset = position(offset)?;
            let offset = if begun.is_misdirected() {
                self.disk.with(|device| Ok(device.misdirected(offset)))?
            } else {
                offset
            };
            let end = offset + bytes.len();
            self.change(&begun, end, Change::Write { offset, bytes: bytes.clone() })?;
            let at = self.disk.now();
            if self.disk.with(|device| Ok(device.power_fails_now(at)))? {
                return std::future::pending().await;
            }
            Ok(())
        })
    }

    fn set_length(&self, length: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let fields = [Field::Number("length", length)];
            let begun = self.disk.begin(Operation::SetLength, &self.name, &fields).await?;
            let length = position(length)?;
            self.change(&begun, length, Change::SetLength(length))
        })
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let begun = self.disk.begin(Operation::Sync, &self.name, &[]).await?;
            // Writes that come while the disk is busy are not part of this sync.
            let count = self.on_file(|file| file.pending_count())?;
            self.disk.pass_sync().await?;
            if begun.fails() {
                self.on_file(File::drop_dirty)?;
                return Err(eio());
            }
            if begun.lies() {
                return Ok(());
            }
            let bytes = self.on_file(|file| file.sync(count))?;
            self.disk.with(|device| {
                device.counters.bytes_synced += bytes as u64;
                device.counters.syncs += 1;
                Ok(())
            })
        })
    }
}

impl Drop for FileHandle {
    fn drop(&mut self) {
        // Closing a file writes nothing; a dead boot's handles were closed at its death.
        let closed = self.disk.with(|device| {
            if let Some(file) = device.files.get_mut(&self.inode) {
                file.open_count = file.open_count.saturating_sub(1);
            }
            device.collect();
            Ok(())
        });
        closed.unwrap_or_default();
    }
}
