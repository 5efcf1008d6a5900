//! From an owner's entries to the sessions of a channel, live or out of the log.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Effect, Gateway, Pending, encode, measure, send_to};
use crate::entry::Entry;
use crate::frame::{LogFrame, ServerFrame};
use crate::ids::{ChannelKey, ConnectionId, SeqNo};
use crate::limits::PAGE_ENTRIES_MAX;
use crate::link::ToOwner;
use crate::session::{Offer, Phase, Session};

impl Gateway {
    /// New entries, as the owner announces them.
    pub(super) fn publish(
        &mut self,
        key: &ChannelKey,
        entries: &[Entry],
        effects: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get(key) else { return };
        let sessions = channel.sessions.clone();
        self.offer(key, entries, &sessions, effects);
        if let Some(last) = entries.last() {
            self.head(key, last.seq, effects);
        }
    }

    /// A page out of the log, for those who wait for it.
    pub(super) fn page(
        &mut self,
        key: &ChannelKey,
        after: SeqNo,
        entries: &[Entry],
        head: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let waiting = self.catch_up.take(key, after);
        self.stop_reading_for(key, &waiting);
        self.offer(key, entries, &waiting, effects);
        // An empty page makes no progress; asking again at once would go round in circles.
        if !entries.is_empty() {
            self.head(key, head, effects);
        }
    }

    /// Offers `entries` to each of `connections`, the same bytes to all.
    fn offer(
        &mut self,
        key: &ChannelKey,
        entries: &[Entry],
        connections: &BTreeSet<ConnectionId>,
        effects: &mut Vec<Effect>,
    ) {
        for entry in entries {
            let frame = encode(&ServerFrame::Log(LogFrame::new(key.channel.clone(), entry)));
            for connection in connections {
                if let Some(session) = self.sessions.get_mut(connection) {
                    offer_to(session, *connection, key, entry.seq, &frame, effects);
                }
            }
        }
    }

    /// The channel reaches to `head` at least: whoever is behind it needs a page, whoever has
    /// caught up is told.
    pub(super) fn head(&mut self, key: &ChannelKey, head: SeqNo, effects: &mut Vec<Effect>) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.head = channel.head.max(head);
        let (head, sessions) = (channel.head, channel.sessions.clone());
        for connection in sessions {
            self.settle(key, connection, head, effects);
        }
    }

    fn settle(
        &mut self,
        key: &ChannelKey,
        connection: ConnectionId,
        head: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let full = session.queue.is_full();
        let Some(cursor) = session.cursor_mut(key) else { return };
        if cursor.sent_upto < head {
            if !full && !cursor.reading {
                let after = cursor.sent_upto;
                self.read(key, after, connection, effects);
            }
        } else if cursor.owes_caught_up {
            cursor.owes_caught_up = false;
            let frame = ServerFrame::CaughtUp { channel: key.channel.clone(), head };
            send_to(session, connection, encode(&frame), effects);
        }
    }

    fn read(
        &mut self,
        key: &ChannelKey,
        after: SeqNo,
        connection: ConnectionId,
        effects: &mut Vec<Effect>,
    ) {
        let shard = self.shard_of(&key.workspace);
        if !self.links_up.contains(&shard) {
            // Subscribing anew when the link is up brings the head, and this again.
            return;
        }
        if let Some(cursor) =
            self.sessions.get_mut(&connection).and_then(|session| session.cursor_mut(key))
        {
            cursor.reading = true;
        }
        if self.catch_up.want(key, after, connection) {
            let pending = Pending::CatchUp { channel: key.clone(), after };
            let frame = |ticket| ToOwner::Read {
                ticket,
                channel: key.clone(),
                reader: None,
                after,
                entries_max: u32::try_from(PAGE_ENTRIES_MAX).unwrap_or(u32::MAX),
            };
            self.ask(shard, pending, frame, effects);
        }
    }

    /// The page will not come.
    pub(super) fn stop_reading(&mut self, key: &ChannelKey, after: SeqNo) {
        let waiting = self.catch_up.take(key, after);
        self.stop_reading_for(key, &waiting);
    }

    fn stop_reading_for(&mut self, key: &ChannelKey, connections: &BTreeSet<ConnectionId>) {
        for connection in connections {
            if let Some(cursor) =
                self.sessions.get_mut(connection).and_then(|session| session.cursor_mut(key))
            {
                cursor.reading = false;
            }
        }
    }

    /// The session's queue is short: it may be served from the log where it was left.
    pub(super) fn queue_measured(
        &mut self,
        connection: ConnectionId,
        bytes: usize,
        effects: &mut Vec<Effect>,
    ) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        session.queue.measured(bytes);
        let Phase::Live { channels, .. } = &session.phase else { return };
        let keys: Vec<ChannelKey> = channels.keys().cloned().collect();
        for key in keys {
            let head = self.channels.get(&key).map_or(SeqNo::ZERO, |channel| channel.head);
            self.settle(&key, connection, head, effects);
        }
    }
}

fn offer_to(
    session: &mut Session,
    connection: ConnectionId,
    key: &ChannelKey,
    seq: SeqNo,
    frame: &Bytes,
    effects: &mut Vec<Effect>,
) {
    match session.offer(key, seq, frame) {
        Offer::Sent => {
            effects.push(Effect::Send { connection, frame: frame.clone() });
            measure(session, connection, effects);
        }
        Offer::NotNeeded | Offer::Behind | Offer::Full => {}
    }
}
