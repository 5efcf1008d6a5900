//! Reads entries back from the segments, every checksum verified.

use std::sync::Arc;

use seriatim_engine::entry::{ChannelEntry, Entry};
use seriatim_engine::ids::{ChannelKey, SeqNo, ShardId};

use super::group::{Groups, Place};
use super::index::{Index, Location, Segment};
use super::record::{self, Record};
use super::segment::{corrupt, decode_header, failed, file_name, read};
use crate::{DiskFile, StoreError};

/// Records this close together are read at once: reading a page of the page cache costs less than
/// another call.
const GAP_BYTES_MAX: u32 = 4096;

/// What one read may fetch unless a single record is larger.
const SPAN_BYTES_MAX: u32 = 256 * 1024;

/// Neighbouring records, fetched with one read.
pub(super) struct Span {
    place: Place,
    file: Arc<dyn DiskFile>,
    offset: u32,
    length: u32,
    records: Vec<Location>,
}

/// Plans the reads for `page`, in order.
pub(super) fn spans(index: &Index, shard: ShardId, page: &[Location]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for location in page {
        let end = location.offset.saturating_add(location.length);
        if let Some(span) = spans.last_mut()
            && span.place.segment == location.segment
            && location.offset.saturating_sub(span.offset + span.length) <= GAP_BYTES_MAX
            && end.saturating_sub(span.offset) <= SPAN_BYTES_MAX
        {
            span.length = end - span.offset;
            span.records.push(*location);
            continue;
        }
        let segment = index.segment(location.segment).expect("an indexed record has a segment");
        spans.push(Span {
            place: Place { shard, segment: location.segment },
            file: Arc::clone(&segment.file),
            offset: location.offset,
            length: location.length,
            records: vec![*location],
        });
    }
    spans
}

impl Span {
    /// Reads the records: those of `channel` from `next` on, which is moved past them.
    pub(super) async fn read(
        &self,
        channel: &ChannelKey,
        next: &mut SeqNo,
        entries: &mut Vec<Entry>,
    ) -> Result<(), StoreError> {
        let bytes = self.file.read_at(u64::from(self.offset), self.length as usize).await;
        let bytes = bytes.map_err(|error| failed("read", &file_name(self.place), error))?;
        for location in &self.records {
            let flawed = |what| corrupt(self.place, location.offset, what);
            let from = (location.offset - self.offset) as usize;
            let record = bytes.get(from..from + location.length as usize);
            let record = record.ok_or_else(|| flawed("the file is shorter than it was"))?;
            match record::decode(record).map_err(flawed)? {
                (Record::Entry(found), length)
                    if length == location.length
                        && found.channel == *channel
                        && found.entry.seq == *next =>
                {
                    entries.push(found.entry);
                }
                (Record::Entry(_) | Record::Claim { .. }, _) => {
                    return Err(flawed("another record lies here than was written"));
                }
            }
            *next = next.next();
        }
        Ok(())
    }
}

/// Calls `visit` with every entry of the durable part of `segment`, in log order.
pub(super) async fn visit_entries(
    segment: &Segment,
    shard: ShardId,
    mut visit: impl FnMut(ChannelEntry),
) -> Result<(), StoreError> {
    let place = Place { shard, segment: segment.number };
    let bytes = read(&*segment.file, place, segment.end).await?;
    let flawed = |(offset, what)| corrupt(place, offset, what);
    decode_header(&bytes, place).map_err(|flaw| flawed((0, flaw.what())))?;
    if bytes.len() != segment.end as usize {
        return Err(flawed((segment.end, "the file is shorter than it was")));
    }
    for group in Groups::new(&bytes, place) {
        for (record, _) in group.map_err(flawed)?.records().map_err(flawed)? {
            match record {
                Record::Entry(entry) => visit(entry),
                Record::Claim { .. } => {}
            }
        }
    }
    Ok(())
}
