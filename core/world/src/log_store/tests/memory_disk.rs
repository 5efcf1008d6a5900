//! A disk in memory that tells durable from cached bytes, and fails or halts on demand.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use crate::{BoxFuture, Disk, DiskFile};

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Create,
    Write,
    Sync,
    SetLength,
    Rename,
    Remove,
    SyncDirectory,
}

#[derive(Clone, Default)]
pub(super) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<File>,
    /// Names that the running system sees, and those that a power loss leaves.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// What fails, after how many more of its kind that don't.
    failing: Option<(Operation, usize)>,
    /// The next operations succeed, then every one hangs.
    left: Option<usize>,
    /// How often was read, and how many bytes.
    reads: (usize, usize),
}

#[derive(Default, Clone)]
struct File {
    cached: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Bytes),
    Length(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => {
                bytes.resize(bytes.len().max(offset + written.len()), 0);
                bytes[*offset..][..written.len()].copy_from_slice(written);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// The parts of a write that a disk writes or loses one by one.
    fn sectors(&self) -> Vec<Self> {
        let Self::Write(offset, bytes) = self else { return vec![self.clone()] };
        let mut sectors = Vec::new();
        let mut from = 0;
        while from < bytes.len() {
            let end = bytes.len().min(from + SECTOR_BYTES - (offset + from) % SECTOR_BYTES);
            sectors.push(Self::Write(offset + from, bytes.slice(from..end)));
            from = end;
        }
        sectors
    }
}

/// Small, so that a small group spans several.
const SECTOR_BYTES: usize = 64;

impl MemoryDisk {
    /// The next `operation` fails. A failed sync drops what it should have written, as Linux does:
    /// it stays readable, and the next sync takes it for written.
    /// A failed write leaves half of it.
    pub(super) fn fail(&self, operation: Operation) {
        self.fail_after(operation, 0);
    }

    /// As [`MemoryDisk::fail`], after so many of these operations that succeed.
    pub(super) fn fail_after(&self, operation: Operation, successes: usize) {
        self.state().failing = Some((operation, successes));
    }

    /// After `operations` more that change something, every one hangs.
    pub(super) fn halt_after(&self, operations: usize) {
        self.state().left = Some(operations);
    }

    /// How often was read so far, and how many bytes.
    pub(super) fn count_reads(&self) -> (usize, usize) {
        self.state().reads
    }

    /// New operations succeed again; those that hang go on hanging.
    pub(super) fn resume(&self) {
        self.state().left = None;
    }

    /// The disk after a power loss. `keep` decides, for each change that was not synced, whether
    /// it was written anyway.
    pub(super) fn lose_power(&self, mut keep: impl FnMut() -> bool) -> Self {
        let state = self.state();
        let mut names = state.durable_names.clone();
        for (name, file) in &state.names {
            if !names.contains_key(name) && keep() {
                names.insert(name.clone(), *file);
            }
        }
        names.retain(|name, _| state.names.contains_key(name) || !keep());
        let mut files = state.files.clone();
        for file in &mut files {
            let pending = std::mem::take(&mut file.pending);
            for sector in pending.iter().flat_map(Change::sectors) {
                if keep() {
                    sector.apply(&mut file.durable);
                }
            }
            file.cached = file.durable.clone();
        }
        Self(Arc::new(Mutex::new(State {
            files,
            durable_names: names.clone(),
            names,
            failing: None,
            left: None,
            reads: (0, 0),
        })))
    }

    /// An independent copy of what can be read, all of it durable.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::default();
        for name in self.names() {
            copy.put(&name, self.content(&name));
        }
        copy
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].cached.clone()
    }

    /// Gives file `name` this content, durably.
    pub(super) fn put(&self, name: &str, content: Vec<u8>) {
        let mut state = self.state();
        let index = state.names.get(name).copied().unwrap_or(state.files.len());
        let file = File { durable: content.clone(), cached: content, pending: Vec::new() };
        if index == state.files.len() {
            state.files.push(file);
        } else {
            state.files[index] = file;
        }
        state.names.insert(name.to_owned(), index);
        state.durable_names.insert(name.to_owned(), index);
    }

    pub(super) fn remove_file(&self, name: &str) {
        self.state().names.remove(name);
        self.state().durable_names.remove(name);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Does `change` to the state, unless `operation` is to fail; then hangs if it is to halt. So
    /// the last operation before the halt has begun, and may or may not have been carried out.
    async fn perform<T>(
        &self,
        operation: Operation,
        change: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let (result, is_halted) = {
            let mut state = self.state();
            let mutates = operation != Operation::Read;
            let is_halted = state.left == Some(0);
            if mutates {
                state.left = state.left.map(|left| left.saturating_sub(1));
            }
            let syncs = matches!(operation, Operation::Sync | Operation::SyncDirectory);
            if is_halted && syncs { (None, true) } else { (Some(change(&mut state)), is_halted) }
        };
        match result {
            Some(result) if !is_halted => result,
            Some(_) | None => pending().await,
        }
    }
}

impl State {
    fn check(&mut self, operation: Operation) -> io::Result<()> {
        match &mut self.failing {
            Some((failing, 0)) if *failing == operation => {
                self.failing = None;
                Err(io::Error::other(format!("{operation:?} was told to fail")))
            }
            Some((failing, successes)) if *failing == operation => {
                *successes -= 1;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn DiskFile>>> {
        Box::pin(async move {
            let index = self.perform(Operation::Read, |state| state.find(name)).await?;
            Ok(Box::new(MemoryFile { disk: self.clone(), index }) as Box<dyn DiskFile>)
        })
    }

    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn DiskFile>>> {
        Box::pin(async move {
            let create = |state: &mut State| {
                state.check(Operation::Create)?;
                if state.names.contains_key(name) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                state.files.push(File::default());
                state.names.insert(name.to_owned(), state.files.len() - 1);
                Ok(state.files.len() - 1)
            };
            let index = self.perform(Operation::Create, create).await?;
            Ok(Box::new(MemoryFile { disk: self.clone(), index }) as Box<dyn DiskFile>)
        })
    }

    fn list(&self) -> BoxFuture<'_, io::Result<Vec<String>>> {
        let list = |state: &mut State| Ok(state.names.keys().cloned().collect());
        Box::pin(self.perform(Operation::Read, list))
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        let rename = |state: &mut State| {
            state.check(Operation::Rename)?;
            let index = state.find(from)?;
            state.names.remove(from);
            state.names.insert(to.to_owned(), index);
            Ok(())
        };
        Box::pin(self.perform(Operation::Rename, rename))
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<()>> {
        let remove = |state: &mut State| {
            state.check(Operation::Remove)?;
            state.find(name)?;
            state.names.remove(name);
            Ok(())
        };
        Box::pin(self.perform(Operation::Remove, remove))
    }

    fn sync_directory(&self) -> BoxFuture<'_, io::Result<()>> {
        let sync = |state: &mut State| {
            state.check(Operation::SyncDirectory)?;
            state.durable_names = state.names.clone();
            Ok(())
        };
        Box::pin(self.perform(Operation::SyncDirectory, sync))
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    index: usize,
}

impl MemoryFile {
    async fn change(&self, operation: Operation, change: Change) -> io::Result<()> {
        let change = |state: &mut State| {
            let failed = state.check(operation);
            let change = match (&failed, change) {
                (Ok(()), change) => change,
                (Err(_), Change::Write(offset, bytes)) => {
                    Change::Write(offset, bytes.slice(..bytes.len() / 2))
                }
                (Err(_), Change::Length(_)) => return failed,
            };
            let file = &mut state.files[self.index];
            change.apply(&mut file.cached);
            file.pending.push(change);
            failed
        };
        self.disk.perform(operation, change).await
    }
}

impl DiskFile for MemoryFile {
    fn length(&self) -> BoxFuture<'_, io::Result<u64>> {
        let length = |state: &mut State| Ok(state.files[self.index].cached.len() as u64);
        Box::pin(self.disk.perform(Operation::Read, length))
    }

    fn read_at(&self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        let read = move |state: &mut State| {
            state.check(Operation::Read)?;
            let cached = &state.files[self.index].cached;
            let from = cached.len().min(usize::try_from(offset).unwrap());
            let end = cached.len().min(from + length);
            let bytes = Bytes::copy_from_slice(&cached[from..end]);
            state.reads = (state.reads.0 + 1, state.reads.1 + bytes.len());
            Ok(bytes)
        };
        Box::pin(self.disk.perform(Operation::Read, read))
    }

    fn write_at(&self, offset: u64, bytes: Bytes) -> BoxFuture<'_, io::Result<()>> {
        let change = Change::Write(usize::try_from(offset).unwrap(), bytes);
        Box::pin(self.change(Operation::Write, change))
    }

    fn set_length(&self, length: u64) -> BoxFuture<'_, io::Result<()>> {
        let change = Change::Length(usize::try_from(length).unwrap());
        Box::pin(self.change(Operation::SetLength, change))
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        let sync = |state: &mut State| {
            let failed = state.check(Operation::Sync);
            let file = &mut state.files[self.index];
            let pending = std::mem::take(&mut file.pending);
            failed?;
            pending.iter().for_each(|change| change.apply(&mut file.durable));
            Ok(())
        };
        Box::pin(self.disk.perform(Operation::Sync, sync))
    }
}
