//! From an owner's entries to the sessions of a channel, live or out of the log.

use super::{Effect, Gateway, Pending, encode, send_to};
use crate::catch_up::{Page, Rest};
use crate::entry::Entry;
use crate::followers::{Cursor, Frames, Offer, Run};
use crate::frame::{LogFrame, RejectCode, ServerFrame};
use crate::history_bound::{HistoryBound, HistoryPage};
use crate::ids::{ChannelKey, ConnectionId, SeqNo, ShardId};
use crate::levels::Limit;
use crate::limits::{PAGE_ENTRIES_MAX, RUN_BYTES_MAX};
use crate::link::ToOwner;
use crate::session::Session;
use crate::time::MonoTime;
use crate::websocket::{Opcode, encode_frame};

impl Gateway {
    /// New entries, as the owner announces them.
    pub(super) fn publish(
        &mut self,
        key: &ChannelKey,
        entries: &[Entry],
        effects: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        let Some(last) = entries.last() else { return };
        channel.head = channel.head.max(last.seq);
        let mut unsettled = Vec::new();
        let mut delivered = 0;
        for frames in encode_runs(key, entries) {
            let mut broadcast = Broadcast::to_at_most(channel.followers.len());
            unsettled.clear();
            for cursor in channel.followers.iter_mut() {
                let Some(session) = self.sessions.get_mut(&cursor.connection) else { continue };
                broadcast.offer(&frames, cursor, session, effects);
                if cursor.is_unsettled(frames.last()) {
                    unsettled.push(cursor.connection);
                }
            }
            self.counts.session_queue_bytes.set(broadcast.queue_bytes);
            delivered += broadcast.send(&frames, effects);
        }
        self.counts.delivered_live += delivered;
        if let Some(first) = entries.first() {
            // The table's own name: a row that kept the frame's would keep its memory.
            let name = self.channels.get_key_value(key).map_or(key, |(name, _)| name);
            self.trace.arrived(name, (first.seq, last.seq), self.now);
        }
        if delivered > 0 {
            self.announced.add(entries);
        }
        for connection in unsettled {
            self.settle(key, connection, effects);
        }
    }

    /// A page out of the log, for those who wait for it.
    pub(super) fn page(
        &mut self,
        (key, after): Page,
        page: &HistoryPage,
        head: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let HistoryPage { entries, trimmed_upto } = page;
        let waiting = self.stop_reading((key.clone(), after), effects);
        if let Some(upto) = trimmed_upto {
            self.skip(&key, &waiting, *upto, effects);
        }
        let Some(channel) = self.channels.get_mut(&key) else { return };
        let sent_upto = |channel: &super::Channel, connection: &ConnectionId| {
            channel.followers.get(*connection).map(|cursor| cursor.sent_upto)
        };
        let before: Vec<Option<SeqNo>> =
            waiting.iter().map(|connection| sent_upto(channel, connection)).collect();
        for frames in encode_runs(&key, entries) {
            let mut broadcast = Broadcast::to_at_most(waiting.len());
            for connection in &waiting {
                if let (Some(cursor), Some(session)) =
                    (channel.followers.get_mut(*connection), self.sessions.get_mut(connection))
                {
                    broadcast.offer(&frames, cursor, session, effects);
                }
            }
            self.counts.session_queue_bytes.set(broadcast.queue_bytes);
            self.counts.delivered_from_log += broadcast.send(&frames, effects);
        }
        for (connection, before) in waiting.iter().zip(before) {
            if let (Some(before), Some(upto)) = (before, sent_upto(channel, connection))
                && before < upto
            {
                self.trace.caught_up(&key, *connection, (before, upto), self.now);
            }
        }
        // An empty page makes no progress; asking again at once would go round in circles.
        if entries.is_empty() && trimmed_upto.is_none() {
            return;
        }
        self.head(&key, head, effects);
        for connection in waiting {
            self.settle(&key, connection, effects);
        }
    }

    /// Tells sessions that the channel's entries up to `upto` are gone, and goes on behind them.
    fn skip(
        &mut self,
        key: &ChannelKey,
        connections: &[ConnectionId],
        upto: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        for connection in connections {
            let Some(cursor) = channel.followers.get_mut(*connection) else { continue };
            let Some(session) = self.sessions.get_mut(connection) else { continue };
            let before = cursor.sent_upto;
            let Some(upto) = cursor.skip(upto) else { continue };
            let frame = ServerFrame::Trimmed { channel: key.channel.clone(), upto };
            send_to(session, *connection, encode(&frame), effects);
            self.counts.trimmed = self.counts.trimmed.saturating_add(upto.0 - before.0);
            self.trace.skipped(key, *connection, (before, upto), self.now);
        }
    }

    /// The channel reaches to `head` at least: if that is new, whoever is behind needs a page.
    pub(super) fn head(&mut self, key: &ChannelKey, head: SeqNo, effects: &mut Vec<Effect>) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.head = channel.head.max(head);
        let is_unsettled = |cursor: &&Cursor| cursor.is_unsettled(channel.head);
        let unsettled: Vec<ConnectionId> =
            channel.followers.iter().filter(is_unsettled).map(|cursor| cursor.connection).collect();
        for connection in unsettled {
            self.settle(key, connection, effects);
        }
    }

    /// Asks for a page if the session is behind and has room for it; tells it when it has caught
    /// up and is owed that, and when it has had all that it gets.
    pub(super) fn settle(
        &mut self,
        key: &ChannelKey,
        connection: ConnectionId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let Some(cursor) = channel.followers.get_mut(connection) else { return };
        if let Some(until) = cursor.ended() {
            self.end_following(key, connection, until, effects);
            return;
        }
        if !cursor.is_unsettled(channel.head) {
            return;
        }
        if cursor.sent_upto >= channel.head {
            cursor.owes_caught_up = false;
            let frame = ServerFrame::CaughtUp { channel: key.channel.clone(), head: channel.head };
            send_to(session, connection, encode(&frame), effects);
        } else if session.queue.is_full() {
            cursor.waiting = true;
            session.waiting.push(key.clone());
            self.counts.hits.hit(Limit::SessionQueueBytes);
        } else {
            self.read(key, connection, effects);
        }
    }

    fn read(&mut self, key: &ChannelKey, connection: ConnectionId, effects: &mut Vec<Effect>) {
        let shard = self.shard_of(&key.workspace);
        if !self.links_up.contains(&shard) {
            // Subscribing anew when the link is up brings the head, and this again.
            return;
        }
        let Some(channel) = self.channels.get_mut(key) else { return };
        let Some(cursor) = channel.followers.get_mut(connection) else { return };
        cursor.reading = Some(cursor.sent_upto);
        let page = (key.clone(), cursor.sent_upto);
        if self.catch_up.want(shard, &page, connection) {
            self.ask_for(shard, page, effects);
        }
    }

    fn ask_for(&mut self, shard: ShardId, page: Page, effects: &mut Vec<Effect>) {
        let (channel, after) = page;
        self.counts.catch_up_reads.set(self.catch_up.on_their_way(shard));
        let pending = Pending::CatchUp { channel: channel.clone(), after };
        let frame = |ticket| ToOwner::Read {
            ticket,
            channel,
            reader: None,
            bound: HistoryBound::After(after),
            entries_max: u32::try_from(PAGE_ENTRIES_MAX).unwrap_or(u32::MAX),
        };
        self.ask(shard, pending, frame, effects);
    }

    /// A page came: others have their turn. Gives those who waited for it.
    pub(super) fn stop_reading(
        &mut self,
        page: Page,
        effects: &mut Vec<Effect>,
    ) -> Vec<ConnectionId> {
        let shard = self.shard_of(&page.0.workspace);
        let waiting: Vec<ConnectionId> = self.catch_up.take(shard, &page).into_iter().collect();
        self.forget_reading(&page.0, &waiting);
        self.ask_for_others(shard, effects);
        waiting
    }

    /// A page can't be had: whoever waits for it goes on waiting, and others have their turn. They
    /// are told if that is more than a matter of time.
    pub(super) fn page_refused(
        &mut self,
        page: &Page,
        (code, message): (RejectCode, &str),
        effects: &mut Vec<Effect>,
    ) {
        let shard = self.shard_of(&page.0.workspace);
        let rest = self.catch_up.refused(self.now, shard, page);
        self.ask_for_others(shard, effects);
        let Some(Rest { by, rest }) = rest.filter(|_| code == RejectCode::Unreadable) else {
            return;
        };
        let rest_ms = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        for connection in by {
            self.reject_for(connection, None, code, message.to_owned(), Some(rest_ms), effects);
        }
    }

    /// Pages that were refused have rested.
    pub(super) fn wake_pages(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        for shard in self.catch_up.wake(now) {
            self.ask_for_others(shard, effects);
        }
    }

    fn ask_for_others(&mut self, shard: ShardId, effects: &mut Vec<Effect>) {
        while let Some(page) = self.catch_up.next(shard) {
            self.ask_for(shard, page, effects);
        }
    }

    /// No page of the shard will come.
    pub(super) fn stop_reading_from(&mut self, shard: ShardId) {
        for ((key, _), waiting) in self.catch_up.give_up(shard) {
            self.forget_reading(&key, &waiting);
        }
    }

    fn forget_reading<'a>(
        &mut self,
        key: &ChannelKey,
        connections: impl IntoIterator<Item = &'a ConnectionId>,
    ) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        for connection in connections {
            if let Some(cursor) = channel.followers.get_mut(*connection) {
                cursor.reading = None;
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
        let waiting = std::mem::take(&mut session.waiting);
        self.presence_measured(connection, effects);
        for key in waiting {
            let channel = self.channels.get_mut(&key);
            if let Some(cursor) = channel.and_then(|channel| channel.followers.get_mut(connection))
            {
                cursor.waiting = false;
            }
            self.settle(&key, connection, effects);
        }
    }
}

/// Who takes a run of frames.
struct Broadcast {
    connections: Vec<ConnectionId>,
    /// Those of them, and others, whose queue the shell has to look at.
    to_measure: Vec<ConnectionId>,
    /// The longest queue with the frames in it.
    queue_bytes: usize,
    /// Entries for those who get a part only.
    rest: u64,
}

impl Broadcast {
    fn to_at_most(count: usize) -> Self {
        let connections = Vec::with_capacity(count);
        Self { connections, to_measure: Vec::new(), queue_bytes: 0, rest: 0 }
    }

    fn offer(
        &mut self,
        frames: &Frames,
        cursor: &mut Cursor,
        session: &mut Session,
        effects: &mut Vec<Effect>,
    ) {
        let (connection, sent_upto) = (cursor.connection, cursor.sent_upto);
        match cursor.offer(frames, &mut session.queue) {
            Offer::All => self.connections.push(connection),
            Offer::Part(frame) => {
                self.rest += cursor.sent_upto.0 - sent_upto.0;
                effects.push(Effect::Send { connection, frame });
            }
            Offer::NotNeeded | Offer::Behind | Offer::Full => return,
        }
        self.queue_bytes = self.queue_bytes.max(session.queue.bytes());
        if session.queue.should_measure() {
            self.to_measure.push(connection);
        }
    }

    /// How many entries were sent, each to each session.
    fn send(self, frames: &Frames, effects: &mut Vec<Effect>) -> u64 {
        let Self { connections, to_measure, queue_bytes: _, rest } = self;
        let delivered = connections.len() as u64 * frames.count() + rest;
        if !connections.is_empty() {
            effects.push(Effect::Broadcast { connections, frames: frames.bytes().clone() });
        }
        effects.extend(to_measure.into_iter().map(|connection| Effect::Measure { connection }));
        delivered
    }
}

/// The frames of `entries`, those that are due together end to end.
fn encode_runs(key: &ChannelKey, entries: &[Entry]) -> Vec<Frames> {
    let mut runs = Vec::new();
    let mut run = Run::default();
    for entry in entries {
        let follows = run.next().is_none_or(|next| next == entry.seq);
        if !follows || run.len_bytes() >= RUN_BYTES_MAX {
            runs.extend(std::mem::take(&mut run).finish());
        }
        let json = ServerFrame::Log(LogFrame::new(key.channel.clone(), entry)).to_json();
        run.add(entry.seq, |bytes| encode_frame(Opcode::Text, &json, None, bytes));
    }
    runs.extend(run.finish());
    runs
}
