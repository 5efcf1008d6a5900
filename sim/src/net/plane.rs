//! The plane: every host, listener and connection of one simulation.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use seriatim_scenarios::choices::Choices;
use seriatim_world::Net;
use xxhash_rust::xxh3::Xxh3;

use super::connect::HostNet;
use super::connection::{Both, Connection, End, Side, State};
use super::flow::{Flow, Kind};
use super::link::{HostId, Links, NetConfig, NetCounters, Wire};
use crate::journal::{Field, Journal};
use crate::shared::Shared;
use crate::time::{SimClock, SimTime};

/// The network of one simulation. Cheap to clone.
#[derive(Clone)]
pub struct Plane {
    inner: Shared<Inner>,
    journal: Journal,
}

/// A host as the network knows it.
pub(super) struct Machine {
    pub(super) name: Arc<str>,
    next_port: u16,
}

/// A listening socket.
pub(super) struct Listening {
    pub(super) id: u64,
    /// Connections that nobody has accepted.
    pub(super) queue: VecDeque<u64>,
    pub(super) waker: Option<Waker>,
}

/// A connection attempt: who, to where, and the entity its choices are named by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dial {
    pub(super) client: HostId,
    pub(super) server: HostId,
    pub(super) port: u16,
    pub(super) entity: u64,
}

pub(super) struct Inner {
    pub(super) wire: Wire,
    pub(super) machines: BTreeMap<HostId, Machine>,
    pub(super) names: BTreeMap<Arc<str>, HostId>,
    pub(super) listeners: BTreeMap<(HostId, u16), Listening>,
    pub(super) connections: BTreeMap<u64, Connection>,
    dials: BTreeMap<(HostId, HostId, u16), u64>,
    next_id: u64,
}

/// Where Linux takes ports from that nobody asked for.
const EPHEMERAL_PORT_MIN: u16 = 32_768;
const EPHEMERAL_PORT_MAX: u16 = 60_999;

impl Plane {
    /// A network without hosts.
    pub fn new(choices: &Choices, journal: &Journal, config: NetConfig) -> Self {
        let wire = Wire {
            links: Links::new(config, choices.clone()),
            journal: journal.clone(),
            counters: NetCounters::default(),
            wakes: Vec::new(),
        };
        let inner = Inner {
            wire,
            machines: BTreeMap::new(),
            names: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            dials: BTreeMap::new(),
            next_id: 1,
        };
        Self { inner: Shared::new(inner), journal: journal.clone() }
    }

    /// The journal that the network writes to.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What has happened so far.
    pub fn counters(&self) -> NetCounters {
        self.with(|inner| inner.wire.counters)
    }

    /// How many connections between `a` and `b` a process holds at either end.
    pub fn connections_between(&self, a: &str, b: &str) -> usize {
        self.with(|inner| {
            let (a, b) = (inner.host(a), inner.host(b));
            inner.connections.values().filter(|connection| connection.is_between(a, b)).count()
        })
    }

    /// Adds a host, switched off.
    ///
    /// # Panics
    /// There is one of that name.
    pub(crate) fn add_host(&self, name: &str) {
        self.with(|inner| {
            let id = HostId(u32::try_from(inner.machines.len()).expect("fewer than 2^32 hosts"));
            let name: Arc<str> = name.into();
            let taken = inner.names.insert(Arc::clone(&name), id);
            assert!(taken.is_none(), "there are two hosts called {name}");
            inner.machines.insert(id, Machine { name, next_port: EPHEMERAL_PORT_MIN });
            inner.wire.links.set_power(id, false);
        });
    }

    /// The sockets of the boot that `clock` belongs to.
    pub(crate) fn net_of(&self, clock: SimClock) -> Arc<dyn Net> {
        let host = self.with(|inner| inner.host(clock.host().name()));
        Arc::new(HostNet { plane: self.clone(), host, clock })
    }

    /// Works on the plane, then wakes whom that concerns.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock();
        let result = work(&mut inner);
        let wakes = std::mem::take(&mut inner.wire.wakes);
        drop(inner);
        for waker in wakes {
            waker.wake();
        }
        result
    }
}

impl Inner {
    /// The host called `name`.
    pub(super) fn host(&self, name: &str) -> HostId {
        *self.names.get(name).unwrap_or_else(|| panic!("there is no host called {name}"))
    }

    pub(super) fn name(&self, host: HostId) -> Arc<str> {
        self.machines.get(&host).map(|machine| Arc::clone(&machine.name)).unwrap_or_default()
    }

    /// The host and port of `address`, as `from` sees it.
    pub(super) fn resolve(&self, from: HostId, address: &str) -> io::Result<(HostId, u16)> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not host:port");
        let (name, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        match name {
            "0.0.0.0" | "127.0.0.1" | "localhost" | "[::]" | "[::1]" => Ok((from, port)),
            _ => match self.names.get(name) {
                Some(host) => Ok((*host, port)),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "unknown host")),
            },
        }
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub(super) fn next_port(&mut self, host: HostId) -> u16 {
        let Some(machine) = self.machines.get_mut(&host) else {
            return EPHEMERAL_PORT_MIN;
        };
        let port = machine.next_port;
        machine.next_port = if port == EPHEMERAL_PORT_MAX { EPHEMERAL_PORT_MIN } else { port + 1 };
        port
    }

    pub(super) fn record(
        &self,
        at: SimTime,
        host: HostId,
        kind: &'static str,
        fields: &[Field<'_>],
    ) {
        self.wire.journal.record(at, &self.name(host), kind, fields);
    }

    /// Starts a connection attempt; each has its own entity, whatever else happens.
    pub(super) fn dial(&mut self, client: HostId, address: &str) -> io::Result<Dial> {
        let (server, port) = self.resolve(client, address)?;
        let mut hash = Xxh3::new();
        for text in [self.name(client), self.name(server)] {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        let ordinal = {
            let ordinal = self.dials.entry((client, server, port)).or_default();
            *ordinal += 1;
            *ordinal
        };
        hash.update(&port.to_le_bytes());
        hash.update(&ordinal.to_le_bytes());
        self.wire.counters.connects += 1;
        Ok(Dial { client, server, port, entity: hash.digest() })
    }

    /// Makes the connection that `dial` asked for; the server hears of it with the last packet of
    /// the handshake.
    pub(super) fn establish(&mut self, dial: &Dial, listener: u64, now: SimTime) -> u64 {
        let id = self.next_id();
        let client_port = self.next_port(dial.client);
        let (client_name, server_name) = (self.name(dial.client), self.name(dial.server));
        let ends = Both {
            client: End::new(dial.client, client_name, State::Open),
            server: End::new(dial.server, server_name, State::Waiting),
        };
        // The lowest bit tells the directions' choices apart.
        let flows = Both {
            client: Flow::new(dial.client, dial.server, dial.entity & !1),
            server: Flow::new(dial.server, dial.client, dial.entity | 1),
        };
        let mut connection = Connection { id, client_port, ends, flows };
        connection.send(&mut self.wire, Side::Client, now, Kind::Establish, Bytes::new());
        self.wire.counters.established += 1;
        match self.listeners.get_mut(&(dial.server, dial.port)) {
            Some(listening) if listening.id == listener => {
                listening.queue.push_back(id);
                self.wire.wakes.extend(listening.waker.take());
            }
            // It was closed during the handshake; the kernel there has forgotten.
            Some(_) | None => {
                connection.ends.server.state = State::Gone;
                connection.answer_orphans(&mut self.wire, Side::Server);
            }
        }
        self.connections.insert(id, connection);
        id
    }

    /// Works on one connection, and forgets it when no process can see it any more.
    pub(super) fn on<T>(
        &mut self,
        id: u64,
        work: impl FnOnce(&mut Connection, &mut Wire) -> T,
    ) -> Option<T> {
        let connection = self.connections.get_mut(&id)?;
        let result = work(connection, &mut self.wire);
        if connection.is_over() {
            self.connections.remove(&id);
        }
        Some(result)
    }

    /// Works on every connection, in order.
    pub(super) fn on_each(&mut self, mut work: impl FnMut(&mut Connection, &mut Wire)) {
        for connection in self.connections.values_mut() {
            work(connection, &mut self.wire);
        }
        self.connections.retain(|_, connection| !connection.is_over());
    }
}
