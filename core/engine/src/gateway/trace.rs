//! Which sessions were sent an entry, when, and how.
//!
//! Nothing is written for each delivery. What is kept is when runs of entries arrived and were
//! written, who was sent pages out of the log, and where cursors started and ended; together with
//! where each cursor is, the answer for any entry follows when it is asked for. Each table is a ring:
//! beyond its limit the oldest rows are forgotten, and what rests on them is answered without a time.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::Gateway;
use crate::admin::{Page, Window};
use crate::followers::{Cursor, Start};
use crate::ids::{ChannelKey, ConnectionId, SeqNo, UserId};
use crate::limits::{ADMIN_ROWS_MAX, TRACE_ROWS_MAX};
use crate::session::Session;
use crate::time::{Clocks, MonoTime, WallTime};

/// What this gateway knows of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GatewayTrace {
    /// Requests that were answered with this entry, the first and its retries.
    pub requests: Vec<RequestTrace>,
    /// When the owner's announcement came; none: forgotten, or the channel had no session here.
    pub arrived_at_ms: Option<WallTime>,
    /// From then to its being written to every socket that took it.
    pub written_after_us: Option<u64>,
    /// Sessions that follow the channel.
    pub sessions: Page<usize, DeliveryTrace>,
    /// Of sessions that followed it and ended, those that had been sent the entry, the newest first:
    /// at most [`ADMIN_ROWS_MAX`].
    pub ended: Vec<DeliveryTrace>,
}

/// A request for the entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestTrace {
    pub session: String,
    pub asked_at_ms: WallTime,
    pub answered_after_us: u64,
}

/// How one session stands to the entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryTrace {
    pub session: String,
    pub connection: ConnectionId,
    pub user: Option<UserId>,
    pub how: How,
    /// When it was queued for the session; none: never, or forgotten.
    pub at_ms: Option<WallTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// As it was announced.
    Live,
    /// In a page of the log.
    Log,
    /// One of both: which, is forgotten.
    Sent,
    /// It started behind it: its client had it, or did not want it.
    Before,
    /// Not yet: it reads slowly, or waits for a page.
    Behind,
    /// Never: it was gone before the session's turn.
    Trimmed,
}

/// The rings.
#[derive(Debug, Default)]
pub(super) struct Trace {
    arrivals: VecDeque<Arrival>,
    /// The newest arrivals that are on their way to sockets.
    unwritten: usize,
    answers: VecDeque<Answer>,
    caught_up: VecDeque<CaughtUp>,
    /// Pages up to this moment may have been forgotten.
    forgotten: Option<MonoTime>,
    ended: VecDeque<Ended>,
}

/// A run of entries, as its owner announced it.
#[derive(Debug)]
struct Arrival {
    channel: ChannelKey,
    first: SeqNo,
    last: SeqNo,
    at: MonoTime,
    written_at: Option<MonoTime>,
}

#[derive(Debug)]
struct Answer {
    channel: ChannelKey,
    seq: SeqNo,
    connection: ConnectionId,
    asked_at: MonoTime,
    answered_at: MonoTime,
}

/// A session was sent entries out of the log, or told that they are gone.
#[derive(Debug)]
struct CaughtUp {
    channel: ChannelKey,
    connection: ConnectionId,
    after: SeqNo,
    upto: SeqNo,
    at: MonoTime,
    how: How,
}

/// A session follows a channel no longer.
#[derive(Debug)]
struct Ended {
    channel: ChannelKey,
    user: UserId,
    start: Start,
    cursor: Cursor,
}

/// Adds a row; forgets the oldest beyond the limit and gives it.
fn push<T>(ring: &mut VecDeque<T>, row: T) -> Option<T> {
    ring.push_back(row);
    if ring.len() > TRACE_ROWS_MAX { ring.pop_front() } else { None }
}

impl Trace {
    pub(super) fn arrived(&mut self, channel: &ChannelKey, run: (SeqNo, SeqNo), at: MonoTime) {
        let ((first, last), channel) = (run, channel.clone());
        push(&mut self.arrivals, Arrival { channel, first, last, at, written_at: None });
        self.unwritten += 1;
    }

    /// All that arrived has been written.
    pub(super) fn written(&mut self, at: MonoTime) {
        for arrival in self.arrivals.iter_mut().rev().take(std::mem::take(&mut self.unwritten)) {
            arrival.written_at = Some(at);
        }
    }

    /// A request of the session was answered with the entry.
    pub(super) fn answered(
        &mut self,
        channel: ChannelKey,
        seq: SeqNo,
        connection: ConnectionId,
        (asked_at, answered_at): (MonoTime, MonoTime),
    ) {
        push(&mut self.answers, Answer { channel, seq, connection, asked_at, answered_at });
    }

    /// The session was sent the entries after `after` up to `upto` out of the log.
    pub(super) fn caught_up(
        &mut self,
        channel: &ChannelKey,
        connection: ConnectionId,
        (after, upto): (SeqNo, SeqNo),
        at: MonoTime,
    ) {
        let channel = channel.clone();
        self.caught_up_by(CaughtUp { channel, connection, after, upto, at, how: How::Log });
    }

    /// The session was told that the entries after `after` up to `upto` are gone.
    pub(super) fn skipped(
        &mut self,
        channel: &ChannelKey,
        connection: ConnectionId,
        (after, upto): (SeqNo, SeqNo),
        at: MonoTime,
    ) {
        let channel = channel.clone();
        self.caught_up_by(CaughtUp { channel, connection, after, upto, at, how: How::Trimmed });
    }

    fn caught_up_by(&mut self, row: CaughtUp) {
        if let Some(oldest) = push(&mut self.caught_up, row) {
            self.forgotten = Some(oldest.at);
        }
    }

    pub(super) fn ended(
        &mut self,
        channel: ChannelKey,
        user: UserId,
        start: Start,
        cursor: Cursor,
    ) {
        push(&mut self.ended, Ended { channel, user, start, cursor });
    }

    /// Rows of the ring that has most of them.
    pub(super) fn rows(&self) -> usize {
        let Self { arrivals, answers, caught_up, ended, .. } = self;
        arrivals.len().max(answers.len()).max(caught_up.len()).max(ended.len())
    }

    fn find<'a>(&'a self, channel: &ChannelKey, seq: SeqNo) -> Found<'a> {
        let arrival = self.arrivals.iter().rev().find(|arrival| {
            (arrival.first..=arrival.last).contains(&seq) && arrival.channel == *channel
        });
        let pages = self
            .caught_up
            .iter()
            .filter(|page| page.after < seq && seq <= page.upto && page.channel == *channel);
        let pages = pages.map(|page| (page.connection, (page.how, page.at))).collect();
        Found { arrival, pages, forgotten: self.forgotten }
    }
}

/// What the rings have of one entry.
struct Found<'a> {
    arrival: Option<&'a Arrival>,
    pages: BTreeMap<ConnectionId, (How, MonoTime)>,
    forgotten: Option<MonoTime>,
}

impl Found<'_> {
    fn how(&self, seq: SeqNo, start: Start, cursor: &Cursor) -> (How, Option<MonoTime>) {
        if seq <= start.after {
            return (How::Before, None);
        }
        if cursor.sent_upto < seq {
            return (How::Behind, None);
        }
        if let Some((how, at)) = self.pages.get(&cursor.connection) {
            return (*how, Some(*at));
        }
        // A page with the entry would have come after its announcement, and be remembered.
        let live = self.arrival.filter(|arrival| {
            start.at() <= arrival.at && self.forgotten.is_none_or(|upto| upto < arrival.at)
        });
        live.map_or((How::Sent, None), |arrival| (How::Live, Some(arrival.at)))
    }
}

impl Gateway {
    /// What is known of the entry. The window is of sessions' places.
    pub fn trace(
        &self,
        clocks: Clocks,
        (key, seq): (&ChannelKey, SeqNo),
        window: &Window<usize>,
    ) -> GatewayTrace {
        let found = self.trace.find(key, seq);
        let row = |user: Option<UserId>, start: Start, cursor: &Cursor| {
            let (how, at) = found.how(seq, start, cursor);
            DeliveryTrace {
                session: self.session_name(cursor.connection),
                connection: cursor.connection,
                user,
                how,
                at_ms: at.map(|at| clocks.wall_at(at)),
            }
        };
        let followers = self.channels.get(key).into_iter();
        let followers = followers.flat_map(|channel| channel.followers.with_starts());
        let followers = followers.filter(|(cursor, _)| {
            window.after.is_none_or(|after| cursor.connection.slot() > after)
        });
        let sessions = followers.map(|(cursor, start)| {
            let user = self.sessions.get(&cursor.connection).and_then(Session::user);
            row(user.map(|user| user.user.clone()), *start, cursor)
        });
        let sessions = window.page(sessions, |row| row.connection.slot());
        let ended = self.trace.ended.iter().rev().filter(|ended| ended.channel == *key);
        let ended = ended.map(|ended| row(Some(ended.user.clone()), ended.start, &ended.cursor));
        let ended = ended.filter(|row| matches!(row.how, How::Live | How::Log | How::Sent));
        let answers = self.trace.answers.iter();
        let answers = answers.filter(|answer| answer.seq == seq && answer.channel == *key);
        GatewayTrace {
            requests: answers.map(|answer| self.request_trace(clocks, answer)).collect(),
            arrived_at_ms: found.arrival.map(|arrival| clocks.wall_at(arrival.at)),
            written_after_us: found
                .arrival
                .and_then(|arrival| Some(Clocks::micros(arrival.written_at? - arrival.at))),
            sessions,
            ended: ended.take(ADMIN_ROWS_MAX).collect(),
        }
    }

    fn request_trace(&self, clocks: Clocks, answer: &Answer) -> RequestTrace {
        RequestTrace {
            session: self.session_name(answer.connection),
            asked_at_ms: clocks.wall_at(answer.asked_at),
            answered_after_us: Clocks::micros(answer.answered_at - answer.asked_at),
        }
    }

    /// Before the session's cursor in the channel is taken away.
    pub(super) fn trace_end(&mut self, connection: ConnectionId, user: UserId, key: &ChannelKey) {
        let Some(channel) = self.channels.get(key) else { return };
        if let Some((cursor, start)) = channel.followers.with_start(connection) {
            self.trace.ended(key.clone(), user, *start, cursor.clone());
        }
    }
}
