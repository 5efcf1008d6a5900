//! Sessions of clients that can't open a WebSocket and poll instead.
//!
//! Such a session is an ordinary [`connection`] with the same frames, queues and limits. Its stream
//! is a pipe in memory, as small as a socket's buffer; [`session`] has the other end and hands over
//! what a poll brings and takes away. So nothing behind the pipe knows of polling, and a client that
//! polls too slowly or not at all is treated like one that reads its socket so.

mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use seriatim_engine::limits::{CLIENT_SEND_BUFFER_BYTES, POLL_SESSIONS_MAX};
use seriatim_world::World;

use crate::connection;
use crate::gateway::Arrival;
use crate::metrics::Metrics;
use crate::numbers::Numbers;

pub(crate) use session::{Reply, Request};

/// Polls of one session that are on their way to it. More wait.
const COMMANDS_MAX: usize = 8;

/// The polled sessions of one gateway, by their names. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Polling(Arc<Sessions>);

struct Sessions {
    world: World,
    inbox: mpsc::Sender<Arrival>,
    metrics: Metrics,
    numbers: Arc<Numbers>,
    open: Mutex<BTreeMap<String, mpsc::Sender<Command>>>,
}

/// A poll, and who waits for its reply.
struct Command {
    request: Request,
    reply: oneshot::Sender<Reply>,
}

impl Polling {
    pub(crate) fn new(
        world: World,
        inbox: mpsc::Sender<Arrival>,
        metrics: Metrics,
        numbers: Arc<Numbers>,
    ) -> Self {
        Self(Arc::new(Sessions { world, inbox, metrics, numbers, open: Mutex::default() }))
    }

    /// Opens a session and returns its name, a secret of its client; `None` when there are
    /// [`POLL_SESSIONS_MAX`].
    pub(crate) fn open(&self) -> Option<String> {
        let Sessions { world, inbox, metrics, numbers, .. } = &*self.0;
        let entropy = &world.entropy;
        let name = format!("{:016x}{:016x}", entropy.next_u64(), entropy.next_u64());
        let (to_session, commands) = mpsc::channel(COMMANDS_MAX);
        {
            let mut open = self.0.lock();
            if open.len() >= POLL_SESSIONS_MAX {
                return None;
            }
            open.insert(name.clone(), to_session);
            metrics.gauges().poll_sessions.set(open.len());
        }
        let (near, far) = tokio::io::duplex(CLIENT_SEND_BUFFER_BYTES);
        let task = connection::run(
            world.clock.clone(),
            Box::new(far),
            &[],
            numbers.take(),
            inbox.clone(),
            metrics.clone(),
        );
        world.spawn.spawn("connection", Box::pin(task));
        let session = session::run(near, world.clock.clone(), metrics.clone(), commands);
        let (sessions, closed) = (self.0.clone(), name.clone());
        let task = async move {
            session.await;
            let mut open = sessions.lock();
            open.remove(&closed);
            sessions.metrics.gauges().poll_sessions.set(open.len());
        };
        world.spawn.spawn("polled-session", Box::pin(task));
        Some(name)
    }

    /// Hands a poll to the session and waits for its reply; `None` when there is none of this name.
    pub(crate) async fn poll(&self, name: &str, request: Request) -> Option<Reply> {
        let to_session = self.0.lock().get(name)?.clone();
        let (reply, replied) = oneshot::channel();
        to_session.send(Command { request, reply }).await.ok()?;
        replied.await.ok()
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::Sender<Command>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
