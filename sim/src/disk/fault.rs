//! What a disk does wrong on purpose.

use std::time::Duration;

/// What is asked of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Read,
    Write,
    SetLength,
    Sync,
    /// Creating, renaming or removing a file.
    Name,
    SyncDirectory,
}

impl Operation {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Read => "disk_read",
            Self::Write => "disk_write",
            Self::SetLength => "disk_set_length",
            Self::Sync => "disk_sync",
            Self::Name => "disk_name",
            Self::SyncDirectory => "disk_sync_directory",
        }
    }
}

/// A fault of the disk. It stays until it is taken back, and hits as often as it was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// The operation fails with EIO. A failed sync drops the dirty pages, as Linux does: they
    /// stay visible, count as clean, and a later sync proves nothing about them.
    Error(Operation),
    /// A write, a growth or a creation fails with ENOSPC; of a write, a part may be done.
    Full,
    /// A sync says that all is durable and does nothing.
    LyingSync,
    /// The operation takes so much longer.
    Stall(Operation, Duration),
    /// A write lands some sectors away and says that all is well.
    Misdirected,
}

impl DiskFault {
    /// Whether it strikes `operation`.
    fn strikes(self, operation: Operation) -> bool {
        match self {
            Self::Error(struck) | Self::Stall(struck, _) => struck == operation,
            Self::Full => {
                matches!(operation, Operation::Write | Operation::SetLength | Operation::Name)
            }
            Self::LyingSync => matches!(operation, Operation::Sync | Operation::SyncDirectory),
            Self::Misdirected => operation == Operation::Write,
        }
    }
}

/// A fault with the files it concerns and the hits it has left.
#[derive(Debug)]
pub(super) struct Armed {
    /// What [`super::SimDisk::inject`] gave for it.
    pub(super) id: u64,
    pub(super) fault: DiskFault,
    /// The start of the names of the files it concerns.
    pub(super) prefix: String,
    pub(super) hits_left: u32,
    pub(super) hits: u64,
}

/// The faults that strike `operation` on `name`, each counted as a hit.
pub(super) fn strike(armed: &mut [Armed], operation: Operation, name: &str) -> Vec<DiskFault> {
    let mut struck = Vec::new();
    for armed in armed.iter_mut() {
        let due = armed.hits_left > 0 && name.starts_with(&armed.prefix);
        if due && armed.fault.strikes(operation) {
            armed.hits_left -= 1;
            armed.hits += 1;
            struck.push(armed.fault);
        }
    }
    struck
}
