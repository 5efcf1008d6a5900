//! How far the user has read: said now and then, repeated until the server has it.

use std::collections::BTreeMap;

use super::{Client, ClientEvent, Effect, Phase};
use crate::frame::ClientFrame;
use crate::ids::{ChannelId, SeqNo};
use crate::limits::{CLIENT_READ_INTERVAL, REPLY_TIMEOUT};
use crate::time::MonoTime;

/// One channel's position.
#[derive(Debug, Default)]
struct Read {
    /// What the application says.
    marked: SeqNo,
    /// What the server has, for good.
    known: SeqNo,
    /// When to say [`Self::marked`], again or for the first time.
    due: Option<MonoTime>,
    /// When it was said last.
    said_at: Option<MonoTime>,
}

/// Every channel's, of those that were marked or told of.
#[derive(Debug, Default)]
pub(super) struct ReadCursors(BTreeMap<ChannelId, Read>);

impl Client {
    /// How far the user has read `channel`, as the server knows.
    pub fn read_upto(&self, channel: &ChannelId) -> SeqNo {
        self.read_cursors.0.get(channel).map_or(SeqNo::ZERO, |read| read.known)
    }

    pub(super) fn mark_read(
        &mut self,
        now: MonoTime,
        channel: ChannelId,
        seq: SeqNo,
        effects: &mut Vec<Effect>,
    ) {
        let read = self.read_cursors.0.entry(channel).or_default();
        if seq <= read.marked.max(read.known) {
            return;
        }
        read.marked = seq;
        let earliest = read.said_at.map_or(now, |said| (said + CLIENT_READ_INTERVAL).max(now));
        read.due = Some(earliest);
        self.say_reads(now, effects);
    }

    /// The server has this position, for good.
    pub(super) fn read_told(&mut self, channel: ChannelId, seq: SeqNo, effects: &mut Vec<Effect>) {
        self.read_known(&channel, seq);
        effects.push(Effect::Emit(ClientEvent::Read { channel, seq }));
    }

    pub(super) fn read_known(&mut self, channel: &ChannelId, seq: SeqNo) {
        let read = self.read_cursors.0.entry(channel.clone()).or_default();
        read.known = seq.max(read.known);
        if read.marked <= read.known {
            read.due = None;
        }
    }

    pub(super) fn forget_read(&mut self, channel: &ChannelId) {
        self.read_cursors.0.remove(channel);
    }

    /// A session has begun: what the server doesn't have is said at once.
    pub(super) fn begin_reads(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        for read in self.read_cursors.0.values_mut().filter(|read| read.marked > read.known) {
            read.due = Some(now);
        }
        self.say_reads(now, effects);
    }

    /// Says what is due.
    pub(super) fn say_reads(&mut self, now: MonoTime, effects: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Live { .. }) {
            return;
        }
        let mut frames = Vec::new();
        for (channel, read) in &mut self.read_cursors.0 {
            if read.due.is_some_and(|due| due <= now) {
                read.said_at = Some(now);
                read.due = Some(now + REPLY_TIMEOUT);
                frames.push(ClientFrame::Read { channel: channel.clone(), seq: read.marked });
            }
        }
        for frame in frames {
            self.say(now, frame, effects);
        }
    }

    pub(super) fn next_read(&self) -> Option<MonoTime> {
        self.read_cursors.0.values().filter_map(|read| read.due).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{at, channel, live, new, welcome};
    use super::super::{Command, Input};
    use super::*;
    use crate::frame::ServerFrame;

    fn mark(client: &mut Client, now_ms: u64, seq: u64) -> Vec<u64> {
        let command = Command::MarkRead { channel: channel(), seq: SeqNo(seq) };
        said(&client.feed(at(now_ms), Input::Command(command)))
    }

    fn said(effects: &[Effect]) -> Vec<u64> {
        let of = |effect: &Effect| {
            if let Effect::Send(ClientFrame::Read { seq, .. }) = effect {
                Some(seq.0)
            } else {
                None
            }
        };
        effects.iter().filter_map(of).collect()
    }

    fn told(client: &mut Client, now_ms: u64, seq: u64) {
        let frame = ServerFrame::Read { channel: channel(), seq: SeqNo(seq) };
        client.feed(at(now_ms), Input::Frame(frame));
    }

    #[test]
    fn marks_are_said_now_and_then_and_only_the_last_one() {
        let mut client = live();
        assert_eq!(mark(&mut client, 0, 10), [0; 0], "welcome said that it is read");
        assert_eq!(mark(&mut client, 0, 11), [11]);
        assert_eq!(mark(&mut client, 10, 12), [0; 0]);
        assert_eq!(mark(&mut client, 20, 13), [0; 0]);
        assert_eq!(client.next_deadline(), Some(at(0) + CLIENT_READ_INTERVAL));
        assert_eq!(said(&client.feed(at(0) + CLIENT_READ_INTERVAL, Input::Tick)), [13]);
    }

    #[test]
    fn a_mark_is_repeated_until_the_server_has_it() {
        let mut client = live();
        mark(&mut client, 0, 12);
        let again = at(0) + REPLY_TIMEOUT;
        client.feed(at(9_000), Input::Frame(ServerFrame::Pong));
        assert_eq!(said(&client.feed(again, Input::Tick)), [12]);
        told(&mut client, 10_500, 12);
        assert_eq!(client.read_upto(&channel()), SeqNo(12));
        client.feed(at(19_000), Input::Frame(ServerFrame::Pong));
        assert_eq!(said(&client.feed(again + REPLY_TIMEOUT, Input::Tick)), [0; 0]);
    }

    #[test]
    fn what_was_marked_without_a_session_is_said_on_the_next() {
        let mut client = new();
        assert_eq!(mark(&mut client, 0, 12), [0; 0]);
        client.feed(at(0), Input::Tick);
        client.feed(at(0), Input::Connected);
        assert_eq!(said(&client.feed(at(0), Input::Frame(welcome(10)))), [12]);
        let later = Duration::from_secs(1);
        assert!(client.next_deadline().is_some_and(|next| next > at(0) + later));
    }
}
