//! The shell of the gateway machine: one task that owns it, fed by connections and links.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;

use seriatim_engine::gateway::{Effect, Gateway, Input};
use seriatim_engine::ids::{ConnectionId, ShardId};
use seriatim_engine::limits::SESSION_QUEUE_BYTES_LOW;
use seriatim_engine::link::FromOwner;
use seriatim_world::World;

use crate::connection;
use crate::link;
use crate::metrics::Metrics;
use crate::outbox::Outbox;

/// What reaches a gateway from its connections and links.
#[derive(Debug)]
pub(crate) enum Arrival {
    Connected { connection: ConnectionId, outbox: Outbox },
    Text { connection: ConnectionId, text: String },
    Disconnected { connection: ConnectionId },
    Queue { connection: ConnectionId, bytes: usize },
    LinkUp { shard: ShardId, outbox: Outbox },
    Link { shard: ShardId, frame: FromOwner },
    LinkDown { shard: ShardId },
    Drain,
}

/// Arrivals that are handled before what they cause is written: large enough to share writes,
/// small enough to keep the first of them from waiting.
const TURN_ARRIVALS_MAX: usize = 256;

/// Runs until every sender of `inbox` is gone.
pub(crate) async fn run(
    world: World,
    machine: Gateway,
    metrics: Metrics,
    mut inbox: mpsc::Receiver<Arrival>,
) {
    let mut shell = Shell {
        world,
        machine,
        metrics,
        connections: BTreeMap::new(),
        links: BTreeMap::new(),
        effects: Vec::new(),
        measured: VecDeque::new(),
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
        tokio::select! {
            biased;
            // Before arrivals, which may never cease.
            () = tick => shell.handle(Input::Tick),
            count = inbox.recv_many(&mut arrivals, TURN_ARRIVALS_MAX) => {
                if count == 0 {
                    return;
                }
            }
        }
        for arrival in arrivals.drain(..) {
            shell.arrived(arrival);
        }
        shell.metrics.gateway(shell.machine.counts());
    }
}

struct Shell {
    world: World,
    machine: Gateway,
    metrics: Metrics,
    connections: BTreeMap<ConnectionId, Outbox>,
    links: BTreeMap<ShardId, Outbox>,
    effects: Vec<Effect>,
    /// Answers to [`Effect::Measure`] that the machine has not been given.
    measured: VecDeque<Input>,
}

impl Shell {
    fn arrived(&mut self, arrival: Arrival) {
        let input = match arrival {
            Arrival::Connected { connection, outbox } => {
                self.connections.insert(connection, outbox);
                Input::Connected { connection }
            }
            Arrival::Text { connection, text } => Input::Text { connection, text },
            Arrival::Disconnected { connection } => {
                self.connections.remove(&connection);
                Input::Disconnected { connection }
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
            Arrival::Drain => Input::Drain,
        };
        self.handle(input);
    }

    /// Feeds `input`, and the measurements that it leads to: one for each session that it served.
    fn handle(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next {
            let (now, wall) = (self.world.clock.mono_now(), self.world.clock.wall_now());
            let mut effects = std::mem::take(&mut self.effects);
            self.machine.handle(now, wall, input, &mut effects);
            for effect in effects.drain(..) {
                let measured = self.carry_out(effect);
                self.measured.extend(measured);
            }
            self.effects = effects;
            next = self.measured.pop_front();
        }
    }

    fn carry_out(&self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Send { connection, frame } => {
                if let Some(outbox) = self.connections.get(&connection) {
                    outbox.push(frame);
                }
            }
            Effect::Close { connection } => {
                if let Some(outbox) = self.connections.get(&connection) {
                    connection::close(outbox, 1000, "");
                }
            }
            Effect::Measure { connection } => {
                let outbox = self.connections.get(&connection)?;
                let bytes = outbox.ask_short(SESSION_QUEUE_BYTES_LOW)?;
                return Some(Input::Queue { connection, bytes });
            }
            Effect::ToOwner { shard, frame } => {
                if let Some(outbox) = self.links.get(&shard) {
                    link::send(outbox, link::encode(&frame), &self.metrics);
                }
            }
        }
        None
    }
}
