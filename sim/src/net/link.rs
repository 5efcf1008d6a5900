//! The paths between hosts: which are cut, how long they take, and what went over them.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use seriatim_scenarios::choices::Choices;

use crate::journal::Journal;

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

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkShape {
    /// Added to the time of each segment.
    pub extra_us: u64,
    /// Bytes that each connection moves in a second; 0 for no bound.
    pub bytes_per_s: u64,
}

/// A host's own connections to itself take so long.
const LOOPBACK_US: u64 = 30;

/// The state of all paths.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) config: NetConfig,
    pub(super) choices: Choices,
    /// One-way cuts, with how many faults keep each.
    cuts: BTreeMap<(HostId, HostId), u32>,
    shapes: BTreeMap<(HostId, HostId), LinkShape>,
    off: BTreeSet<HostId>,
}

impl Links {
    pub(super) fn new(config: NetConfig, choices: Choices) -> Self {
        let (cuts, shapes, off) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { config, choices, cuts, shapes, off }
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

    pub(super) fn set_shape(&mut self, from: HostId, to: HostId, shape: LinkShape) {
        self.shapes.insert((from, to), shape);
    }

    /// Every cut and every shape's path.
    pub(super) fn faulty(&self) -> Vec<(HostId, HostId)> {
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
        (from, to): (HostId, HostId),
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
        let extra = self.shapes.get(&(from, to)).map_or(0, |shape| shape.extra_us);
        // One in 64; then each further doubling half as likely as the one before.
        let tail = if config.heavy_tail && draw.trailing_zeros() >= 6 {
            config.latency_us_max << (draw.trailing_zeros() - 5).min(6)
        } else {
            0
        };
        base + extra + tail
    }

    /// How long `bytes` keep the path busy.
    pub(super) fn transfer_us(&self, from: HostId, to: HostId, bytes: usize) -> u64 {
        match self.shapes.get(&(from, to)) {
            Some(shape) if shape.bytes_per_s > 0 => {
                (bytes as u64).saturating_mul(1_000_000) / shape.bytes_per_s
            }
            Some(_) | None => 0,
        }
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
    /// Keeps `waker` in `slot`. A task that loses its place there is woken to look again; one that
    /// comes back to its own place must not be, or it would never rest.
    pub(super) fn store(&mut self, slot: &mut Option<Waker>, waker: &Waker) {
        if slot.as_ref().is_none_or(|old| !old.will_wake(waker)) {
            self.wakes.extend(slot.replace(waker.clone()));
        }
    }
}
