//! What can go wrong on the network, and with the kernels on it.
//!
//! Every fault happens at a time that all hosts have reached: call these between two steps of the
//! simulation, with the time that the steps have come to.

use super::connection::{Connection, Side};
use super::link::{HostId, LinkShape, Path, PathCounters, Wire};
use super::plane::{Inner, Plane};
use crate::journal::Field;
use crate::time::SimTime;

/// How much of a path's cuts is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heal {
    /// One. What was held waits for its next retransmission, or comes in a burst.
    One {
        burst: bool,
    },
    All,
}

const SIDES: [Side; 2] = [Side::Client, Side::Server];

impl Plane {
    /// Cuts the path from `from` to `to`. What is on its way is held back and sent again after
    /// [`Plane::heal`]; connects find no answer. Cuts of the same path add up.
    pub fn cut(&self, at: SimTime, from: &str, to: &str) {
        self.with(|inner| {
            let (from, to) = (inner.host(from), inner.host(to));
            inner.cut(at, from, to);
        });
    }

    /// Takes one cut of the path from `from` to `to` away.
    pub fn heal(&self, at: SimTime, from: &str, to: &str) {
        self.with(|inner| {
            let (from, to) = (inner.host(from), inner.host(to));
            inner.heal(at, from, to, Heal::One { burst: false });
        });
    }

    /// As [`Plane::heal`], but what was held back arrives in one burst.
    pub fn unclog(&self, at: SimTime, from: &str, to: &str) {
        self.with(|inner| {
            let (from, to) = (inner.host(from), inner.host(to));
            inner.heal(at, from, to, Heal::One { burst: true });
        });
    }

    /// Cuts both ways between `a` and `b`.
    pub fn cut_between(&self, at: SimTime, a: &str, b: &str) {
        self.cut(at, a, b);
        self.cut(at, b, a);
    }

    /// Takes one cut of each way between `a` and `b` away.
    pub fn heal_between(&self, at: SimTime, a: &str, b: &str) {
        self.heal(at, a, b);
        self.heal(at, b, a);
    }

    /// Cuts `host` off from every other host, both ways.
    pub fn isolate(&self, at: SimTime, host: &str) {
        for other in self.others(host) {
            self.cut_between(at, host, &other);
        }
    }

    /// Takes back one [`Plane::isolate`] of `host`.
    pub fn rejoin(&self, at: SimTime, host: &str) {
        for other in self.others(host) {
            self.heal_between(at, host, &other);
        }
    }

    /// Takes every cut and every slowness away.
    pub fn heal_all(&self, at: SimTime) {
        self.with(|inner| {
            for (from, to) in inner.wire.links.faulty() {
                inner.heal(at, from, to, Heal::All);
                inner.unslow(at, (from, to), None);
            }
        });
    }

    /// Makes the path from `from` to `to` slow, for what is sent from `at` on. Shapes of the same
    /// path add up.
    pub fn slow(&self, at: SimTime, from: &str, to: &str, shape: LinkShape) {
        self.with(|inner| {
            let (from, to_id) = (inner.host(from), inner.host(to));
            inner.wire.links.add_shape((from, to_id), shape);
            let fields = [
                Field::Text("to", to),
                Field::Number("extra_us", shape.extra_us),
                Field::Number("bytes_per_s", shape.bytes_per_s),
                Field::Number("loss_percent", shape.loss_percent),
            ];
            inner.record(at, from, "slow", &fields);
        });
    }

    /// Takes back one [`Plane::slow`] of the same shape; what is on its way arrives no later for it.
    pub fn unslow(&self, at: SimTime, from: &str, to: &str, shape: LinkShape) {
        self.with(|inner| {
            let path = (inner.host(from), inner.host(to));
            inner.unslow(at, path, Some(shape));
        });
    }

    /// What has happened on the path from `from` to `to`.
    pub fn path(&self, from: &str, to: &str) -> PathCounters {
        self.with(|inner| inner.wire.links.counters((inner.host(from), inner.host(to))))
    }

    /// Lets every connection between `a` and `b` stop carrying for good, without a word to either
    /// end. Gives their number.
    pub fn forget_between(&self, at: SimTime, a: &str, b: &str) -> u64 {
        self.with(|inner| {
            let (a, b) = (inner.host(a), inner.host(b));
            let mut count = 0;
            inner.on_each(|connection, wire| {
                if connection.is_between(a, b) {
                    count += 1;
                    connection.vanish(wire, at);
                }
            });
            inner.record(at, a, "forget", &[Field::Number("connections", count)]);
            count
        })
    }

    /// Resets every connection between `a` and `b` at both ends; what is on its way is lost.
    /// Gives their number.
    pub fn reset_between(&self, at: SimTime, a: &str, b: &str) -> u64 {
        self.with(|inner| {
            let (a, b) = (inner.host(a), inner.host(b));
            inner.reset_where(at, a, |connection| connection.is_between(a, b))
        })
    }

    /// Resets every connection of `host` at both ends. Gives their number.
    pub fn reset_host(&self, at: SimTime, host: &str) -> u64 {
        self.with(|inner| {
            let host = inner.host(host);
            inner.reset_where(at, host, |connection| side_of(connection, host).is_some())
        })
    }

    /// The process of `host` dies and its kernel closes its sockets.
    pub(crate) fn kill_process(&self, at: SimTime, host: &str) {
        self.with(|inner| {
            let host = inner.host(host);
            inner.drop_listeners(host, |inner, port, id| {
                inner.close_listener(host, port, id, at);
            });
            inner.on_each(|connection, wire| {
                for side in sides_of(connection, host) {
                    connection.close(wire, side, at);
                }
            });
        });
    }

    /// `host` falls silent and its kernel forgets everything.
    pub(crate) fn power_off(&self, at: SimTime, host: &str) {
        self.with(|inner| {
            let host = inner.host(host);
            inner.wire.links.set_power(host, false);
            inner.drop_listeners(host, |inner, port, _| {
                inner.listeners.remove(&(host, port));
            });
            inner.on_each(|connection, wire| {
                for side in sides_of(connection, host) {
                    connection.forget(wire, side);
                    connection.flows.of_mut(side.other()).cut_forward(wire, at);
                    connection.flows.of_mut(side).cut_reverse(at);
                }
            });
        });
    }

    /// A process starts on `host`, after the power came back if it was gone.
    pub(crate) fn boot(&self, at: SimTime, host: &str) {
        self.with(|inner| {
            let host = inner.host(host);
            if !inner.wire.links.is_off(host) {
                return;
            }
            inner.wire.links.set_power(host, true);
            inner.on_each(|connection, wire| {
                for side in sides_of(connection, host) {
                    connection.flows.of_mut(side.other()).heal(wire, at, false);
                    connection.answer_orphans(wire, side);
                    connection.wake_all(wire);
                }
            });
        });
    }

    fn others(&self, host: &str) -> Vec<String> {
        self.with(|inner| {
            inner
                .names
                .keys()
                .filter(|name| &***name != host)
                .map(|name| name.to_string())
                .collect()
        })
    }
}

/// The end of `connection` that `host` has, if it has one.
fn side_of(connection: &Connection, host: HostId) -> Option<Side> {
    SIDES.into_iter().find(|side| connection.ends.of(*side).host == host)
}

/// Both ends, for a connection of a host to itself.
fn sides_of(connection: &Connection, host: HostId) -> Vec<Side> {
    SIDES.into_iter().filter(|side| connection.ends.of(*side).host == host).collect()
}

impl Inner {
    fn cut(&mut self, at: SimTime, from: HostId, to: HostId) {
        let name = self.name(to);
        self.record(at, from, "cut", &[Field::Text("to", &name)]);
        if self.wire.links.cut(from, to) {
            self.on_path(from, to, |connection, wire, side| {
                connection.flows.of_mut(side).cut_forward(wire, at);
                connection.flows.of_mut(side.other()).cut_reverse(at);
            });
        }
    }

    fn heal(&mut self, at: SimTime, from: HostId, to: HostId, heal: Heal) {
        if self.wire.links.heal(from, to, heal == Heal::All) {
            let burst = heal == Heal::One { burst: true };
            let name = self.name(to);
            self.record(at, from, "heal", &[Field::Text("to", &name)]);
            self.on_path(from, to, |connection, wire, side| {
                for flow_of in SIDES {
                    connection.flows.of_mut(flow_of).heal(wire, at, burst);
                    connection.answer_orphans(wire, flow_of);
                }
                connection.wake_all(wire);
                debug_assert_eq!(connection.ends.of(side).host, from, "the path starts at `from`");
            });
        }
    }

    fn unslow(&mut self, at: SimTime, path: Path, shape: Option<LinkShape>) {
        if self.wire.links.remove_shape(path, shape) {
            let name = self.name(path.1);
            self.record(at, path.0, "unslow", &[Field::Text("to", &name)]);
            self.on_path(path.0, path.1, |connection, wire, side| {
                connection.flows.of_mut(side).hurry(wire, at);
                connection.wake_all(wire);
            });
        }
    }

    /// Works on every connection whose `side` sends from `from` to `to`, and wakes its tasks.
    fn on_path(
        &mut self,
        from: HostId,
        to: HostId,
        mut work: impl FnMut(&mut Connection, &mut Wire, Side),
    ) {
        self.on_each(|connection, wire| {
            for side in SIDES {
                let flow = connection.flows.of(side);
                if (flow.from, flow.to) == (from, to) {
                    work(connection, wire, side);
                }
            }
        });
        let listeners = self.listeners.iter_mut();
        for (_, listening) in listeners.filter(|((host, _), _)| *host == to || *host == from) {
            self.wire.wakes.extend(listening.waker.take());
        }
    }

    fn reset_where(&mut self, at: SimTime, host: HostId, hit: impl Fn(&Connection) -> bool) -> u64 {
        let mut count = 0;
        self.on_each(|connection, wire| {
            if hit(connection) {
                count += 1;
                connection.reset_both(wire, at);
            }
        });
        self.record(at, host, "reset", &[Field::Number("connections", count)]);
        count
    }

    fn drop_listeners(&mut self, host: HostId, mut close: impl FnMut(&mut Self, u16, u64)) {
        let ports = self.listeners.iter().filter(|((owner, _), _)| *owner == host);
        let ports: Vec<(u16, u64)> = ports.map(|((_, port), held)| (*port, held.id)).collect();
        for (port, id) in ports {
            close(self, port, id);
        }
    }
}
