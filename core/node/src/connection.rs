//! The task of one client connection: WebSocket frames in. The gateway writes what goes out.
//!
//! An idle connection is this task's state and nothing else: no buffer, no timer.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use seriatim_engine::ids::ConnectionId;
use seriatim_engine::levels::Limit;
use seriatim_engine::limits::{CLIENT_FRAME_BYTES_MAX, SESSION_STALL_TIMEOUT};
use seriatim_engine::websocket::{
    Decoder, Message, Opcode, ProtocolError, Role, encode_close, encode_frame,
};
use seriatim_world::{BoxFuture, BoxStream, Clock};

use crate::gateway::Arrival;
use crate::metrics::Metrics;
use crate::pump;
use crate::socket::{Progress, Socket, Waits};

/// Serves a connection whose handshake is done. `unread` came behind the handshake.
///
/// What it returns lives as long as the connection does, so it holds a [`Connection`] and little
/// else.
pub(crate) fn run(
    clock: Arc<dyn Clock>,
    stream: BoxStream,
    unread: &[u8],
    connection: ConnectionId,
    inbox: mpsc::Sender<Arrival>,
    metrics: Metrics,
) -> impl Future<Output = ()> + Send + use<> {
    let mut served = Connection {
        connection,
        inbox,
        decoder: Decoder::new(Role::Server, CLIENT_FRAME_BYTES_MAX),
        socket: Socket::new(stream),
        clock,
        stall: None,
        messages: VecDeque::new(),
        metrics,
    };
    served.decode(unread);
    // An `async fn` that takes what it works on has room for it twice.
    async move { served.live().await }
}

struct Connection {
    connection: ConnectionId,
    inbox: mpsc::Sender<Arrival>,
    decoder: Decoder,
    socket: Socket,
    clock: Arc<dyn Clock>,
    /// Runs while the socket takes no byte.
    stall: Option<BoxFuture<'static, ()>>,
    /// What has come and was not handed on. Empty most of the time, and then without memory.
    messages: VecDeque<String>,
    metrics: Metrics,
}

/// Why a connection ended. Only for the log.
#[derive(Debug)]
enum Reason {
    PeerClosed,
    WeClosed,
    Failed(io::Error),
    NodeStopped,
}

impl Connection {
    async fn live(&mut self) {
        let connection = self.connection;
        if !self.hand(Arrival::Connected { connection, socket: self.socket.clone() }).await {
            return;
        }
        let reason = self.serve().await;
        if matches!(&reason, Reason::Failed(error) if error.kind() == io::ErrorKind::TimedOut) {
            self.metrics.hit(Limit::SessionStallTime);
        }
        tracing::debug!(connection = connection.0, ?reason, "connection ended");
        // The gateway may be gone, if the node is stopping.
        self.hand(Arrival::Disconnected { connection }).await;
    }

    async fn serve(&mut self) -> Reason {
        let connection = self.connection;
        loop {
            while let Some(text) = self.messages.pop_front() {
                if !self.hand(Arrival::Text { connection, text }).await {
                    return Reason::NodeStopped;
                }
            }
            self.messages = VecDeque::new();
            match std::future::poll_fn(|context| self.poll(context)).await {
                Ok(Progress::Read) => {}
                Ok(Progress::Short(bytes)) => {
                    if !self.hand(Arrival::Queue { connection, bytes }).await {
                        return Reason::NodeStopped;
                    }
                }
                Ok(Progress::End) => return Reason::PeerClosed,
                Ok(Progress::Closed(stream)) => {
                    // The peer learns it from the close frame too; it may be gone already.
                    finish(stream, self.clock.clone()).await.ok();
                    return Reason::WeClosed;
                }
                Err(error) => return Reason::Failed(error),
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        let mut waits = Waits::ToRead;
        let socket = self.socket.clone();
        let polled = socket.poll(context, &mut waits, |bytes| self.decode(bytes));
        match (polled, waits) {
            (Poll::Ready(progress), _) => Poll::Ready(progress),
            (Poll::Pending, Waits::ToRead) => {
                self.stall = None;
                Poll::Pending
            }
            (Poll::Pending, Waits::ToWrite { progress }) => self.poll_stall(context, progress),
        }
    }

    fn poll_stall(
        &mut self,
        context: &mut Context<'_>,
        progress: bool,
    ) -> Poll<io::Result<Progress>> {
        if progress {
            self.stall = None;
        }
        let stall = self.stall.get_or_insert_with(|| {
            self.clock.sleep_until(self.clock.mono_now() + SESSION_STALL_TIMEOUT)
        });
        stall
            .as_mut()
            .poll(context)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes")))
    }

    /// Takes what the bytes complete.
    fn decode(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.decoder.decode(&mut bytes) {
                Ok(None) => {}
                Ok(Some(Message::Text(text))) => self.messages.push_back(text),
                Ok(Some(Message::Binary(_))) => {
                    self.close(1003, "this protocol has text messages only");
                }
                Ok(Some(Message::Ping(payload))) => self.pong(&payload),
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close(_))) => self.close(1000, ""),
                Err(error) => self.refuse(&error),
            }
        }
    }

    // What these queue is written when the task polls its socket next, at once.

    fn pong(&self, payload: &Bytes) {
        let mut frame = Vec::new();
        encode_frame(Opcode::Pong, payload, None, &mut frame);
        self.socket.push(frame.into());
    }

    fn refuse(&self, error: &ProtocolError) {
        let code = error.close_code();
        if code == TOO_BIG {
            self.metrics.hit(Limit::ClientFrameBytes);
        }
        self.close(code, &error.to_string());
    }

    fn close(&self, code: u16, reason: &str) {
        self.socket.push(close_frame(code, reason));
        self.socket.close();
    }

    /// Hands something to the gateway.
    fn hand(&self, arrival: Arrival) -> Handed {
        match self.inbox.try_send(arrival) {
            Ok(()) => Handed::Done,
            Err(TrySendError::Closed(_)) => Handed::Gone,
            Err(TrySendError::Full(arrival)) => {
                let inbox = self.inbox.clone();
                Handed::Waits(Box::pin(async move { inbox.send(arrival).await.is_ok() }))
            }
        }
    }
}

/// Done when the gateway has taken something: true, or false when it is gone.
enum Handed {
    Done,
    /// The gateway is gone.
    Gone,
    /// Its inbox is full. Boxed, so that no connection has room for it all its life.
    Waits(BoxFuture<'static, bool>),
}

impl Future for Handed {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        match self.get_mut() {
            Self::Done => Poll::Ready(true),
            Self::Gone => Poll::Ready(false),
            Self::Waits(taken) => taken.as_mut().poll(context),
        }
    }
}

/// Boxed, so that no connection has room for it all its life.
fn finish(mut stream: BoxStream, clock: Arc<dyn Clock>) -> BoxFuture<'static, io::Result<()>> {
    Box::pin(async move { pump::finish(&mut stream, &*clock).await })
}

/// The close code of a message that exceeds a limit.
const TOO_BIG: u16 = 1009;

/// The frame behind which nothing follows.
pub(crate) fn close_frame(code: u16, reason: &str) -> Bytes {
    let mut frame = Vec::new();
    encode_close(Some((code, reason)), None, &mut frame);
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tens of thousands of these wait in one process.
    #[tokio::test]
    async fn an_idle_connection_is_small() {
        let clock = Arc::new(seriatim_world::real::RealClock::new());
        let (stream, _peer) = tokio::io::duplex(64);
        let (inbox, _arrivals) = mpsc::channel(1);
        let id = seriatim_engine::slots::Numbering::default().take();
        let task = run(clock, Box::new(stream), &[], id, inbox, Metrics::default());
        assert!(size_of_val(&task) <= 288, "{} bytes", size_of_val(&task));
    }
}
