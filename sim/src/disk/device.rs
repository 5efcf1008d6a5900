//! One host's disk: names, files, crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use seriatim_scenarios::choices::{ChoiceStream, Choices};
use seriatim_world::Disk;
use xxhash_rust::xxh3::xxh3_64;

use super::fault::{Armed, DiskFault, Operation, strike};
use super::file::{File, SECTOR_BYTES};
use super::handle::{DiskHandle, Owner};
use crate::journal::{Field, Journal};
use crate::shared::Shared;
use crate::time::{SimClock, SimTime};

/// How a disk behaves while nothing is wrong with it.
#[derive(Debug, Clone, Copy)]
pub struct DiskConfig {
    /// The shortest time that a sync takes, in microseconds.
    pub sync_us_min: u64,
    /// The longest.
    pub sync_us_max: u64,
    /// Bytes of visible files that fit, if there is a bound.
    pub capacity_bytes: Option<u64>,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self { sync_us_min: 1_000, sync_us_max: 5_000, capacity_bytes: None }
    }
}

/// What has happened on a disk, to tell whether a fault really bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCounters {
    pub operations: u64,
    pub bytes_written: u64,
    pub bytes_synced: u64,
    pub syncs: u64,
    pub power_losses: u64,
    /// Unsynced changes of files that a power loss took.
    pub writes_lost: u64,
    /// Unsynced writes of which a power loss left a part.
    pub writes_torn: u64,
    pub bytes_lost: u64,
    /// Creations, renames and removals that a power loss undid.
    pub names_lost: u64,
    /// How often an armed fault struck.
    pub faults_struck: u64,
    /// Operations that failed with EIO.
    pub errors: u64,
    /// Writes and growths for which there was no room.
    pub refused: u64,
    pub stalls: u64,
    /// Syncs that said so and did nothing.
    pub lies: u64,
    pub writes_misdirected: u64,
    pub bits_rotted: u64,
}

/// A name's change that is not yet durable.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

fn apply(change: &NameChange, names: &mut BTreeMap<String, u64>) {
    match change {
        NameChange::Create(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

/// One host's disk. Cheap to clone; clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Shared<Device>);

pub(super) struct Device {
    host: Arc<str>,
    pub(super) config: DiskConfig,
    journal: Journal,
    /// Times of syncs, and what power losses take: two streams, so that one more sync changes no
    /// loss.
    sync_draws: ChoiceStream,
    choices: Choices,
    /// The boot that may use the disk.
    boot: Option<u64>,
    pub(super) files: BTreeMap<u64, File>,
    pub(super) names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
    next_inode: u64,
    faults: Vec<Armed>,
    last_fault: u64,
    power_fails_in: Option<u64>,
    power_fails_amid_write: bool,
    power_failed: bool,
    pub(super) counters: DiskCounters,
}

fn entity(host: &str) -> u64 {
    xxh3_64(host.as_bytes())
}

impl SimDisk {
    /// An empty disk of `host`.
    pub fn new(host: &str, choices: &Choices, journal: &Journal, config: DiskConfig) -> Self {
        Self(Shared::new(Device {
            host: host.into(),
            config,
            journal: journal.clone(),
            sync_draws: choices.stream("disk.sync", entity(host)),
            choices: choices.clone(),
            boot: None,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            next_inode: 1,
            faults: Vec::new(),
            last_fault: 0,
            power_fails_in: None,
            power_fails_amid_write: false,
            power_failed: false,
            counters: DiskCounters::default(),
        }))
    }

    /// The files as `clock`'s boot sees them.
    pub(crate) fn of(&self, clock: SimClock) -> Arc<dyn Disk> {
        Arc::new(DiskHandle { device: self.0.clone(), owner: Owner::Boot(clock) })
    }

    /// A copy of what is visible, for an auditor: it takes no time, writes no journal, needs no
    /// runtime, and what is done to it leaves this disk alone.
    pub fn audit_copy(&self) -> Arc<dyn Disk> {
        let device = self.0.lock();
        let copy = Self::new(&device.host, &device.choices, &Journal::quiet(), device.config);
        {
            let mut to = copy.0.lock();
            to.config.capacity_bytes = None;
            to.files.clone_from(&device.files);
            to.names.clone_from(&device.names);
            to.next_inode = device.next_inode;
        }
        Arc::new(DiskHandle { device: copy.0, owner: Owner::Auditor })
    }

    /// What has happened so far.
    pub fn counters(&self) -> DiskCounters {
        self.0.lock().counters
    }

    /// The visible files and their lengths.
    pub fn files(&self) -> BTreeMap<String, u64> {
        let device = self.0.lock();
        let length = |inode| device.files.get(inode).map_or(0, |file| file.visible.len() as u64);
        device.names.iter().map(|(name, inode)| (name.clone(), length(inode))).collect()
    }

    /// Makes `fault` strike the next `count` times it can, on files whose names start with
    /// `prefix`. `prefix` is empty for all, and for the directory itself.
    /// Gives a number to take it back by.
    pub fn inject(&self, fault: DiskFault, prefix: &str, count: u32) -> u64 {
        let mut device = self.0.lock();
        device.last_fault += 1;
        let (id, prefix) = (device.last_fault, prefix.to_owned());
        device.faults.push(Armed { id, fault, prefix, hits_left: count, hits: 0 });
        id
    }

    /// Takes one fault back; gives how often it has hit.
    pub fn withdraw(&self, id: u64) -> u64 {
        let mut device = self.0.lock();
        let hits = device.faults.iter().find(|armed| armed.id == id).map_or(0, |armed| armed.hits);
        device.faults.retain(|armed| armed.id != id);
        hits
    }

    /// Lets `bytes` more fit and no more.
    pub fn fill_up_to(&self, bytes: u64) {
        let mut device = self.0.lock();
        device.config.capacity_bytes = Some(device.used_bytes() + bytes);
    }

    /// Makes everything durable that is visible: a drive's cache reaches its platters at last.
    pub fn write_back(&self) {
        let mut device = self.0.lock();
        for file in device.files.values_mut() {
            file.sync(usize::MAX);
        }
        device.sync_names(usize::MAX);
    }

    /// Inverts up to `bits` drawn bits of stored bytes; gives how many.
    pub fn rot(&self, at: SimTime, bits: u64) -> u64 {
        let mut rotted = 0;
        for _ in 0..bits {
            let (name, offset, bit) = {
                let device = self.0.lock();
                let ordinal = device.counters.bits_rotted + rotted;
                let mut draws =
                    device.choices.stream("disk.rot", entity(&device.host) ^ (ordinal << 32));
                let length = |inode| device.files.get(inode).map_or(0, |file| file.visible.len());
                let files: Vec<(&String, usize)> = device
                    .names
                    .iter()
                    .map(|(name, inode)| (name, length(inode)))
                    .filter(|(_, length)| *length > 0)
                    .collect();
                if files.is_empty() {
                    return rotted;
                }
                let (name, length) = *draws.pick(&files);
                (name.clone(), draws.below(length as u64), draws.below(8))
            };
            rotted += u64::from(self.corrupt(at, &name, offset, 1 << bit));
        }
        self.0.lock().counters.bits_rotted += rotted;
        rotted
    }

    /// Takes back every fault that was injected, and the bound on operations.
    pub fn repair(&self) {
        let mut device = self.0.lock();
        device.faults.clear();
        device.power_fails_in = None;
        device.power_fails_amid_write = false;
    }

    /// Bounds the bytes that fit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().config.capacity_bytes = bytes;
    }

    /// Lets the disk fall silent at the `count`-th operation from here, in the middle of whatever
    /// the host is doing. See [`SimDisk::power_failed`].
    pub fn fail_power_after(&self, count: u64) {
        self.0.lock().power_fails_in = Some(count);
    }

    /// Lets the disk fall silent at the next write, which it has begun by then and which a power
    /// loss keeps, tears or loses. See [`SimDisk::power_failed`].
    pub fn fail_power_amid_write(&self) {
        self.0.lock().power_fails_amid_write = true;
    }

    /// Whether the disk fell silent; whoever steps the simulation then takes the host's power away.
    pub fn power_failed(&self) -> bool {
        self.0.lock().power_failed
    }

    /// Inverts the bits of `mask` at `offset` of `name`, in the cache and on the disk; false when
    /// there is no such byte.
    pub fn corrupt(&self, at: SimTime, name: &str, offset: u64, mask: u8) -> bool {
        let mut device = self.0.lock();
        let fields = [Field::Text("name", name), Field::Number("offset", offset)];
        device.journal.record(at, &device.host, "disk_corrupt", &fields);
        let Some(inode) = device.names.get(name).copied() else {
            return false;
        };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        device.files.get_mut(&inode).is_some_and(|file| file.corrupt(offset, mask))
    }

    /// Puts an empty disk in its place.
    pub fn wipe(&self, at: SimTime) {
        let mut device = self.0.lock();
        device.journal.record(at, &device.host, "disk_wipe", &[]);
        device.files.clear();
        device.names.clear();
        device.durable_names.clear();
        device.pending_names.clear();
    }

    pub(crate) fn boot(&self, boot: u64) {
        let mut device = self.0.lock();
        device.boot = Some(boot);
        device.power_failed = false;
        device.power_fails_in = None;
        device.power_fails_amid_write = false;
    }

    pub(crate) fn sigkill(&self) {
        let mut device = self.0.lock();
        device.boot = None;
        for file in device.files.values_mut() {
            file.open_count = 0;
        }
        device.collect();
    }

    pub(crate) fn power_loss(&self, at: SimTime) {
        let mut device = self.0.lock();
        device.boot = None;
        device.lose_power(at);
    }
}

impl Device {
    pub(super) fn serves(&self, boot: u64) -> bool {
        self.boot == Some(boot) && !self.power_failed
    }

    /// Counts an operation; gives the faults that strike it, or `None` when the power just failed.
    pub(super) fn begin(
        &mut self,
        at: SimTime,
        operation: Operation,
        name: &str,
        fields: &[Field<'_>],
    ) -> Option<Vec<DiskFault>> {
        if let Some(left) = &mut self.power_fails_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.power_failed = true;
                self.journal.record(at, &self.host, "disk_power_failed", &[]);
                return None;
            }
        }
        self.counters.operations += 1;
        let struck = strike(&mut self.faults, operation, name);
        self.counters.faults_struck += struck.len() as u64;
        for fault in &struck {
            match fault {
                DiskFault::Error(_) => self.counters.errors += 1,
                DiskFault::Stall(..) => self.counters.stalls += 1,
                DiskFault::LyingSync => self.counters.lies += 1,
                // Counted where they take effect.
                DiskFault::Full | DiskFault::Misdirected => {}
            }
        }
        if operation != Operation::Read {
            let mut all =
                vec![Field::Text("name", name), Field::Number("faults", struck.len() as u64)];
            all.extend_from_slice(fields);
            self.journal.record(at, &self.host, operation.word(), &all);
        }
        Some(struck)
    }

    /// A write has been taken on. True when that was the disk's last act.
    pub(super) fn power_fails_now(&mut self, at: SimTime) -> bool {
        if self.power_fails_amid_write {
            self.power_failed = true;
            self.journal.record(at, &self.host, "disk_power_failed", &[]);
        }
        self.power_fails_amid_write
    }

    /// Changes names, visibly.
    pub(super) fn rename(&mut self, change: NameChange) {
        apply(&change, &mut self.names);
        self.pending_names.push(change);
        self.collect();
    }

    pub(super) fn create(&mut self, name: &str) -> u64 {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.files.insert(inode, File::default());
        self.rename(NameChange::Create(name.to_owned(), inode));
        inode
    }

    pub(super) fn pending_names_count(&self) -> usize {
        self.pending_names.len()
    }

    /// Makes the oldest `count` changes of names durable.
    pub(super) fn sync_names(&mut self, count: usize) {
        let count = count.min(self.pending_names.len());
        for change in self.pending_names.drain(..count) {
            apply(&change, &mut self.durable_names);
        }
        self.collect();
    }

    pub(super) fn sync_us(&mut self) -> u64 {
        self.sync_draws.between(self.config.sync_us_min, self.config.sync_us_max)
    }

    /// Whether `bytes` more fit.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.config.capacity_bytes.is_none_or(|capacity| self.used_bytes() + bytes <= capacity)
    }

    fn used_bytes(&self) -> u64 {
        self.files.values().map(|file| file.visible.len() as u64).sum()
    }

    /// Where a write for `offset` lands instead: up to eight sectors before or behind.
    pub(super) fn misdirected(&mut self, offset: usize) -> usize {
        self.counters.writes_misdirected += 1;
        let salt = entity(&self.host) ^ (self.counters.writes_misdirected << 32);
        let mut draws = self.choices.stream("disk.misdirect", salt);
        let distance = SECTOR_BYTES * usize::try_from(draws.between(1, 8)).unwrap_or(1);
        if draws.chance(0.5) { offset + distance } else { offset.saturating_sub(distance) }
    }

    pub(super) fn inode(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn lose_power(&mut self, at: SimTime) {
        let ordinal = self.counters.power_losses;
        self.counters.power_losses += 1;
        // One stream per power loss and file, so that files do not reshuffle each other.
        let (choices, salt) = (self.choices.clone(), entity(&self.host) ^ (ordinal << 32));
        let before = self.counters;
        for (inode, file) in &mut self.files {
            let loss = file.lose_power(&mut choices.stream("disk.loss", salt ^ *inode));
            self.counters.writes_lost += loss.writes_lost;
            self.counters.writes_torn += loss.writes_torn;
            self.counters.bytes_lost += loss.bytes_lost;
        }
        // Directories are journaled by the file system: their changes survive in order.
        let pending = self.pending_names.len() as u64;
        let kept = choices.stream("disk.names", salt).between(0, pending);
        self.counters.names_lost += pending - kept;
        self.sync_names(usize::try_from(kept).unwrap_or(usize::MAX));
        self.pending_names.clear();
        self.names = self.durable_names.clone();
        self.collect();
        let fields = [
            Field::Number("writes_lost", self.counters.writes_lost - before.writes_lost),
            Field::Number("writes_torn", self.counters.writes_torn - before.writes_torn),
            Field::Number("bytes_lost", self.counters.bytes_lost - before.bytes_lost),
            Field::Number("names_lost", pending - kept),
        ];
        self.journal.record(at, &self.host, "disk_power_loss", &fields);
    }

    /// Forgets files that no name and no handle leads to.
    pub(super) fn collect(&mut self) {
        let created = self.pending_names.iter().filter_map(|change| match change {
            NameChange::Create(_, inode) => Some(*inode),
            NameChange::Rename(..) | NameChange::Remove(_) => None,
        });
        let named = self.names.values().chain(self.durable_names.values()).copied();
        let named: BTreeSet<u64> = named.chain(created).collect();
        self.files.retain(|inode, file| file.open_count > 0 || named.contains(inode));
    }
}
