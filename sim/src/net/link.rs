//! The paths between hosts: which are cut, how long they take, and what went over them.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use seriatim_scenarios::choices::Choices;

use super::flow::RTO_MIN;
use crate::journal::Journal;
use crate::time::SimTime;

/// A host of the plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostId(pub(super) u32);

/// How the network behaves while nothing is wrong with it.
#[derive(Debug, Clone, Copy)]
pub struct NetConfig {
    /// The shortest time that a segment takes, in microseconds.
    pub latency_us_min: u64,
    /// The longest time that a segment takes, but for the tail.
    pub latency_us_max: u64,
    /// One segment in 64 takes 2 to 64 times the longest time.
    pub heavy_tail: bool,
    /// One read or write in 8 moves fewer bytes than it could.
    pub short_io: bool,
    /// Bytes that a connection holds in each direction: send and receive buffer together.
    pub window_bytes: usize,
    /// Connections that a listener keeps until they are accepted.
    pub backlog: usize,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            latency_us_min: 500,
            latency_us_max: 5_000,
            heavy_tail: true,
            short_io: true,
            window_bytes: 64 * 1024,
            backlog: 128,
        }
    }
}

/// What has happened on the network, to tell whether a fault really bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetCounters {
    pub connects: u64,
    pub established: u64,
    pub refused: u64,
    /// Connection attempts that a cut, a dead host or a full backlog swallowed.
    pub syns_lost: u64,
    pub bytes_sent: u64,
    pub bytes_delivered: u64,
    /// Bytes that a cut or a dead host held back.
    pub bytes_held: u64,
    /// Bytes that were sent and will never be read.
    pub bytes_dropped: u64,
    /// Ends of connections that were told of a reset.
    pub resets: u64,
    /// Ends of connections that gave up on a silent peer.
    pub timeouts: u64,
    /// Writes that waited for room.
    pub writes_blocked: u64,
    /// Reads and writes that were cut short.
    pub short_transfers: u64,
}

/// What has happened on one path, one way, to tell whether a fault of it really bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathCounters {
    pub syns_lost: u64,
    /// Bytes that a cut or a dead host held back.
    pub bytes_held: u64,
    /// Packets that were lost and sent again.
    pub packets_lost: u64,
    /// Segments that a shape made late.
    pub segments_slowed: u64,
}

impl PathCounters {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            syns_lost: self.syns_lost + other.syns_lost,
            bytes_held: self.bytes_held + other.bytes_held,
            packets_lost: self.packets_lost + other.packets_lost,
            segments_slowed: self.segments_slowed + other.segments_slowed,
        }
    }
}

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkShape {
    /// Added to the time of each segment.
    pub extra_us: u64,
    /// Bytes that the path moves in a second, all connections together; 0 for no bound.
    pub bytes_per_s: u64,
    /// Of 100 packets so many are lost, and sent again.
    pub loss_percent: u64,
}

impl LinkShape {
    /// Both at once.
    fn and(self, other: Self) -> Self {
        let bytes_per_s = match (self.bytes_per_s, other.bytes_per_s) {
            (0, bound) | (bound, 0) => bound,
            (one, other) => one.min(other),
        };
        Self {
            extra_us: self.extra_us + other.extra_us,
            bytes_per_s,
            loss_percent: self.loss_percent.max(other.loss_percent),
        }
    }
}

/// A packet that is lost more often in a row than this gets through: a connection that makes no
/// progress at all is what cuts are for.
const LOSSES_MAX: u64 = 6;

/// From one host to another.
pub(super) type Path = (HostId, HostId);

/// A host's own connections to itself take so long.
const LOOPBACK_US: u64 = 30;

/// The state of all paths.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) config: NetConfig,
    pub(super) choices: Choices,
    /// One-way cuts, with how many faults keep each.
    cuts: BTreeMap<Path, u32>,
    shapes: BTreeMap<Path, Vec<LinkShape>>,
    /// Until when a narrow path is taken.
    busy: BTreeMap<Path, SimTime>,
    counters: BTreeMap<Path, PathCounters>,
    off: BTreeSet<HostId>,
}

impl Links {
    pub(super) fn new(config: NetConfig, choices: Choices) -> Self {
        let (cuts, shapes, busy) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (counters, off) = (BTreeMap::new(), BTreeSet::new());
        Self { config, choices, cuts, shapes, busy, counters, off }
    }

    /// Whether a packet from `from` reaches a live kernel at `to`.
    pub(super) fn open(&self, from: HostId, to: HostId) -> bool {
        let cut = from != to && self.cuts.contains_key(&(from, to));
        !cut && !self.off.contains(&to) && !self.off.contains(&from)
    }

    /// Adds a cut; true when the path was not cut before.
    pub(super) fn cut(&mut self, from: HostId, to: HostId) -> bool {
        let cuts = self.cuts.entry((from, to)).or_default();
        *cuts += 1;
        *cuts == 1
    }

    /// Takes one cut away, or all; true when the path was cut and is not any more.
    pub(super) fn heal(&mut self, from: HostId, to: HostId, all: bool) -> bool {
        let Some(cuts) = self.cuts.get_mut(&(from, to)) else {
            return false;
        };
        *cuts -= 1;
        let healed = all || *cuts == 0;
        if healed {
            self.cuts.remove(&(from, to));
        }
        healed
    }

    /// Adds a shape; shapes of one path add up.
    pub(super) fn add_shape(&mut self, path: Path, shape: LinkShape) {
        self.shapes.entry(path).or_default().push(shape);
    }

    /// Takes one such shape away, or all; true when there was one.
    pub(super) fn remove_shape(&mut self, path: Path, shape: Option<LinkShape>) -> bool {
        let Some(shapes) = self.shapes.get_mut(&path) else {
            return false;
        };
        let before = shapes.len();
        match shape {
            Some(shape) => {
                let at = shapes.iter().position(|held| *held == shape);
                at.map(|at| shapes.remove(at));
            }
            None => shapes.clear(),
        }
        let removed = shapes.len() < before;
        if shapes.is_empty() {
            self.shapes.remove(&path);
        }
        self.busy.remove(&path);
        removed
    }

    fn shape(&self, path: Path) -> LinkShape {
        let shapes = self.shapes.get(&path).into_iter().flatten();
        shapes.fold(LinkShape::default(), |all, shape| all.and(*shape))
    }

    /// What has happened on `path`.
    pub(super) fn counters(&self, path: Path) -> PathCounters {
        self.counters.get(&path).copied().unwrap_or_default()
    }

    fn count(&mut self, path: Path, count: impl FnOnce(&mut PathCounters)) {
        count(self.counters.entry(path).or_default());
    }

    /// Every cut and every shape's path.
    pub(super) fn faulty(&self) -> Vec<Path> {
        self.cuts.keys().chain(self.shapes.keys()).copied().collect()
    }

    pub(super) fn set_power(&mut self, host: HostId, on: bool) {
        if on {
            self.off.remove(&host);
        } else {
            self.off.insert(host);
        }
    }

    pub(super) fn is_off(&self, host: HostId) -> bool {
        self.off.contains(&host)
    }

    /// How long a segment is on its way. The draw is named by `site`, `entity` and `ordinal`.
    pub(super) fn latency_us(
        &self,
        (from, to): Path,
        site: &str,
        entity: u64,
        ordinal: u64,
    ) -> u64 {
        if from == to {
            return LOOPBACK_US;
        }
        let config = &self.config;
        let draw = self.choices.value(site, entity, ordinal);
        let span = config.latency_us_max.saturating_sub(config.latency_us_min) + 1;
        let base = config.latency_us_min + (draw >> 16) % span;
        let extra = self.shape((from, to)).extra_us;
        // One in 64; then each further doubling half as likely as the one before.
        let tail = if config.heavy_tail && draw.trailing_zeros() >= 6 {
            config.latency_us_max << (draw.trailing_zeros() - 5).min(6)
        } else {
            0
        };
        base + extra + tail
    }

    /// When `bytes` that are ready at `ready_at` have left on `path`, behind all that a narrow
    /// path still has to move.
    pub(super) fn depart(&mut self, path: Path, ready_at: SimTime, bytes: usize) -> SimTime {
        let bytes_per_s = self.shape(path).bytes_per_s;
        if bytes_per_s == 0 {
            return ready_at;
        }
        let transfer_us = (bytes as u64).saturating_mul(1_000_000) / bytes_per_s;
        let free_at = self.busy.get(&path).copied().unwrap_or_default();
        let depart = ready_at.max(free_at).plus(transfer_us);
        self.busy.insert(path, depart);
        if depart > ready_at {
            self.count(path, |counters| counters.segments_slowed += 1);
        }
        depart
    }

    /// How long a packet is late for the retransmissions that losses cost it.
    pub(super) fn late_us(&mut self, path: Path, entity: u64, ordinal: u64) -> u64 {
        if self.shape(path).extra_us > 0 {
            self.count(path, |counters| counters.segments_slowed += 1);
        }
        let losses = self.losses(path, "net.loss", entity, ordinal);
        // The first retransmission comes after one timeout, each further one after twice as long.
        u64::try_from(RTO_MIN.as_micros()).unwrap_or(u64::MAX) * ((1 << losses) - 1)
    }

    /// How often in a row a packet is lost.
    pub(super) fn losses(&mut self, path: Path, site: &str, entity: u64, ordinal: u64) -> u64 {
        let percent = self.shape(path).loss_percent;
        if percent == 0 {
            return 0;
        }
        let lost = |attempt: &u64| {
            self.choices.value(site, entity, ordinal * (LOSSES_MAX + 1) + attempt) % 100 < percent
        };
        let losses = (0..LOSSES_MAX).take_while(lost).count() as u64;
        self.count(path, |counters| counters.packets_lost += losses);
        losses
    }

    /// How many of `bytes` one transfer moves.
    pub(super) fn short(&self, site: &str, entity: u64, ordinal: u64, bytes: usize) -> usize {
        let draw = self.choices.value(site, entity, ordinal);
        if !self.config.short_io || bytes < 2 || draw.trailing_zeros() < 3 {
            return bytes;
        }
        1 + usize::try_from((draw >> 8) % (bytes as u64)).unwrap_or(0)
    }
}

/// What connections need of the plane besides each other.
pub(super) struct Wire {
    pub(super) links: Links,
    pub(super) journal: Journal,
    pub(super) counters: NetCounters,
    /// Woken once the plane is unlocked: waking or dropping a waker may run foreign code.
    pub(super) wakes: Vec<Waker>,
}

impl Wire {
    /// A connection attempt was swallowed on `path`.
    pub(super) fn lose_syn(&mut self, path: Path) {
        self.counters.syns_lost += 1;
        self.links.count(path, |counters| counters.syns_lost += 1);
    }

    /// `bytes` are held back on `path`.
    pub(super) fn hold(&mut self, path: Path, bytes: u64) {
        self.counters.bytes_held += bytes;
        self.links.count(path, |counters| counters.bytes_held += bytes);
    }

    /// Keeps `waker` in `slot`. A task that loses its place there is woken to look again; one that
    /// comes back to its own place must not be, or it would never rest.
    pub(super) fn store(&mut self, slot: &mut Option<Waker>, waker: &Waker) {
        if slot.as_ref().is_none_or(|old| !old.will_wake(waker)) {
            self.wakes.extend(slot.replace(waker.clone()));
        }
    }
}
