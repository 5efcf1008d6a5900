//! A listening socket and its accept queue.

use std::io;
use std::task::{Context, Poll};

use seriatim_world::BoxFuture;
use seriatim_world::net::{BoxStream, Listener};

use super::connection::{Side, State};
use super::flow::Kind;
use super::link::HostId;
use super::plane::{Inner, Plane};
use super::stream::SimStream;
use crate::journal::Field;
use crate::time::{Alarm, SimClock, SimTime};

/// A listening socket of one boot of one host.
pub(super) struct SimListener {
    plane: Plane,
    clock: SimClock,
    host: HostId,
    port: u16,
    id: u64,
    alarm: Alarm,
}

impl SimListener {
    pub(super) fn new(plane: Plane, clock: SimClock, host: HostId, port: u16, id: u64) -> Self {
        Self { plane, clock, host, port, id, alarm: Alarm::default() }
    }

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(BoxStream, String)>> {
        loop {
            let now = self.clock.now();
            let (host, port) = (self.host, self.port);
            let next = self.plane.with(|inner| inner.accept(host, port, now, context));
            match next {
                Ok((id, peer)) => {
                    let stream =
                        SimStream::new(self.plane.clone(), self.clock.clone(), id, Side::Server);
                    return Poll::Ready(Ok((Box::new(stream), peer)));
                }
                Err(until) => {
                    if !self.alarm.poll(&self.clock, until, context) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl Listener for SimListener {
    fn local_address(&self) -> String {
        format!("{}:{}", self.clock.host().name(), self.port)
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>> {
        Box::pin(std::future::poll_fn(|context| self.poll_accept(context)))
    }

    /// Connections have one window each, which is of the same size and the network's to choose.
    fn limit_send_buffer(&mut self, _bytes: usize) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if self.clock.runs() {
            let now = self.clock.now();
            self.plane.with(|inner| inner.close_listener(self.host, self.port, self.id, now));
        }
    }
}

impl Inner {
    /// The next connection and its peer's address, or when there may be one.
    fn accept(
        &mut self,
        host: HostId,
        port: u16,
        now: SimTime,
        context: &Context<'_>,
    ) -> Result<(u64, String), SimTime> {
        let Some(listening) = self.listeners.get_mut(&(host, port)) else {
            return Err(SimTime::NEVER);
        };
        let connections = &self.connections;
        // Those whose handshake a reset cut short never reach the queue.
        listening.queue.retain(|id| connections.get(id).and_then(established_at).is_some());
        let ready = listening
            .queue
            .iter()
            .filter_map(|id| connections.get(id).and_then(established_at).map(|at| (at, *id)));
        match ready.min() {
            Some((at, id)) if at <= now => {
                listening.queue.retain(|waiting| *waiting != id);
                Ok(self.take_accepted(host, id, now))
            }
            next => {
                self.wire.store(&mut listening.waker, context.waker());
                Err(next.map_or(SimTime::NEVER, |(at, _)| at))
            }
        }
    }

    fn take_accepted(&mut self, host: HostId, id: u64, now: SimTime) -> (u64, String) {
        let peer = self.on(id, |connection, _| {
            connection.flows.client.queue.pop_front();
            connection.ends.server.state = State::Open;
            format!("{}:{}", connection.ends.client.name, connection.client_port)
        });
        let peer = peer.unwrap_or_default();
        let fields = [Field::Number("connection", id), Field::Text("peer", &peer)];
        self.record(now, host, "accept", &fields);
        (id, peer)
    }

    pub(super) fn close_listener(&mut self, host: HostId, port: u16, id: u64, now: SimTime) {
        let is_ours = self.listeners.get(&(host, port)).is_some_and(|held| held.id == id);
        if !is_ours {
            return;
        }
        if let Some(listening) = self.listeners.remove(&(host, port)) {
            self.wire.wakes.extend(listening.waker);
            for id in listening.queue {
                self.on(id, |connection, wire| connection.abort(wire, Side::Server, now));
            }
        }
        self.record(now, host, "unbind", &[Field::Number("port", port.into())]);
    }
}

/// When the last packet of the handshake arrives; `None` when it was lost with the connection.
fn established_at(connection: &super::connection::Connection) -> Option<SimTime> {
    let first = connection.flows.client.queue.front()?;
    (first.kind == Kind::Establish).then_some(first.deliver_at)
}
