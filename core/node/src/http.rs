//! The gateway's listening socket: handshakes become connections, plain requests get an answer.
//!
//! A handshake runs in a task of its own, so that its buffers go with it; their number and time
//! are bounded.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};

use seriatim_engine::handshake::{Parsed, Request, parse_request, response, upgrade};
use seriatim_engine::ids::ConnectionId;
use seriatim_engine::limits::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX};
use seriatim_world::{BoxStream, Listener, World, clock};

use crate::connection;
use crate::gateway::Arrival;
use crate::pump;

/// Where clients open their WebSocket.
const WEBSOCKET_PATH: &str = "/v1/ws";

/// Out of file descriptors, for one: give others time to close some.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts connections until the task is aborted.
pub(crate) async fn run(
    world: World,
    mut listener: Box<dyn Listener>,
    inbox: mpsc::Sender<Arrival>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let last_connection = Arc::new(AtomicU64::new(0));
    loop {
        let permit = handshakes.clone().acquire_owned().await.expect("the semaphore stays open");
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                clock::sleep(&*world.clock, ACCEPT_RETRY).await;
                continue;
            }
        };
        let handshake = Handshake {
            world: world.clone(),
            inbox: inbox.clone(),
            last_connection: last_connection.clone(),
        };
        let task = async move {
            let clock = handshake.world.clock.clone();
            let done = clock::timeout(&*clock, HANDSHAKE_TIMEOUT, handshake.run(stream)).await;
            if let Ok(Err(error)) = done {
                tracing::debug!(peer, %error, "handshake failed");
            }
            drop(permit);
        };
        world.spawn.spawn("handshake", Box::pin(task));
    }
}

struct Handshake {
    world: World,
    inbox: mpsc::Sender<Arrival>,
    last_connection: Arc<AtomicU64>,
}

impl Handshake {
    async fn run(self, mut stream: BoxStream) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(1_024);
        let (request, unread) = loop {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            match parse_request(&bytes) {
                Ok(Parsed::Incomplete) => {}
                Ok(Parsed::Complete { value, consumed }) => {
                    break (value, bytes.split_off(consumed));
                }
                Err(error) => {
                    let body = format!("{error}\n");
                    return self.answer(stream, text(error.status(), &body)).await;
                }
            }
        };
        if request.path != WEBSOCKET_PATH {
            return self.answer(stream, plain(&request)).await;
        }
        match upgrade(&request) {
            Ok(accepted) => {
                stream.write_all(&accepted).await?;
                let number = self.last_connection.fetch_add(1, Ordering::Relaxed) + 1;
                let connection = ConnectionId(number);
                let world = self.world.clone();
                let task = connection::run(world, stream, unread, connection, self.inbox);
                self.world.spawn.spawn("connection", Box::pin(task));
                Ok(())
            }
            Err(refusal) => self.answer(stream, refusal.response()).await,
        }
    }

    async fn answer(&self, mut stream: BoxStream, bytes: Bytes) -> io::Result<()> {
        stream.write_all(&bytes).await?;
        pump::finish(&mut stream, &*self.world.clock).await
    }
}

/// The answer to a request that is not for the WebSocket.
fn plain(request: &Request) -> Bytes {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/healthz") => text(200, "ok\n"),
        ("GET", _) => text(404, "nothing here; clients connect to /v1/ws by WebSocket\n"),
        _ => text(405, "only GET is served\n"),
    }
}

fn text(status: u16, body: &str) -> Bytes {
    response(status, "text/plain; charset=utf-8", body.as_bytes())
}
