//! Where every durable entry lies, in memory: 16 bytes an entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim_engine::entry::{ChannelEntry, Content};
use seriatim_engine::ids::{ChannelKey, SeqNo, UserId};
use seriatim_engine::time::WallTime;

use super::record::Flaw;
use crate::DiskFile;
use crate::store::{Recovered, RecoveredChannel};

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u32,
    pub(super) offset: u32,
    /// Bytes of the record.
    pub(super) length: u32,
    pub(super) body_bytes: u32,
}

/// A segment's file and how much of it counts.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) file: Arc<dyn DiskFile>,
    /// Where the next group goes. Everything before it is durable.
    pub(super) end: u32,
    /// The latest wall time of its entries; time may jump, so it need not be the last one's.
    pub(super) newest_at: WallTime,
}

/// The durable log's table of contents.
#[derive(Default)]
pub(super) struct Index {
    segments: BTreeMap<u32, Segment>,
    channels: BTreeMap<ChannelKey, Channel>,
}

#[derive(Default)]
struct Channel {
    /// That of seq 1, 2, 3, …
    locations: Vec<Location>,
    /// Each member with their first join.
    members: BTreeMap<UserId, SeqNo>,
}

impl Channel {
    fn head(&self) -> SeqNo {
        SeqNo(self.locations.len() as u64)
    }
}

impl Index {
    pub(super) fn add_segment(&mut self, number: u32, file: Arc<dyn DiskFile>, end: u32) {
        let segment = Segment { number, file, end, newest_at: WallTime(0) };
        self.segments.insert(number, segment);
    }

    pub(super) fn remove_segment(&mut self, number: u32) {
        self.segments.remove(&number);
    }

    /// Everything in segment `number` up to `end` is durable.
    pub(super) fn extend_segment(&mut self, number: u32, end: u32) {
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.end = end;
        }
    }

    pub(super) fn segment(&self, number: u32) -> Option<&Segment> {
        self.segments.get(&number)
    }

    /// All segments with an entry at or after `at`, in log order.
    pub(super) fn segments_since(&self, at: WallTime) -> Vec<Segment> {
        self.segments.values().filter(|segment| segment.newest_at >= at).cloned().collect()
    }

    pub(super) fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// The newest durable position of `channel`.
    pub(super) fn head(&self, channel: &ChannelKey) -> SeqNo {
        self.channels.get(channel).map(Channel::head).unwrap_or_default()
    }

    /// Adds an entry that is durable at `location`.
    pub(super) fn add(&mut self, entry: &ChannelEntry, location: Location) -> Result<(), Flaw> {
        let ChannelEntry { channel: key, entry } = entry;
        if entry.seq != self.head(key).next() {
            return Err("a channel's positions have a gap or a repeat");
        }
        if !self.channels.contains_key(key) {
            self.channels.insert(key.clone(), Channel::default());
        }
        let channel = self.channels.get_mut(key).expect("it was there or was inserted");
        channel.locations.push(location);
        match &entry.content {
            Content::Message { .. } => {}
            Content::Joined { user } => {
                channel.members.entry(user.clone()).or_insert(entry.seq);
            }
        }
        if let Some(segment) = self.segments.get_mut(&location.segment) {
            segment.newest_at = segment.newest_at.max(entry.at);
        }
        Ok(())
    }

    /// Where the entries of one page lie, by the rules of [`crate::Store::history`].
    pub(super) fn page(
        &self,
        channel: &ChannelKey,
        after: SeqNo,
        entries_max: usize,
        bytes_max: usize,
    ) -> Vec<Location> {
        let locations = self.channels.get(channel).map_or(&[][..], |c| &c.locations);
        let after = usize::try_from(after.0).unwrap_or(usize::MAX);
        let mut bytes = 0_usize;
        let mut page = Vec::new();
        for location in locations.iter().skip(after).take(entries_max) {
            bytes = bytes.saturating_add(location.body_bytes as usize);
            if bytes > bytes_max && !page.is_empty() {
                break;
            }
            page.push(*location);
        }
        page
    }

    /// Heads and members of all channels. Nonces are not indexed.
    pub(super) fn recovered(&self) -> Recovered {
        let recovered = |channel: &Channel| RecoveredChannel {
            head: channel.head(),
            members: channel.members.clone(),
            nonces: Vec::new(),
        };
        let channels = self.channels.iter().map(|(key, c)| (key.clone(), recovered(c))).collect();
        Recovered { channels }
    }
}
