//! Reads entries back, every checksum verified.

use bytes::Bytes;
use seriatim_engine::entry::{ChannelEntry, Entry};
use seriatim_engine::history_bound::{HistoryBound, HistoryPage};
use seriatim_engine::ids::{ChannelKey, SeqNo};
use seriatim_engine::time::WallTime;

use super::extent::Stored;
use super::index::{Since, Source};
use super::page::Page;
use super::peek::put_channel;
use super::record::{self, Flaw, body_bytes, decode_channel};
use super::run::entry_of;
use super::store::LogStore;
use crate::StoreError;

/// Entries that an audit reads at a time.
const AUDIT_PAGE: usize = 1_024;

impl LogStore {
    pub(super) async fn page(
        &self,
        channel: &ChannelKey,
        bound: HistoryBound,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<HistoryPage, StoreError> {
        let mut name = Vec::new();
        put_channel(channel, &mut name);
        match bound {
            HistoryBound::After(after) => {
                self.page_after(&name, after, Page::new(entries_max, bytes_max)).await
            }
            HistoryBound::Before(before) => {
                self.page_before(&name, before, entries_max, bytes_max).await
            }
            HistoryBound::Since(at) => {
                let trimmed = self.index().trimmed(&name);
                let is_gone = trimmed.upto > SeqNo::ZERO && at <= trimmed.newest_at;
                let found = self.first_since(&name, at).await?;
                let mut read = HistoryPage::default();
                if let Some(first) = found {
                    let page = Page::new(entries_max, bytes_max);
                    read = self.page_after(&name, first.before(), page).await?;
                }
                let trimmed_upto = read.trimmed_upto.or(is_gone.then_some(trimmed.upto));
                Ok(HistoryPage { trimmed_upto, ..read })
            }
        }
    }

    /// Reads as many entries as the page may have, however large, and keeps the newest: at most
    /// [`seriatim_engine::limits::PAGE_ENTRIES_MAX`] bodies are more than is given.
    async fn page_before(
        &self,
        name: &[u8],
        before: SeqNo,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<HistoryPage, StoreError> {
        let last = before.0.saturating_sub(1).min(self.index().head(name).0);
        let after = last.saturating_sub(u64::try_from(entries_max).unwrap_or(u64::MAX));
        let entries_max = usize::try_from(last - after).unwrap_or(entries_max);
        let page = Page::new(entries_max, usize::MAX);
        let HistoryPage { mut entries, .. } = self.page_after(name, SeqNo(after), page).await?;
        // What is gone at the page's beginning makes no room at its end.
        entries.retain(|entry| entry.seq.0 <= last);
        let entries = newest(entries, bytes_max);
        let trimmed = self.index().trimmed(name).upto;
        let trimmed_upto = match entries.first() {
            Some(first) if first.seq > trimmed.next() => None,
            // They may go while they are read.
            Some(first) => Some(trimmed.min(first.seq.before())),
            None => Some(trimmed),
        };
        let trimmed_upto = trimmed_upto.filter(|upto| *upto > SeqNo::ZERO);
        Ok(HistoryPage { entries, trimmed_upto })
    }

    /// The first entry that was numbered at `at` or later.
    async fn first_since(&self, name: &[u8], at: WallTime) -> Result<Option<SeqNo>, StoreError> {
        let since = self.index().first_since(name, at).map_err(in_memory)?;
        let Stored { run, extent } = match since {
            None => return Ok(None),
            Some(Since::At(seq)) => return Ok(Some(seq)),
            Some(Since::InRun(stored)) => stored,
        };
        let mut page = Page::first_since(at);
        run.read_page(name, &extent, extent.first, &mut page).await?;
        match page.into_entries().first() {
            Some(entry) => Ok(Some(entry.seq)),
            None => Err(run.corrupt(extent.offset, "no entry is as late as its channel says")),
        }
    }

    async fn page_after(
        &self,
        name: &[u8],
        after: SeqNo,
        mut page: Page,
    ) -> Result<HistoryPage, StoreError> {
        let (from, trimmed_upto, sources) = {
            let index = self.index();
            let trimmed = index.trimmed(name).upto;
            let from = SeqNo(after.max(trimmed).0.saturating_add(1));
            let trimmed_upto = (after < trimmed).then_some(trimmed);
            (from, trimmed_upto, index.sources(name, from, page.room()))
        };
        for source in sources {
            let next = SeqNo(from.0.saturating_add(page.count() as u64));
            match source {
                Source::Run(stored) => {
                    stored.run.read_page(name, &stored.extent, next, &mut page).await?;
                }
                Source::Memory(records) => {
                    add_records(&records, name, next, &mut page).map_err(in_memory)?;
                }
            }
            if page.is_full() {
                break;
            }
        }
        Ok(HistoryPage { entries: page.into_entries(), trimmed_upto })
    }

    /// Every durable entry of the shard that it kept, channel by channel, each in order, read and verified. For
    /// audits: it holds all of them in memory.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] and [`StoreError::Failed`].
    pub async fn entries(&self) -> Result<Vec<ChannelEntry>, StoreError> {
        let heads: Vec<(Box<[u8]>, SeqNo, SeqNo)> = {
            let index = self.index();
            let head = |(name, head): (&[u8], SeqNo)| (name.into(), index.trimmed(name).upto, head);
            index.heads().map(head).collect()
        };
        let mut entries = Vec::new();
        for (name, mut after, head) in heads {
            let channel = decode_channel(&name).map_err(in_memory)?;
            while after < head {
                let page = Page::new(AUDIT_PAGE, usize::MAX);
                let page = self.page_after(&name, after, page).await?.entries;
                after = page.last().map(|entry| entry.seq).ok_or_else(|| in_memory(LOST))?;
                let of_channel = |entry| ChannelEntry { channel: channel.clone(), entry };
                entries.extend(page.into_iter().map(of_channel));
            }
        }
        Ok(entries)
    }
}

const LOST: Flaw = "an entry below its channel's head is nowhere";

/// The last of `entries`, as many as have no more than `bytes_max` bytes of bodies. The very last
/// is one of them, however large.
fn newest(mut entries: Vec<Entry>, bytes_max: usize) -> Vec<Entry> {
    let mut bytes = 0_usize;
    let fits = |(number, entry): &(usize, &Entry)| {
        bytes = bytes.saturating_add(body_bytes(entry));
        *number == 0 || bytes <= bytes_max
    };
    let kept = entries.iter().rev().enumerate().take_while(fits).count();
    entries.split_off(entries.len() - kept)
}

/// Adds records of consecutive entries to the page.
fn add_records(
    records: &[Bytes],
    name: &[u8],
    mut next: SeqNo,
    page: &mut Page,
) -> Result<(), Flaw> {
    for record in records {
        page.push(entry_of(record, name, next)?);
        next = next.next();
        if page.is_full() {
            break;
        }
    }
    Ok(())
}

/// Memory is not what it was.
pub(super) fn in_memory(what: Flaw) -> StoreError {
    StoreError::Corrupt { file: "memory".to_owned(), offset: 0, what: what.to_owned() }
}

/// Whether the record says something about its channel, and the entry that it is.
pub(super) fn state_entry(record: &[u8]) -> Result<ChannelEntry, Flaw> {
    match record::decode(record)? {
        (record::Record::Entry(entry), length) if length as usize == record.len() => Ok(entry),
        (record::Record::Entry(_) | record::Record::Claim { .. }, _) => {
            Err("a record of a channel's state is something else")
        }
    }
}
