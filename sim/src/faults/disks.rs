//! What a strike does to disks.

use std::time::Duration;

use seriatim_scenarios::fault::{FaultKind, Key, Settings, Word};

use crate::disk::{DiskFault, Operation, SimDisk};
use crate::time::SimTime;

/// What is wrong with one disk meanwhile.
pub(super) enum Broken {
    Injected {
        disk: SimDisk,
        fault: u64,
        write_back: bool,
    },
    /// How many writes had been refused before.
    Full {
        disk: SimDisk,
        refused: u64,
    },
}

impl Broken {
    /// Begins a strike of `kind`.
    pub(super) fn begin(kind: FaultKind, disk: &SimDisk, settings: &Settings) -> Self {
        if kind == FaultKind::DiskFull {
            let refused = disk.counters().refused;
            disk.fill_up_to(settings.amount(Key::FreeBytes));
            return Self::Full { disk: disk.clone(), refused };
        }
        let failures = || u32::try_from(settings.amount(Key::Failures)).unwrap_or(u32::MAX);
        let (fault, count) = if kind == FaultKind::DiskError {
            (DiskFault::Error(operation(settings)), failures())
        } else if kind == FaultKind::MisdirectedWrite {
            (DiskFault::Misdirected, failures())
        } else if kind == FaultKind::DiskStall {
            let stall = Duration::from_millis(settings.amount(Key::StallMs));
            (DiskFault::Stall(operation(settings), stall), u32::MAX)
        } else {
            (DiskFault::LyingSync, u32::MAX)
        };
        let fault = disk.inject(fault, "", count);
        Self::Injected { disk: disk.clone(), fault, write_back: kind == FaultKind::LyingFsync }
    }

    /// Ends it; true when it had hit something.
    pub(super) fn heal(self) -> bool {
        match self {
            Self::Injected { disk, fault, write_back } => {
                if write_back {
                    disk.write_back();
                }
                disk.withdraw(fault) > 0
            }
            Self::Full { disk, refused } => {
                disk.set_capacity(None);
                disk.counters().refused > refused
            }
        }
    }
}

fn operation(settings: &Settings) -> Operation {
    let word = settings.word(Key::Operation);
    if word == Word::Read {
        Operation::Read
    } else if word == Word::Write {
        Operation::Write
    } else {
        Operation::Sync
    }
}

/// Inverts bits; true when there were any.
pub(super) fn rot(at: SimTime, disk: &SimDisk, settings: &Settings) -> bool {
    disk.rot(at, settings.amount(Key::Bits)) > 0
}
