//! The task of one client connection: WebSocket frames in, queued frames out.

use std::io;

use bytes::Bytes;
use tokio::sync::mpsc;

use seriatim_engine::ids::ConnectionId;
use seriatim_engine::levels::Limit;
use seriatim_engine::limits::{
    CLIENT_FRAME_BYTES_MAX, SESSION_QUEUE_BYTES_MAX, SESSION_STALL_TIMEOUT,
};
use seriatim_engine::websocket::{
    Decoder, Message, Opcode, ProtocolError, Role, encode_close, encode_frame,
};
use seriatim_world::{BoxStream, World};

use crate::gateway::Arrival;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::pump::{Progress, Pump, PumpLimits};

/// Serves a connection whose handshake is done. `unread` came behind the handshake.
pub(crate) async fn run(
    world: World,
    stream: BoxStream,
    unread: Vec<u8>,
    connection: ConnectionId,
    inbox: mpsc::Sender<Arrival>,
    metrics: Metrics,
) {
    let outbox = Outbox::default();
    let arrival = Arrival::Connected { connection, outbox: outbox.clone() };
    if inbox.send(arrival).await.is_err() {
        return;
    }
    let mut served = Connection {
        connection,
        inbox: inbox.clone(),
        decoder: Decoder::new(Role::Server, CLIENT_FRAME_BYTES_MAX),
        outbox: outbox.clone(),
        metrics: metrics.clone(),
    };
    let limits = PumpLimits {
        stall_timeout: SESSION_STALL_TIMEOUT,
        read_pause_bytes: 2 * SESSION_QUEUE_BYTES_MAX,
    };
    let mut pump = Pump::new(stream, outbox, world.clock.clone(), limits);
    let reason = served.serve(&mut pump, unread).await;
    if matches!(&reason, Reason::Failed(error) if error.kind() == io::ErrorKind::TimedOut) {
        metrics.hit(Limit::SessionStallTime);
    }
    tracing::debug!(connection = connection.0, ?reason, "connection ended");
    // The gateway may be gone, if the node is stopping.
    drop(inbox.send(Arrival::Disconnected { connection }).await);
}

struct Connection {
    connection: ConnectionId,
    inbox: mpsc::Sender<Arrival>,
    decoder: Decoder,
    outbox: Outbox,
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
    async fn serve(&mut self, pump: &mut Pump, unread: Vec<u8>) -> Reason {
        let mut buffer = unread;
        loop {
            if !self.take(&buffer).await {
                return Reason::NodeStopped;
            }
            buffer.clear();
            match pump.read(&mut buffer).await {
                Ok(Progress::Read) => {}
                Ok(Progress::Short(bytes)) => {
                    let arrival = Arrival::Queue { connection: self.connection, bytes };
                    if self.inbox.send(arrival).await.is_err() {
                        return Reason::NodeStopped;
                    }
                }
                Ok(Progress::End) => return Reason::PeerClosed,
                Ok(Progress::Closed) => {
                    // The peer learns it from the close frame too; it may be gone already.
                    drop(pump.finish().await);
                    return Reason::WeClosed;
                }
                Err(error) => return Reason::Failed(error),
            }
        }
    }

    /// Hands on what the bytes complete. False when the gateway is gone.
    async fn take(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let connection = self.connection;
            match self.decoder.decode(&mut bytes) {
                Ok(None) => {}
                Ok(Some(Message::Text(text))) => {
                    if self.inbox.send(Arrival::Text { connection, text }).await.is_err() {
                        return false;
                    }
                }
                Ok(Some(Message::Binary(_))) => {
                    self.close(1003, "this protocol has text messages only");
                }
                Ok(Some(Message::Ping(payload))) => self.pong(&payload),
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close(_))) => self.close(1000, ""),
                Err(error) => self.refuse(&error),
            }
        }
        true
    }

    fn pong(&self, payload: &Bytes) {
        let mut frame = Vec::new();
        encode_frame(Opcode::Pong, payload, None, &mut frame);
        self.outbox.push(frame.into());
    }

    fn refuse(&self, error: &ProtocolError) {
        let code = error.close_code();
        if code == TOO_BIG {
            self.metrics.hit(Limit::ClientFrameBytes);
        }
        self.close(code, &error.to_string());
    }

    fn close(&self, code: u16, reason: &str) {
        close(&self.outbox, code, reason);
    }
}

/// The close code of a message that exceeds a limit.
const TOO_BIG: u16 = 1009;

/// Queues a close frame, behind which nothing follows.
pub(crate) fn close(outbox: &Outbox, code: u16, reason: &str) {
    let mut frame = Vec::new();
    encode_close(Some((code, reason)), None, &mut frame);
    outbox.push(frame.into());
    outbox.close();
}
