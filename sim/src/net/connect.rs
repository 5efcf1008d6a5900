//! One host's sockets: binding and connecting.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use seriatim_world::BoxFuture;
use seriatim_world::net::{BoxStream, Listener, Net};

use super::connection::Side;
use super::link::HostId;
use super::listener::SimListener;
use super::plane::{Dial, Inner, Listening, Plane};
use super::stream::SimStream;
use crate::journal::Field;
use crate::time::{SimClock, SimTime};

/// The first SYN and six more, after 1, 3, 7, 15, 31 and 63 s (Linux: `tcp_syn_retries` = 6).
const SYN_COUNT: u32 = 7;

/// The sockets of one boot of one host.
pub(super) struct HostNet {
    pub(super) plane: Plane,
    pub(super) host: HostId,
    pub(super) clock: SimClock,
}

/// What came back for a SYN.
enum Answer {
    /// Nothing: it was lost, or the backlog is full.
    Silence,
    Refused {
        at: SimTime,
    },
    Accepted {
        at: SimTime,
        listener: u64,
    },
}

impl Net for HostNet {
    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let now = self.clock.now();
            let (port, id) = self.plane.with(|inner| inner.bind(self.host, address, now))?;
            let listener =
                SimListener::new(self.plane.clone(), self.clock.clone(), self.host, port, id);
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let dial = self.plane.with(|inner| inner.dial(self.host, address))?;
            let started_at = self.clock.now();
            for attempt in 0..SYN_COUNT {
                if let Some(stream) = self.attempt(&dial, attempt).await? {
                    return Ok(Box::new(stream) as BoxStream);
                }
                let waited = Duration::from_secs((2 << attempt) - 1);
                self.clock.sleep_until_sim(started_at + waited).await;
            }
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

impl HostNet {
    /// Sends one SYN and waits for its answer, if there will be one.
    async fn attempt(&self, dial: &Dial, attempt: u32) -> io::Result<Option<SimStream>> {
        let sent_at = self.clock.now();
        let arrives_at = self.plane.with(|inner| inner.send_syn(dial, attempt, sent_at));
        let Some(arrives_at) = arrives_at else {
            return Ok(None);
        };
        self.clock.sleep_until_sim(arrives_at).await;
        match self.plane.with(|inner| inner.receive_syn(dial, attempt, arrives_at)) {
            Answer::Silence => Ok(None),
            Answer::Refused { at } => {
                self.clock.sleep_until_sim(at).await;
                if self.hears(dial) {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Ok(None)
            }
            Answer::Accepted { at, listener } => {
                self.clock.sleep_until_sim(at).await;
                if !self.hears(dial) {
                    return Ok(None);
                }
                let now = self.clock.now();
                let id = self.plane.with(|inner| inner.establish(dial, listener, now));
                Ok(Some(SimStream::new(self.plane.clone(), self.clock.clone(), id, Side::Client)))
            }
        }
    }

    /// Whether the answer gets through; a cut in the meantime has swallowed it.
    fn hears(&self, dial: &Dial) -> bool {
        self.plane.with(|inner| {
            let open = inner.wire.links.open(dial.server, dial.client);
            if !open {
                inner.wire.lose_syn((dial.server, dial.client));
            }
            open
        })
    }
}

impl Inner {
    fn bind(&mut self, host: HostId, address: &str, now: SimTime) -> io::Result<(u16, u64)> {
        let (owner, mut port) = self.resolve(host, address)?;
        if owner != host {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        while port == 0 {
            let free = self.next_port(host);
            if !self.listeners.contains_key(&(host, free)) {
                port = free;
            }
        }
        if self.listeners.contains_key(&(host, port)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = self.next_id();
        let listening = Listening { id, queue: VecDeque::new(), waker: None };
        self.listeners.insert((host, port), listening);
        self.record(now, host, "bind", &[Field::Number("port", port.into())]);
        Ok((port, id))
    }

    /// The time at which the SYN arrives, unless a cut swallows it.
    fn send_syn(&mut self, dial: &Dial, attempt: u32, now: SimTime) -> Option<SimTime> {
        let (path, ordinal) = ((dial.client, dial.server), u64::from(attempt) * 2);
        let lost = self.wire.links.losses(path, "net.syn_loss", dial.entity, ordinal) > 0;
        let open = !lost && self.wire.links.open(dial.client, dial.server);
        let latency_us = self.wire.links.latency_us(path, "net.handshake", dial.entity, ordinal);
        let server = self.name(dial.server);
        let fields = [
            Field::Text("to", &server),
            Field::Number("port", dial.port.into()),
            Field::Number("attempt", attempt.into()),
            Field::Number("lost", (!open).into()),
        ];
        self.record(now, dial.client, "syn", &fields);
        if !open {
            self.wire.lose_syn(path);
        }
        open.then(|| now.plus(latency_us))
    }

    /// What the server's kernel makes of a SYN.
    fn receive_syn(&mut self, dial: &Dial, attempt: u32, at: SimTime) -> Answer {
        let there = self.wire.links.open(dial.client, dial.server);
        let back = self.wire.links.open(dial.server, dial.client);
        let backlog = self.wire.links.config.backlog;
        let listening = self.listeners.get(&(dial.server, dial.port));
        let is_full = listening.is_some_and(|listening| listening.queue.len() >= backlog);
        if !there || !back || is_full {
            let path = (dial.client, dial.server);
            self.wire.lose_syn(if there { (path.1, path.0) } else { path });
            return Answer::Silence;
        }
        let (path, ordinal) = ((dial.server, dial.client), u64::from(attempt) * 2 + 1);
        let latency_us = self.wire.links.latency_us(path, "net.handshake", dial.entity, ordinal);
        let answer_at = at.plus(latency_us);
        match listening.map(|listening| listening.id) {
            Some(listener) => Answer::Accepted { at: answer_at, listener },
            None => {
                self.wire.counters.refused += 1;
                self.record(at, dial.server, "refuse", &[Field::Number("port", dial.port.into())]);
                Answer::Refused { at: answer_at }
            }
        }
    }
}
