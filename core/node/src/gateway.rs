//! The shell of the gateway machine: one task that owns it, fed by connections and links.
//!
//! It works in turns. What arrived is handled, then what this led to is written: a session that is
//! due several frames gets them in one write. A turn that brought one frame writes it at once; the
//! more there is to do, the more share a write. No turn writes to more sockets than two slices
//! ([`DueList`]), so that everything else in the process goes on beside a very large channel.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use seriatim_engine::gateway::{Effect, Gateway, Input, Note};
use seriatim_engine::ids::{ConnectionId, ShardId};
use seriatim_engine::levels::Limit;
use seriatim_engine::limits::SESSION_QUEUE_BYTES_LOW;
use seriatim_engine::link::FromOwner;
use seriatim_engine::slots::Slots;
use seriatim_engine::time::{MonoTime, WallTime};
use seriatim_engine::token::TokenKeys;
use seriatim_world::World;

use crate::connection::close_frame;
use crate::due::{Due, DueList};
use crate::link;
use crate::look::Look;
use crate::metrics::Metrics;
use crate::numbers::Numbers;
use crate::outbox::Outbox;
use crate::socket::Socket;

/// What reaches a gateway from its connections and links.
#[derive(Debug)]
pub(crate) enum Arrival {
    Connected { connection: ConnectionId, socket: Socket },
    Text { connection: ConnectionId, text: String },
    Disconnected { connection: ConnectionId },
    Queue { connection: ConnectionId, bytes: usize },
    TokenKeys(TokenKeys),
    LinkUp { shard: ShardId, outbox: Outbox },
    Link { shard: ShardId, frame: FromOwner },
    LinkDown { shard: ShardId },
    Look(Look<Gateway>),
    Drain { spread: Duration },
    Serve,
}

/// Arrivals that are handled before what they cause is written: large enough to share writes,
/// small enough to keep the first of them from waiting.
const TURN_ARRIVALS_MAX: usize = 256;

/// Runs until every sender of `inbox` is gone.
pub(crate) async fn run(
    world: World,
    machine: Gateway,
    numbers: Arc<Numbers>,
    metrics: Metrics,
    mut inbox: mpsc::Receiver<Arrival>,
) {
    let mut shell = Shell {
        world,
        machine,
        numbers,
        metrics,
        connections: Slots::default(),
        due: DueList::default(),
        links: BTreeMap::new(),
        effects: Vec::new(),
        measured: VecDeque::new(),
        scratch: Vec::new(),
        queued_bytes: 0,
    };
    let mut arrivals = Vec::new();
    loop {
        let deadline = shell.machine.next_deadline();
        let tick = async {
            match deadline {
                Some(deadline) => shell.world.clock.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let unwritten = !shell.due.is_empty();
        tokio::select! {
            biased;
            // Before arrivals, which may never cease.
            () = tick => shell.handle(shell.now(), Input::Tick),
            count = inbox.recv_many(&mut arrivals, TURN_ARRIVALS_MAX) => {
                if count == 0 {
                    return;
                }
            }
            () = std::future::ready(()), if unwritten => {}
        }
        let now = shell.now();
        for arrival in arrivals.drain(..) {
            shell.arrived(now, arrival);
        }
        // Tokio would let a task that writes to many sockets do so to the first 128 only.
        tokio::task::unconstrained(async { shell.write() }).await;
        shell.publish(inbox.len());
        if !shell.due.is_empty() {
            // Others first: those whose requests are to come, and the owner in this process.
            tokio::task::yield_now().await;
        }
    }
}

/// When something happens: by the clock that doesn't jump, and by the one that people read.
type Now = (MonoTime, WallTime);

struct Shell {
    world: World,
    machine: Gateway,
    numbers: Arc<Numbers>,
    metrics: Metrics,
    connections: Slots<Connection>,
    due: DueList,
    links: BTreeMap<ShardId, Outbox>,
    effects: Vec<Effect>,
    /// Answers to [`Effect::Measure`] that the machine has not been given.
    measured: VecDeque<Input>,
    /// Where frames that are due together are put together.
    scratch: Vec<u8>,
    /// Queued for sessions in this turn.
    queued_bytes: usize,
}

struct Connection {
    socket: Socket,
    due: Due,
}

impl Shell {
    fn now(&self) -> Now {
        (self.world.clock.mono_now(), self.world.clock.wall_now())
    }

    fn arrived(&mut self, now: Now, arrival: Arrival) {
        let input = match arrival {
            Arrival::Connected { connection, socket } => {
                let earlier =
                    self.connections.insert(connection, Connection { socket, due: Due::No });
                assert!(earlier.is_none(), "a connection's place is taken");
                Input::Connected { connection }
            }
            Arrival::Text { connection, text } => Input::Text { connection, text },
            Arrival::Disconnected { connection } => {
                self.connections.remove(&connection);
                self.handle(now, Input::Disconnected { connection });
                // The last that anybody says of it.
                self.numbers.give_back(connection);
                return;
            }
            Arrival::Queue { connection, bytes } => Input::Queue { connection, bytes },
            Arrival::LinkUp { shard, outbox } => {
                self.links.insert(shard, outbox);
                self.metrics.link(shard, true);
                Input::LinkUp { shard }
            }
            Arrival::Link { shard, frame } => Input::Link { shard, frame },
            Arrival::LinkDown { shard } => {
                self.links.remove(&shard);
                self.metrics.link(shard, false);
                Input::LinkDown { shard }
            }
            Arrival::Look(look) => return look.take(&self.machine, now.0),
            Arrival::TokenKeys(keys) => Input::TokenKeys(keys),
            Arrival::Drain { spread } => Input::Drain { spread },
            Arrival::Serve => Input::Serve,
        };
        self.handle(now, input);
    }

    /// Feeds `input`, and the measurements that it leads to: one for each session that it served.
    fn handle(&mut self, (now, wall): Now, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next {
            let mut effects = std::mem::take(&mut self.effects);
            self.machine.handle(now, wall, input, &mut effects);
            for effect in effects.drain(..) {
                self.carry_out(effect);
            }
            self.effects = effects;
            next = self.measured.pop_front();
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { connection, frame } => self.push(connection, frame, 1),
            Effect::Broadcast { connections, frames } => {
                let count = connections.len();
                for connection in connections {
                    self.push(connection, frames.clone(), count);
                }
            }
            Effect::Close { connection } => {
                self.push(connection, close_frame(1000, ""), 1);
                if let Some(Connection { socket, .. }) = self.connections.get(&connection) {
                    socket.close();
                }
            }
            Effect::Measure { connection } => {
                let asked = self.connections.get(&connection);
                let bytes = asked.and_then(|one| one.socket.ask_short(SESSION_QUEUE_BYTES_LOW));
                self.measured.extend(bytes.map(|bytes| Input::Queue { connection, bytes }));
            }
            Effect::ToOwner { shard, frame } => {
                if let Some(outbox) = self.links.get(&shard) {
                    link::send(outbox, link::encode(&frame), &self.metrics);
                }
            }
            Effect::Note { connection, note } => log(connection, note),
        }
    }

    /// Queues what goes to `count` connections for one of them.
    fn push(&mut self, connection: ConnectionId, frames: Bytes, count: usize) {
        let Some(Connection { socket, due }) = self.connections.get_mut(&connection) else {
            return;
        };
        self.queued_bytes += frames.len();
        if !socket.push(frames) {
            self.metrics.hit(Limit::SessionBacklogBytes);
        }
        self.due.add(connection, due, count);
    }

    /// Writes to those whose turn it is. A session may be due more once its queue is short.
    fn write(&mut self) {
        self.due.take_slices(|connection, asked| {
            let Some(one) = self.connections.get_mut(&connection) else { return false };
            if one.due != asked {
                return false;
            }
            one.due = Due::No;
            if let Some(bytes) = one.socket.flush(&mut self.scratch) {
                self.measured.push_back(Input::Queue { connection, bytes });
            }
            true
        });
        if let Some(input) = self.measured.pop_front() {
            self.handle(self.now(), input);
        }
        if self.due.is_empty() && self.machine.has_announced() {
            self.handle(self.now(), Input::Flushed);
        }
    }

    /// Tells those who watch what the turn was; `waiting` arrivals are left for the next one.
    fn publish(&mut self, waiting: usize) {
        let gauges = self.metrics.gauges();
        gauges.gateway_inbox.set(waiting);
        gauges.connections.set(self.connections.len());
        gauges.queued_bytes.add(std::mem::take(&mut self.queued_bytes) as u64);
        self.metrics.gateway(self.machine.counts());
    }
}

/// The connection's number leads to the address of its peer, and the session's name to what its
/// client knows of it.
fn log(connection: ConnectionId, note: Note) {
    let connection = connection.0;
    match note {
        Note::Opened { session, user, client } => {
            tracing::info!(connection, session, %user, client, "session opened");
        }
        Note::Ended { session, user: Some(user), why } => {
            tracing::info!(connection, session, %user, %why, "session ended");
        }
        Note::Ended { session, user: None, why } => {
            tracing::info!(connection, session, %why, "session ended before it was opened");
        }
    }
}

/// Without the gateway nobody can serve its connections and links: they end with it.
impl Drop for Shell {
    fn drop(&mut self) {
        for connection in self.connections.keys() {
            if let Some(Connection { socket, .. }) = self.connections.get(connection) {
                socket.abandon();
            }
        }
        for outbox in self.links.values() {
            outbox.abandon();
        }
    }
}
