//! When entries were received and durable, and which links were sent them.
//!
//! A row for each entry that became durable lately; beyond the limit the oldest are forgotten. What
//! the log holds of an entry is known for ever.

use std::collections::VecDeque;

use serde::Serialize;

use super::Owner;
use crate::ids::{ChannelKey, SeqNo};
use crate::limits::TRACE_ROWS_MAX;
use crate::link::LinkId;
use crate::time::{Clocks, MonoTime, WallTime};

/// What an owner knows of an entry of a channel of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnerTrace {
    /// The channel's newest durable entry.
    pub head: SeqNo,
    /// None: it is not durable yet, or when that was is forgotten.
    pub times: Option<OwnerTimes>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnerTimes {
    /// When the request came to its turn and was numbered.
    pub numbered_at_ms: WallTime,
    /// From then to its being durable, being answered and being announced.
    pub durable_after_us: u64,
    /// Numbers of the gateways' links that it was announced on.
    pub links: Vec<u64>,
}

/// The newest entries that became durable.
#[derive(Debug, Default)]
pub(super) struct Trace {
    publications: VecDeque<Publication>,
    entries: usize,
}

/// Consecutive entries of one channel that became durable together.
#[derive(Debug)]
struct Publication {
    channel: ChannelKey,
    first: SeqNo,
    /// Of each entry.
    numbered_at: Vec<MonoTime>,
    durable_at: MonoTime,
    links: Vec<LinkId>,
}

impl Trace {
    pub(super) fn published(
        &mut self,
        (channel, first): (ChannelKey, SeqNo),
        numbered_at: Vec<MonoTime>,
        durable_at: MonoTime,
        links: Vec<LinkId>,
    ) {
        self.entries += numbered_at.len();
        let publication = Publication { channel, first, numbered_at, durable_at, links };
        self.publications.push_back(publication);
        while self.entries > TRACE_ROWS_MAX {
            let Some(oldest) = self.publications.pop_front() else { break };
            self.entries -= oldest.numbered_at.len();
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.entries
    }

    fn find(&self, channel: &ChannelKey, seq: SeqNo) -> Option<(&Publication, MonoTime)> {
        self.publications.iter().rev().find_map(|publication| {
            let index = usize::try_from(seq.0.checked_sub(publication.first.0)?).ok()?;
            let numbered_at = *publication.numbered_at.get(index)?;
            (publication.channel == *channel).then_some((publication, numbered_at))
        })
    }
}

impl Owner {
    /// What is known of the entry; `None`: the shard has no such channel.
    pub fn trace(&self, clocks: Clocks, channel: &ChannelKey, seq: SeqNo) -> Option<OwnerTrace> {
        let head = self.channels.get(channel)?.sequencer.head();
        let times = self.trace.find(channel, seq).map(|(publication, numbered_at)| OwnerTimes {
            numbered_at_ms: clocks.wall_at(numbered_at),
            durable_after_us: Clocks::micros(publication.durable_at - numbered_at),
            links: publication.links.iter().map(|link| link.0).collect(),
        });
        Some(OwnerTrace { head, times })
    }
}
