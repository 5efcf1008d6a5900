//! One end of a connection, in a process's hands.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Side, Step};
use super::plane::Plane;
use crate::time::{Alarm, SimClock};

/// A stream of one boot of one host. Once that boot is over it does nothing, least of all when it
/// is dropped.
pub(super) struct SimStream {
    plane: Plane,
    clock: SimClock,
    id: u64,
    side: Side,
    read_alarm: Alarm,
    write_alarm: Alarm,
}

impl SimStream {
    pub(super) fn new(plane: Plane, clock: SimClock, id: u64, side: Side) -> Self {
        let (read_alarm, write_alarm) = (Alarm::default(), Alarm::default());
        Self { plane, clock, id, side, read_alarm, write_alarm }
    }
}

fn not_connected<T>() -> Step<T> {
    Step::Done(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.clock.runs() {
            let (now, side, waker) = (this.clock.now(), this.side, context.waker());
            let step = this.plane.with(|inner| {
                inner
                    .on(this.id, |connection, wire| connection.read(wire, side, now, buffer, waker))
            });
            match step.unwrap_or_else(not_connected) {
                Step::Done(result) => return Poll::Ready(result),
                Step::Wait(until) => {
                    if !this.read_alarm.poll(&this.clock, until, context) {
                        return Poll::Pending;
                    }
                }
            }
        }
        Poll::Pending
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while this.clock.runs() {
            let (now, side, waker) = (this.clock.now(), this.side, context.waker());
            let step = this.plane.with(|inner| {
                inner
                    .on(this.id, |connection, wire| connection.write(wire, side, now, bytes, waker))
            });
            match step.unwrap_or_else(not_connected) {
                Step::Done(result) => return Poll::Ready(result),
                Step::Wait(until) => {
                    if !this.write_alarm.poll(&this.clock, until, context) {
                        return Poll::Pending;
                    }
                }
            }
        }
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.clock.runs() {
            return Poll::Pending;
        }
        let (now, side) = (self.clock.now(), self.side);
        let result = self.plane.with(|inner| {
            inner.on(self.id, |connection, wire| connection.shutdown(wire, side, now))
        });
        Poll::Ready(result.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into())))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if self.clock.runs() {
            let (now, side) = (self.clock.now(), self.side);
            self.plane.with(|inner| {
                inner.on(self.id, |connection, wire| connection.close(wire, side, now));
            });
        }
    }
}
