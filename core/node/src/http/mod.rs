//! A node's listening sockets: handshakes become connections, plain requests get an answer.
//!
//! A gateway has one for its clients. One for operators ([`crate::Operations::listen`]) answers plain
//! requests only, with a bound of its own: a crowd of clients keeps nobody from looking.
//!
//! A handshake runs in a task of its own ([`handshake`]), so that its buffers go with it. A
//! connection that carries plain requests goes on in another ([`exchange`]), which answers each by
//! its route ([`router`]). Number and time of both are bounded, separately: who polls or scrapes
//! can't keep WebSockets from opening.

mod admin;
mod exchange;
mod handshake;
mod head;
mod health;
mod poll;
mod router;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use seriatim_engine::handshake::{AllowedOrigins, HandshakeError, Request, Response};
use seriatim_engine::levels::Limit;
use seriatim_engine::limits::{
    CLIENT_SEND_BUFFER_BYTES, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, HTTP_CONNECTIONS_MAX,
    OPERATIONS_CONNECTIONS_MAX,
};
use seriatim_world::{Listener, World, clock};

use crate::desk::Desk;
use crate::gateway::Arrival;
use crate::metrics::Metrics;
use crate::numbers::Numbers;
use crate::polling::Polling;

/// Out of file descriptors, for one: give others time to close some.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What handshakes and routes of one listening socket share.
pub(crate) struct Context {
    world: World,
    metrics: Metrics,
    desk: Arc<Desk>,
    /// Admin requests are answered here.
    serves_admin: bool,
    /// None: clients are not served here.
    clients: Option<Clients>,
    /// One permit for each handshake.
    handshakes: Arc<Semaphore>,
    /// One permit for each connection that may carry plain requests.
    exchanges: Arc<Semaphore>,
}

/// The way to a gateway for its clients.
pub(crate) struct Clients {
    /// The gateway's.
    inbox: mpsc::Sender<Arrival>,
    numbers: Arc<Numbers>,
    origins: AllowedOrigins,
    polling: Polling,
}

impl Context {
    /// Of a gateway's socket for clients.
    pub(crate) fn for_clients(
        world: World,
        metrics: Metrics,
        desk: Arc<Desk>,
        serves_admin: bool,
        (inbox, numbers, origins): (mpsc::Sender<Arrival>, Arc<Numbers>, AllowedOrigins),
    ) -> Self {
        let polling = Polling::new(world.clone(), inbox.clone(), metrics.clone(), numbers.clone());
        let clients = Some(Clients { inbox, numbers, origins, polling });
        let (handshakes, exchanges) = (Semaphore::new(HANDSHAKES_MAX), HTTP_CONNECTIONS_MAX);
        let (handshakes, exchanges) = (Arc::new(handshakes), Arc::new(Semaphore::new(exchanges)));
        Self { world, metrics, desk, serves_admin, clients, handshakes, exchanges }
    }

    /// Of a node's socket for operators.
    pub(crate) fn for_operators(world: World, metrics: Metrics, desk: Arc<Desk>) -> Self {
        let permits = || Arc::new(Semaphore::new(OPERATIONS_CONNECTIONS_MAX));
        let (handshakes, exchanges) = (permits(), permits());
        Self { world, metrics, desk, serves_admin: true, clients: None, handshakes, exchanges }
    }

    /// Counts a request that was not read because a limit was hit.
    fn count_refused(&self, error: &HandshakeError) {
        match error {
            HandshakeError::TooLarge => self.metrics.hit(Limit::HandshakeBytes),
            HandshakeError::TooManyHeaders => self.metrics.hit(Limit::Headers),
            HandshakeError::Malformed { .. }
            | HandshakeError::HeaderNotText { .. }
            | HandshakeError::ContentLength { .. }
            | HandshakeError::TransferEncoding => {}
        }
    }
}

/// Accepts connections until the task is aborted.
pub(crate) async fn run(context: Arc<Context>, mut listener: Box<dyn Listener>) {
    let clock = context.world.clock.clone();
    if let Err(error) = listener.limit_send_buffer(CLIENT_SEND_BUFFER_BYTES) {
        tracing::warn!(%error, "the kernel keeps its own limit for what slow clients leave unread");
    }
    let handshakes = context.handshakes.clone();
    loop {
        if handshakes.available_permits() == 0 {
            context.metrics.hit(Limit::Handshakes);
        }
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
            let metrics = context.metrics.clone();
            let inside = metrics.gauges().handshakes.enter();
            let handshake = handshake::run(context, stream, &peer);
            match clock::timeout(&*clock, HANDSHAKE_TIMEOUT, handshake).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(peer, %error, "handshake failed"),
                Err(clock::TimedOut) => metrics.hit(Limit::HandshakeTime),
            }
            drop((inside, permit));
        };
        spawn.spawn("handshake", Box::pin(task));
    }
}

/// Refuses every method but `method`.
fn only(request: &Request, method: &'static str) -> Result<(), Response> {
    if request.method == method {
        return Ok(());
    }
    let remedy = format!("{} takes {method} only", request.path);
    Err(Response::text(405, &remedy).with_header("Allow", method))
}
