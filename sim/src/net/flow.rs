//! One direction of a connection: bytes on their way, bytes held back, and the window.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::link::{HostId, Path, Wire};
use crate::time::SimTime;

/// The first retransmission after a loss; each further one waits twice as long (Linux:
/// `TCP_RTO_MIN`, and `TCP_RTO_MAX` as the bound).
pub(super) const RTO_MIN: Duration = Duration::from_millis(200);
const RTO_MAX: Duration = Duration::from_secs(120);

/// When Linux gives up on a peer that acknowledges nothing (`tcp_retries2` = 15).
const GIVE_UP: Duration = Duration::from_millis(924_600);

/// What a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The last packet of the handshake: the server may accept.
    Establish,
    Data,
    Fin,
}

/// Something sent and not yet read.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) kind: Kind,
    pub(super) bytes: Bytes,
    /// [`SimTime::NEVER`] while it is held back.
    pub(super) deliver_at: SimTime,
    pub(super) seen: bool,
}

#[derive(Debug)]
struct Credit {
    at: SimTime,
    bytes: usize,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) from: HostId,
    pub(super) to: HostId,
    pub(super) queue: VecDeque<Segment>,
    /// The sender has closed its side.
    pub(super) fin_sent: bool,
    entity: u64,
    drawn: u64,
    /// Bytes that the sender may not send again yet.
    outstanding: usize,
    credits: VecDeque<Credit>,
    last_at: SimTime,
    last_credit_at: SimTime,
    busy_until: SimTime,
    /// Since when the sender retransmits into the void.
    stalled_since: Option<SimTime>,
    /// Since when acknowledgements have been missing while data still gets through.
    unacknowledged_since: Option<SimTime>,
    credits_held_since: Option<SimTime>,
    /// Whatever is sent vanishes, for good.
    void: bool,
}

/// The first time at or after `at` at which data stalled since `since` is sent again.
fn retransmission(since: SimTime, at: SimTime) -> SimTime {
    let (mut next, mut wait) = (since + RTO_MIN, RTO_MIN);
    while next < at {
        wait = (wait * 2).min(RTO_MAX);
        next = next + wait;
    }
    next
}

impl Flow {
    pub(super) fn new(from: HostId, to: HostId, entity: u64) -> Self {
        Self {
            from,
            to,
            queue: VecDeque::new(),
            fin_sent: false,
            entity,
            drawn: 0,
            outstanding: 0,
            credits: VecDeque::new(),
            last_at: SimTime::ZERO,
            last_credit_at: SimTime::ZERO,
            busy_until: SimTime::ZERO,
            stalled_since: None,
            unacknowledged_since: None,
            credits_held_since: None,
            void: false,
        }
    }

    fn path(&self) -> Path {
        (self.from, self.to)
    }

    /// Sends a segment; gives its time of arrival, [`SimTime::NEVER`] when it is held back.
    pub(super) fn send(
        &mut self,
        wire: &mut Wire,
        now: SimTime,
        kind: Kind,
        bytes: Bytes,
    ) -> SimTime {
        if kind == Kind::Data {
            self.outstanding += bytes.len();
            wire.counters.bytes_sent += bytes.len() as u64;
        }
        let deliver_at = if self.is_stalled(wire, now) {
            let since = self.unacknowledged_since.unwrap_or(now);
            self.stalled_since.get_or_insert(since);
            wire.hold(self.path(), bytes.len() as u64);
            SimTime::NEVER
        } else {
            self.schedule(wire, now, bytes.len())
        };
        self.queue.push_back(Segment { kind, bytes, deliver_at, seen: false });
        deliver_at
    }

    /// A sender without acknowledgements goes on for one timeout, then only repeats itself.
    fn is_stalled(&mut self, wire: &Wire, now: SimTime) -> bool {
        if self.void || self.stalled_since.is_some() || !wire.links.open(self.from, self.to) {
            return true;
        }
        if wire.links.open(self.to, self.from) {
            return false;
        }
        now.since(*self.unacknowledged_since.get_or_insert(now)) >= RTO_MIN
    }

    fn schedule(&mut self, wire: &mut Wire, sent_at: SimTime, bytes: usize) -> SimTime {
        let ordinal = self.drawn;
        self.drawn += 1;
        let path = self.path();
        let depart = wire.links.depart(path, sent_at.max(self.busy_until), bytes);
        self.busy_until = depart;
        let latency_us = wire.links.latency_us(path, "net.latency", self.entity, ordinal)
            + wire.links.late_us(path, self.entity, ordinal);
        self.last_at = self.last_at.max(depart.plus(latency_us));
        self.last_at
    }

    /// Bytes that may be sent.
    pub(super) fn room(&mut self, now: SimTime, window: usize) -> usize {
        while let Some(credit) = self.credits.front()
            && credit.at <= now
        {
            self.outstanding = self.outstanding.saturating_sub(credit.bytes);
            self.credits.pop_front();
        }
        window.saturating_sub(self.outstanding)
    }

    /// When the next room will be heard of, as far as is known.
    pub(super) fn room_at(&self) -> SimTime {
        self.credits.front().map_or(SimTime::NEVER, |credit| credit.at)
    }

    /// The reader has taken `bytes`; the sender hears of it after the way back.
    pub(super) fn credit(&mut self, wire: &Wire, now: SimTime, bytes: usize) {
        let at = if wire.links.open(self.to, self.from) && !self.void {
            self.schedule_credit(wire, now)
        } else {
            self.credits_held_since.get_or_insert(now);
            SimTime::NEVER
        };
        match self.credits.back_mut() {
            Some(last) if last.at == at => last.bytes += bytes,
            Some(_) | None => self.credits.push_back(Credit { at, bytes }),
        }
    }

    fn schedule_credit(&mut self, wire: &Wire, now: SimTime) -> SimTime {
        let path = (self.to, self.from);
        // Acknowledgements follow the clock of the data, so their draw shares its ordinal.
        let latency_us = wire.links.latency_us(path, "net.credit", self.entity, self.drawn);
        self.last_credit_at = self.last_credit_at.max(now.plus(latency_us));
        self.last_credit_at
    }

    /// The way to the reader was cut: what had not arrived is lost and will be sent again.
    pub(super) fn cut_forward(&mut self, wire: &mut Wire, at: SimTime) {
        let mut held_bytes = 0;
        let mut held = 0;
        self.last_at = SimTime::ZERO;
        for segment in &mut self.queue {
            if segment.deliver_at > at && segment.deliver_at != SimTime::NEVER {
                held_bytes += segment.bytes.len() as u64;
                held += 1;
                segment.deliver_at = SimTime::NEVER;
            }
            if segment.deliver_at != SimTime::NEVER {
                self.last_at = self.last_at.max(segment.deliver_at);
            }
        }
        self.busy_until = self.busy_until.min(at);
        if held > 0 {
            self.stalled_since.get_or_insert(at);
            wire.hold(self.path(), held_bytes);
        }
    }

    /// The connection is forgotten on the way: nothing gets through any more.
    pub(super) fn vanish(&mut self, wire: &mut Wire, at: SimTime) {
        self.void = true;
        self.cut_forward(wire, at);
        self.cut_reverse(at);
    }

    /// The path is wider or quicker from `at` on: what is still on it arrives no later for it.
    pub(super) fn hurry(&mut self, wire: &mut Wire, at: SimTime) {
        let mut queue = std::mem::take(&mut self.queue);
        let arrived =
            queue.iter().map(|segment| segment.deliver_at).filter(|arrives| *arrives <= at);
        self.last_at = arrived.max().unwrap_or_default();
        self.busy_until = self.busy_until.min(at);
        for segment in &mut queue {
            if segment.deliver_at > at && segment.deliver_at != SimTime::NEVER {
                let anew = self.schedule(wire, at, segment.bytes.len());
                segment.deliver_at = segment.deliver_at.min(anew);
                self.last_at = segment.deliver_at;
            }
        }
        self.queue = queue;
    }

    /// The way back was cut: acknowledgements and window updates are lost.
    pub(super) fn cut_reverse(&mut self, at: SimTime) {
        let in_flight = |segment: &Segment| segment.deliver_at > at;
        if self.queue.iter().any(in_flight) {
            self.unacknowledged_since.get_or_insert(at);
        }
        for credit in &mut self.credits {
            if credit.at > at {
                credit.at = SimTime::NEVER;
                self.credits_held_since.get_or_insert(at);
            }
        }
        self.last_credit_at = self.last_credit_at.min(at);
    }

    /// Nobody acknowledged what arrived at `at`: all of it will be sent again.
    pub(super) fn hold_all(&mut self, at: SimTime) {
        for segment in &mut self.queue {
            segment.deliver_at = SimTime::NEVER;
        }
        self.stalled_since.get_or_insert(at);
    }

    /// A path opened: what was held goes out at the next retransmission, as far as it can. What
    /// was held in a `burst` goes out at once.
    pub(super) fn heal(&mut self, wire: &mut Wire, at: SimTime, burst: bool) {
        if self.void {
            return;
        }
        let retransmission = |since, at| if burst { at } else { retransmission(since, at) };
        let forward = wire.links.open(self.from, self.to);
        let reverse = wire.links.open(self.to, self.from);
        if forward {
            let since = self.stalled_since.or(self.unacknowledged_since).unwrap_or(at);
            let again_at = retransmission(since, at);
            // Without acknowledgements only the head is repeated.
            let released = if reverse { usize::MAX } else { 1 };
            self.release(wire, again_at, released);
            if reverse {
                self.stalled_since = None;
                self.unacknowledged_since = None;
            }
        }
        if reverse && let Some(since) = self.credits_held_since.take() {
            let again_at = retransmission(since, at);
            let credit_at = self.schedule_credit(wire, again_at);
            for credit in &mut self.credits {
                credit.at = credit.at.min(credit_at);
            }
        }
    }

    fn release(&mut self, wire: &mut Wire, again_at: SimTime, count: usize) {
        let held = |segment: &Segment| segment.deliver_at == SimTime::NEVER;
        let mut queue = std::mem::take(&mut self.queue);
        for segment in queue.iter_mut().filter(|segment| held(segment)).take(count) {
            segment.deliver_at = self.schedule(wire, again_at, segment.bytes.len());
        }
        self.queue = queue;
    }

    /// When the sender gives up, if nothing changes.
    pub(super) fn gives_up_at(&self) -> SimTime {
        let waits = |segment: &Segment| {
            segment.kind != Kind::Establish && segment.deliver_at == SimTime::NEVER
        };
        match self.stalled_since {
            Some(since) if self.queue.iter().any(waits) => since + GIVE_UP,
            Some(_) | None => SimTime::NEVER,
        }
    }

    /// Drops every segment that `lost` names.
    pub(super) fn drop_segments(&mut self, wire: &mut Wire, lost: impl Fn(&Segment) -> bool) {
        self.queue.retain(|segment| {
            let lost = lost(segment);
            if lost {
                wire.counters.bytes_dropped += segment.bytes.len() as u64;
            }
            !lost
        });
    }

    /// The time at which everything sent so far has arrived.
    pub(super) fn arrived_at(&self) -> SimTime {
        self.last_at
    }

    /// Whatever is sent vanishes.
    pub(super) fn is_void(&self) -> bool {
        self.void
    }

    /// The entity that this flow's choices are named by.
    pub(super) fn entity(&self) -> u64 {
        self.entity
    }

    /// A latency of this flow's path, for a packet that is neither queued nor repeated.
    pub(super) fn packet_us(&mut self, wire: &Wire) -> u64 {
        let ordinal = self.drawn;
        self.drawn += 1;
        wire.links.latency_us((self.from, self.to), "net.latency", self.entity, ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmissions_double_from_the_stall() {
        let since = SimTime(1_000_000);
        let expected = [(0, 200), (200, 200), (201, 600), (601, 1_400), (3_001, 6_200)];
        for (waited_ms, again_ms) in expected {
            let at = since.plus(waited_ms * 1_000);
            assert_eq!(retransmission(since, at), since.plus(again_ms * 1_000), "{waited_ms}");
        }
    }

    #[test]
    fn retransmissions_never_wait_longer_than_two_minutes() {
        let at = SimTime(800_000_000);
        let next = retransmission(SimTime::ZERO, at);
        assert!(next.since(at) <= RTO_MAX);
        assert_eq!(retransmission(SimTime::ZERO, next.plus(1)).since(next), RTO_MAX);
    }
}
