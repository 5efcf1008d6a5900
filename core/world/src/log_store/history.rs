//! Reads entries back, every checksum verified.

use bytes::Bytes;
use seriatim_engine::entry::{ChannelEntry, Entry};
use seriatim_engine::ids::{ChannelKey, SeqNo};

use super::index::Source;
use super::page::Page;
use super::peek::put_channel;
use super::record::{self, Flaw, decode_channel};
use super::run::entry_of;
use super::store::LogStore;
use crate::StoreError;

/// Entries that an audit reads at a time.
const AUDIT_PAGE: usize = 1_024;

impl LogStore {
    pub(super) async fn page(
        &self,
        channel: &ChannelKey,
        after: SeqNo,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut name = Vec::new();
        put_channel(channel, &mut name);
        self.page_of(&name, after, Page::new(entries_max, bytes_max)).await
    }

    async fn page_of(
        &self,
        name: &[u8],
        after: SeqNo,
        mut page: Page,
    ) -> Result<Vec<Entry>, StoreError> {
        let from = SeqNo(after.0.saturating_add(1));
        let sources = self.index().sources(name, from, page.room());
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
        Ok(page.into_entries())
    }

    /// Every durable entry of the shard, channel by channel, each in order, read and verified. For
    /// audits: it holds all of them in memory.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] and [`StoreError::Failed`].
    pub async fn entries(&self) -> Result<Vec<ChannelEntry>, StoreError> {
        let heads: Vec<(Box<[u8]>, SeqNo)> =
            self.index().heads().map(|(name, head)| (name.into(), head)).collect();
        let mut entries = Vec::new();
        for (name, head) in heads {
            let channel = decode_channel(&name).map_err(in_memory)?;
            let mut after = SeqNo::ZERO;
            while after < head {
                let page = self.page_of(&name, after, Page::new(AUDIT_PAGE, usize::MAX)).await?;
                after = page.last().map(|entry| entry.seq).ok_or_else(|| in_memory(LOST))?;
                let of_channel = |entry| ChannelEntry { channel: channel.clone(), entry };
                entries.extend(page.into_iter().map(of_channel));
            }
        }
        Ok(entries)
    }
}

const LOST: Flaw = "an entry below its channel's head is nowhere";

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
