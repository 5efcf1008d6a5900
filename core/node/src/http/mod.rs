//! The gateway's listening socket: handshakes become connections, plain requests get an answer.
//!
//! A handshake runs in a task of its own ([`handshake`]), so that its buffers go with it. A
//! connection that carries plain requests goes on in another ([`exchange`]), which answers each by
//! its route ([`router`]). Number and time of both are bounded, separately: who polls or scrapes
//! can't keep WebSockets from opening.

mod exchange;
mod handshake;
mod head;
mod health;
mod router;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use seriatim_engine::ids::ConnectionId;
use seriatim_engine::limits::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, HTTP_CONNECTIONS_MAX};
use seriatim_world::{Listener, World, clock};

use crate::gateway::Arrival;

/// Out of file descriptors, for one: give others time to close some.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What handshakes and routes share.
pub(crate) struct Context {
    pub(crate) world: World,
    /// The gateway's.
    pub(crate) inbox: mpsc::Sender<Arrival>,
    last_connection: AtomicU64,
    /// One permit for each connection that may carry plain requests.
    exchanges: Arc<Semaphore>,
}

impl Context {
    pub(crate) fn new(world: World, inbox: mpsc::Sender<Arrival>) -> Self {
        let exchanges = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
        Self { world, inbox, last_connection: AtomicU64::new(0), exchanges }
    }

    /// A number that no connection of this gateway has had.
    fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.last_connection.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Accepts connections until the task is aborted.
pub(crate) async fn run(context: Arc<Context>, mut listener: Box<dyn Listener>) {
    let clock = context.world.clock.clone();
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let permit = handshakes.clone().acquire_owned().await.expect("the semaphore stays open");
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                clock::sleep(&*clock, ACCEPT_RETRY).await;
                continue;
            }
        };
        let (context, clock) = (context.clone(), clock.clone());
        let spawn = context.world.spawn.clone();
        let task = async move {
            let handshake = handshake::run(context, stream);
            let done = clock::timeout(&*clock, HANDSHAKE_TIMEOUT, handshake).await;
            if let Ok(Err(error)) = done {
                tracing::debug!(peer, %error, "handshake failed");
            }
            drop(permit);
        };
        spawn.spawn("handshake", Box::pin(task));
    }
}
