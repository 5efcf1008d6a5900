//! One connection: two ends, two flows, and what each end's process may see of them.

use std::io;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use tokio::io::ReadBuf;

use super::flow::{Flow, Kind, Segment};
use super::link::{HostId, Wire};
use crate::journal::Field;
use crate::time::SimTime;

/// The bytes of one segment at most: what segmentation offload hands over in one go.
const SEGMENT_BYTES_MAX: usize = 16 * 1024;

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What a host's kernel knows of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// In the accept queue.
    Waiting,
    /// A process holds it.
    Open,
    /// No process holds it; the kernel still delivers what was written.
    Closed,
    /// Forgotten: every packet for it is answered with a reset.
    Gone,
}

#[derive(Debug)]
pub(super) struct Failure {
    at: SimTime,
    kind: io::ErrorKind,
    told: bool,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) host: HostId,
    pub(super) name: Arc<str>,
    pub(super) state: State,
    failure: Option<Failure>,
    fin_read: bool,
    write_blocked: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    reads: u64,
    writes: u64,
}

impl End {
    pub(super) fn new(host: HostId, name: Arc<str>, state: State) -> Self {
        Self {
            host,
            name,
            state,
            failure: None,
            fin_read: false,
            write_blocked: false,
            reader: None,
            writer: None,
            reads: 0,
            writes: 0,
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Open | State::Waiting)
    }

    fn fails_at(&self) -> SimTime {
        self.failure.as_ref().map_or(SimTime::NEVER, |failure| failure.at)
    }

    fn wake_reader(&mut self, wire: &mut Wire) {
        wire.wakes.extend(self.reader.take());
    }

    fn wake_both(&mut self, wire: &mut Wire) {
        self.wake_reader(wire);
        wire.wakes.extend(self.writer.take());
    }
}

/// Two values, one for each side.
#[derive(Debug)]
pub(super) struct Both<T> {
    pub(super) client: T,
    pub(super) server: T,
}

impl<T> Both<T> {
    pub(super) fn of(&self, side: Side) -> &T {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    pub(super) fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

/// What a read or write came to.
pub(super) enum Step<T> {
    Done(io::Result<T>),
    /// Nothing before that time, unless the task is woken.
    Wait(SimTime),
}

/// A connection of the plane.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) client_port: u16,
    pub(super) ends: Both<End>,
    /// The bytes that each side sends.
    pub(super) flows: Both<Flow>,
}

impl Connection {
    /// Whether no process can see anything of it any more.
    pub(super) fn is_over(&self) -> bool {
        !self.ends.client.is_open() && !self.ends.server.is_open()
    }

    pub(super) fn is_between(&self, a: HostId, b: HostId) -> bool {
        let (client, server) = (self.ends.client.host, self.ends.server.host);
        (client, server) == (a, b) || (client, server) == (b, a)
    }

    /// Reads what has arrived at `side`.
    pub(super) fn read(
        &mut self,
        wire: &mut Wire,
        side: Side,
        now: SimTime,
        buffer: &mut ReadBuf<'_>,
        waker: &Waker,
    ) -> Step<()> {
        self.give_up(wire, side, now);
        let gives_up_at = self.flows.of(side).gives_up_at();
        let end = self.ends.of_mut(side);
        let flow = self.flows.of_mut(side.other());
        if end.fin_read || buffer.remaining() == 0 {
            return Step::Done(Ok(()));
        }
        let mut arrived = 0;
        for segment in flow.queue.iter_mut().take_while(|segment| segment.deliver_at <= now) {
            if !segment.seen {
                segment.seen = true;
                note_delivered(wire, self.id, &end.name, now, segment);
            }
            arrived += segment.bytes.len();
        }
        if arrived > 0 {
            let wanted = arrived.min(buffer.remaining());
            let take = wire.links.short("net.short_read", flow.entity(), end.reads, wanted);
            end.reads += 1;
            wire.counters.short_transfers += u64::from(take < wanted);
            take_bytes(flow, buffer, take);
            flow.credit(wire, now, take);
            let sender = self.ends.of_mut(side.other());
            wire.wakes.extend(sender.writer.take());
            return Step::Done(Ok(()));
        }
        let next_at = flow.queue.front().map_or(SimTime::NEVER, |segment| segment.deliver_at);
        if next_at <= now {
            // Nothing but the FIN carries no bytes once the handshake is over.
            flow.queue.clear();
            end.fin_read = true;
            return Step::Done(Ok(()));
        }
        let fails_at = end.fails_at();
        match &mut end.failure {
            Some(failure) if failure.at <= now => Step::Done(if failure.told {
                Ok(())
            } else {
                failure.told = true;
                Err(failure.kind.into())
            }),
            Some(_) | None => {
                wire.store(&mut end.reader, waker);
                Step::Wait(next_at.min(fails_at).min(gives_up_at))
            }
        }
    }

    /// Writes as much of `bytes` as there is room for.
    pub(super) fn write(
        &mut self,
        wire: &mut Wire,
        side: Side,
        now: SimTime,
        bytes: &[u8],
        waker: &Waker,
    ) -> Step<usize> {
        self.give_up(wire, side, now);
        if let Some(error) = self.write_error(side, now) {
            return Step::Done(Err(error));
        }
        if bytes.is_empty() {
            return Step::Done(Ok(0));
        }
        let window = wire.links.config.window_bytes;
        let end = self.ends.of_mut(side);
        let flow = self.flows.of_mut(side);
        let room = flow.room(now, window);
        // As Linux: once full, a socket is writable again when a third of it is free.
        if room == 0 || (end.write_blocked && room < window / 3) {
            if !end.write_blocked {
                wire.counters.writes_blocked += 1;
            }
            end.write_blocked = true;
            wire.store(&mut end.writer, waker);
            let until = flow.room_at().min(end.fails_at()).min(flow.gives_up_at());
            return Step::Wait(until);
        }
        end.write_blocked = false;
        let wanted = room.min(bytes.len());
        let take = wire.links.short("net.short_write", flow.entity(), end.writes, wanted);
        end.writes += 1;
        wire.counters.short_transfers += u64::from(take < wanted);
        let taken = bytes.get(..take).unwrap_or(bytes);
        for chunk in taken.chunks(SEGMENT_BYTES_MAX) {
            self.send(wire, side, now, Kind::Data, Bytes::copy_from_slice(chunk));
        }
        Step::Done(Ok(take))
    }

    fn write_error(&mut self, side: Side, now: SimTime) -> Option<io::Error> {
        let fin_arrived = self.fin_arrived(side, now);
        let end = self.ends.of_mut(side);
        match &mut end.failure {
            Some(failure) if failure.at <= now => {
                let kind = if failure.told || fin_arrived {
                    io::ErrorKind::BrokenPipe
                } else {
                    failure.kind
                };
                failure.told = true;
                Some(kind.into())
            }
            Some(_) | None if self.flows.of(side).fin_sent => {
                Some(io::ErrorKind::BrokenPipe.into())
            }
            Some(_) | None => None,
        }
    }

    fn fin_arrived(&self, side: Side, now: SimTime) -> bool {
        let arrived = |segment: &Segment| segment.kind == Kind::Fin && segment.deliver_at <= now;
        self.ends.of(side).fin_read || self.flows.of(side.other()).queue.iter().any(arrived)
    }

    /// Sends from `side`; the receiver's kernel answers when no process is left there.
    pub(super) fn send(
        &mut self,
        wire: &mut Wire,
        side: Side,
        now: SimTime,
        kind: Kind,
        bytes: Bytes,
    ) {
        let name = Arc::clone(&self.ends.of(side).name);
        let flow = self.flows.of_mut(side);
        let was_idle = flow.queue.is_empty();
        let deliver_at = flow.send(wire, now, kind, bytes.clone());
        wire.journal.record(
            now,
            &name,
            if kind == Kind::Data { "send" } else { "send_control" },
            &[
                Field::Number("connection", self.id),
                Field::Number("arrives", deliver_at.0),
                Field::Bytes("bytes", &bytes),
            ],
        );
        if was_idle {
            self.ends.of_mut(side.other()).wake_reader(wire);
        }
        self.answer_orphans(wire, side.other());
    }

    /// Closes `side`'s sending half; the other end reads the end of the stream.
    pub(super) fn shutdown(&mut self, wire: &mut Wire, side: Side, now: SimTime) -> io::Result<()> {
        if self.ends.of(side).fails_at() <= now {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if !self.flows.of(side).fin_sent {
            self.flows.of_mut(side).fin_sent = true;
            self.send(wire, side, now, Kind::Fin, Bytes::new());
        }
        Ok(())
    }

    /// The process lets go of `side`: a reset when it left bytes unread, otherwise a FIN.
    pub(super) fn close(&mut self, wire: &mut Wire, side: Side, now: SimTime) {
        if !self.ends.of(side).is_open() {
            return;
        }
        if self.ends.of(side).fails_at() <= now {
            self.forget(wire, side);
            return;
        }
        let unread = |segment: &Segment| segment.kind == Kind::Data && segment.deliver_at <= now;
        if self.flows.of(side.other()).queue.iter().any(unread) {
            self.abort(wire, side, now);
            return;
        }
        if !self.flows.of(side).fin_sent {
            self.flows.of_mut(side).fin_sent = true;
            self.send(wire, side, now, Kind::Fin, Bytes::new());
        }
        self.ends.of_mut(side).state = State::Closed;
        self.answer_orphans(wire, side);
    }

    /// Ends the connection with a reset from `side`, which loses what `side` has not got through.
    pub(super) fn abort(&mut self, wire: &mut Wire, side: Side, now: SimTime) {
        self.forget(wire, side);
        self.send_reset(wire, side, now);
    }

    /// `side`'s kernel forgets the connection and what it still had to send.
    pub(super) fn forget(&mut self, wire: &mut Wire, side: Side) {
        self.ends.of_mut(side).state = State::Gone;
        let held = |segment: &Segment| segment.deliver_at == SimTime::NEVER;
        self.flows.of_mut(side).drop_segments(wire, held);
    }

    /// A reset packet goes from `side` to the other end; a cut swallows it.
    fn send_reset(&mut self, wire: &mut Wire, side: Side, now: SimTime) {
        let flow = self.flows.of_mut(side);
        if flow.is_void() || !wire.links.open(flow.from, flow.to) {
            return;
        }
        let at = now.plus(flow.packet_us(wire)).max(flow.arrived_at());
        self.fail(wire, side.other(), at, io::ErrorKind::ConnectionReset);
    }

    /// The connection ends for `side` at `at`.
    pub(super) fn fail(&mut self, wire: &mut Wire, side: Side, at: SimTime, kind: io::ErrorKind) {
        let end = self.ends.of_mut(side);
        if end.fails_at() <= at {
            return;
        }
        if !end.is_open() {
            end.state = State::Gone;
            return;
        }
        end.failure = Some(Failure { at, kind, told: false });
        end.wake_both(wire);
        let name = Arc::clone(&end.name);
        if kind == io::ErrorKind::TimedOut {
            wire.counters.timeouts += 1;
        } else {
            wire.counters.resets += 1;
        }
        let fields = [Field::Number("connection", self.id), Field::Number("arrives", at.0)];
        wire.journal.record(at, &name, "fail", &fields);
    }

    /// Packets that arrive at a `side` which no process holds are answered with a reset.
    pub(super) fn answer_orphans(&mut self, wire: &mut Wire, side: Side) {
        let state = self.ends.of(side).state;
        if matches!(state, State::Open | State::Waiting)
            || wire.links.is_off(self.ends.of(side).host)
        {
            return;
        }
        let answered = |segment: &&Segment| {
            segment.deliver_at != SimTime::NEVER
                && (segment.kind == Kind::Data || state == State::Gone)
        };
        let arrived_at =
            self.flows.of(side.other()).queue.iter().find(answered).map(|s| s.deliver_at);
        let Some(at) = arrived_at else {
            return;
        };
        let flow = self.flows.of_mut(side.other());
        if wire.links.open(flow.to, flow.from) {
            flow.drop_segments(wire, |_| true);
            self.abort(wire, side, at);
        } else {
            // The answer is lost, so the sender repeats itself until one gets through.
            flow.hold_all(at);
        }
    }

    /// After 15 unanswered retransmissions the kernel tells the process.
    fn give_up(&mut self, wire: &mut Wire, side: Side, now: SimTime) {
        let at = self.flows.of(side).gives_up_at();
        if at <= now {
            let held = |segment: &Segment| segment.deliver_at == SimTime::NEVER;
            self.flows.of_mut(side).drop_segments(wire, held);
            self.fail(wire, side, at, io::ErrorKind::TimedOut);
        }
    }

    /// Resets both ends at `at`, as a middlebox does; what is on its way is lost.
    pub(super) fn reset_both(&mut self, wire: &mut Wire, at: SimTime) {
        for side in [Side::Client, Side::Server] {
            let in_flight = |segment: &Segment| segment.deliver_at > at;
            self.flows.of_mut(side).drop_segments(wire, in_flight);
            self.fail(wire, side, at, io::ErrorKind::ConnectionReset);
        }
    }

    /// Stops carrying anything for good; neither end is told.
    pub(super) fn vanish(&mut self, wire: &mut Wire, at: SimTime) {
        for side in [Side::Client, Side::Server] {
            self.flows.of_mut(side).vanish(wire, at);
        }
    }

    /// Every task that waits looks again: times may have changed.
    pub(super) fn wake_all(&mut self, wire: &mut Wire) {
        self.ends.client.wake_both(wire);
        self.ends.server.wake_both(wire);
    }
}

fn note_delivered(wire: &mut Wire, id: u64, name: &str, now: SimTime, segment: &Segment) {
    wire.counters.bytes_delivered += segment.bytes.len() as u64;
    let fields = [Field::Number("connection", id), Field::Bytes("bytes", &segment.bytes)];
    let kind = if segment.kind == Kind::Data { "deliver" } else { "deliver_control" };
    wire.journal.record(now, name, kind, &fields);
}

fn take_bytes(flow: &mut Flow, buffer: &mut ReadBuf<'_>, mut take: usize) {
    while take > 0
        && let Some(segment) = flow.queue.front_mut()
    {
        let part = segment.bytes.split_to(take.min(segment.bytes.len()));
        buffer.put_slice(&part);
        take -= part.len();
        if segment.bytes.is_empty() {
            flow.queue.pop_front();
        }
    }
}
