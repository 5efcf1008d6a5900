//! What a check found wrong, file by file.

use seriatim_engine::ids::{ChannelKey, SeqNo};

use crate::StoreError;

/// So many ranges of lost entries are listed for a file; more are only counted.
const LOST_LISTED_MAX: usize = 20;

/// What is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub file: String,
    /// The first byte, or the first record, group or block, that is not what it should be.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
    /// The log can't be opened, or not be recovered from, with this file. Otherwise all but the
    /// lost entries is served.
    pub is_fatal: bool,
    /// How far some users have read is lost with it, and no entry.
    pub is_of_reads: bool,
    /// Entries that are known to be lost with it. What a file held before or after everything that
    /// could be read isn't among them.
    pub lost_entries: u64,
    /// Where they are; the first few ranges.
    pub lost: Vec<LostEntries>,
}

/// Consecutive entries of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostEntries {
    pub channel: ChannelKey,
    pub first: SeqNo,
    pub last: SeqNo,
}

impl Damage {
    /// What an operator can do.
    pub fn remedy(&self) -> &'static str {
        if self.is_fatal {
            "Stop here: with this file the server refuses the log. Put a sound copy of the file, \
             byte for byte, in its place (a backup has it under the same name), or start on a backup"
        } else if self.is_of_reads {
            "No message is lost: some users have read less, as far as the server knows, and it goes \
             on so. To have their positions back, put a sound copy of the file in its place while \
             the server is stopped (a backup has it under the same name)"
        } else {
            "The server serves everything but these entries. Put a sound copy of the file in its \
             place while the server is stopped (a backup has it under the same name)"
        }
    }
}

/// Everything that was found, in the order in which it was.
#[derive(Default)]
pub(super) struct Findings(Vec<Damage>);

impl Findings {
    /// The log can't be served with this.
    pub(super) fn fatal(&mut self, file: &str, offset: u64, what: &str) {
        self.add(file, offset, what).is_fatal = true;
    }

    /// Adds to a file's damage. The first byte is the one that is kept.
    pub(super) fn add(&mut self, file: &str, offset: u64, what: &str) -> &mut Damage {
        let index = self.0.iter().position(|damage| damage.file == file);
        let index = index.unwrap_or_else(|| {
            self.0.push(Damage {
                file: file.to_owned(),
                offset: u64::MAX,
                what: String::new(),
                is_fatal: false,
                is_of_reads: false,
                lost_entries: 0,
                lost: Vec::new(),
            });
            self.0.len() - 1
        });
        let damage = self.0.get_mut(index).expect("it was found or pushed");
        if offset < damage.offset {
            damage.offset = offset;
            damage.what = what.to_owned();
        }
        damage
    }

    /// Read positions are lost with this.
    pub(super) fn of_reads(&mut self, file: &str, offset: u64, what: &str) {
        self.add(file, offset, what).is_of_reads = true;
    }

    /// An error of reading a run's parts.
    pub(super) fn add_error(&mut self, file: &str, error: &StoreError, is_fatal: bool) {
        let damage = match error {
            StoreError::Corrupt { offset, what, .. } => self.add(file, *offset, what),
            StoreError::Failed { source, .. } => self.add(file, 0, &unreadable(source)),
            StoreError::Fenced { .. } | StoreError::Poisoned => unreachable!("nothing is written"),
        };
        damage.is_fatal |= is_fatal;
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.0.iter().any(|damage| damage.file == file)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Entries are missing, which the newest damaged file must have held.
    pub(super) fn lose(&mut self, channel: ChannelKey, first: SeqNo, last: SeqNo) {
        let Some(damage) = self.0.last_mut() else { return };
        damage.lost_entries += last.0 - first.0 + 1;
        if damage.lost.len() < LOST_LISTED_MAX {
            damage.lost.push(LostEntries { channel, first, last });
        }
    }

    pub(super) fn into_damages(self) -> Vec<Damage> {
        self.0
    }
}

pub(super) fn unreadable(error: &std::io::Error) -> String {
    format!("it can't be read: {error}")
}
