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
mod poll;
mod router;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use seriatim_engine::handshake::{AllowedOrigins, HandshakeError};
use seriatim_engine::levels::Limit;
use seriatim_engine::limits::{
    CLIENT_SEND_BUFFER_BYTES, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, HTTP_CONNECTIONS_MAX,
};
use seriatim_world::{Listener, World, clock};

use crate::gateway::Arrival;
use crate::metrics::Metrics;
use crate::numbers::Numbers;
use crate::polling::Polling;

/// Out of file descriptors, for one: give others time to close some.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What handshakes and routes share.
pub(crate) struct Context {
    pub(crate) world: World,
    /// The gateway's.
    pub(crate) inbox: mpsc::Sender<Arrival>,
    pub(crate) metrics: Metrics,
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) origins: AllowedOrigins,
    pub(crate) polling: Polling,
    /// One permit for each connection that may carry plain requests.
    exchanges: Arc<Semaphore>,
}

impl Context {
    pub(crate) fn new(
        world: World,
        inbox: mpsc::Sender<Arrival>,
        metrics: Metrics,
        numbers: Arc<Numbers>,
        origins: AllowedOrigins,
    ) -> Self {
        let exchanges = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
        let polling = Polling::new(world.clone(), inbox.clone(), metrics.clone(), numbers.clone());
        Self { world, inbox, metrics, numbers, origins, polling, exchanges }
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
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
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
