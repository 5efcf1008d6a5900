//! A page of history while it fills.

use seriatim_engine::entry::Entry;
use seriatim_engine::time::WallTime;

use super::record::body_bytes;

/// Takes entries until it has as many, or as many bytes of bodies, as it may.
#[derive(Debug)]
pub(super) struct Page {
    entries: Vec<Entry>,
    entries_max: usize,
    bytes_max: usize,
    bytes: usize,
    is_full: bool,
    /// The page begins with the first entry that is as late.
    since: Option<WallTime>,
}

impl Page {
    pub(super) fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            entries_max,
            bytes_max,
            bytes: 0,
            is_full: entries_max == 0,
            since: None,
        }
    }

    /// A page of the first entry that was numbered at `at` or later.
    pub(super) fn first_since(at: WallTime) -> Self {
        Self { since: Some(at), ..Self::new(1, 0) }
    }

    pub(super) fn since(&self) -> Option<WallTime> {
        self.since
    }

    /// Adds the next entry, unless it would be too much. The first one never is.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.since.is_some_and(|since| entry.at < since) {
            return;
        }
        self.since = None;
        let bytes = self.bytes.saturating_add(body_bytes(&entry));
        if self.is_full || (bytes > self.bytes_max && !self.entries.is_empty()) {
            self.is_full = true;
            return;
        }
        self.bytes = bytes;
        self.entries.push(entry);
        self.is_full = self.room() == 0;
    }

    /// How many entries it may still take.
    pub(super) fn room(&self) -> usize {
        self.entries_max - self.entries.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}
