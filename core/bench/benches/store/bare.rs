//! The reference: appends ready bytes to one file and syncs after each write. It encodes nothing,
//! indexes nothing, and waits for the disk on its own thread.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use seriatim_bench::cpu::{now_ns, own_ns, own_written_bytes};

/// What some appends took.
#[derive(Default, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall_ns: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) written_bytes: u64,
}

impl Cost {
    /// The counters as they are.
    pub(crate) fn now() -> Self {
        Self { wall_ns: now_ns(), cpu_ns: own_ns(), written_bytes: own_written_bytes() }
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            wall_ns: self.wall_ns - earlier.wall_ns,
            cpu_ns: self.cpu_ns - earlier.cpu_ns,
            written_bytes: self.written_bytes - earlier.written_bytes,
        }
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.wall_ns += more.wall_ns;
        self.cpu_ns += more.cpu_ns;
        self.written_bytes += more.written_bytes;
    }
}

pub(crate) struct Bare {
    file: File,
    group: Vec<u8>,
}

impl Bare {
    /// Appends groups of so many bytes.
    pub(crate) fn new(directory: &Path, group_bytes: usize) -> anyhow::Result<Self> {
        Ok(Self { file: File::create(directory.join("bare"))?, group: vec![b'x'; group_bytes] })
    }

    pub(crate) fn append(&mut self, commits: u64) -> anyhow::Result<Cost> {
        let before = Cost::now();
        for _ in 0..commits {
            self.file.write_all(&self.group)?;
            self.file.sync_data()?;
        }
        Ok(Cost::now().since(before))
    }
}
