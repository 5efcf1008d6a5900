//! The shell of the client machine: one task with at most one connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use seriatim_engine::client::{Client, ClientConfig, ClientEvent, Command, Effect, Input};
use seriatim_engine::limits::CLIENT_OUTSTANDING_MAX;
use seriatim_engine::time::MonoTime;
use seriatim_world::spawn::Task;
use seriatim_world::{BoxFuture, World};

use crate::connection::{self, Connection};
use crate::handle::Handle;

/// How a client is set up.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    pub token: String,
    /// Where the next token comes from when the server takes this one no more. Without it the
    /// client ends then.
    pub renew_token: Option<TokenSource>,
    /// Sent in `hello`, for the server's logs.
    pub name: String,
    /// `host:port` of every gateway to choose from.
    pub gateways: Vec<String>,
    /// The index of the first to try.
    pub first_gateway: usize,
    /// The least time between two timers while the client is in the background, as browsers have it
    /// for hidden tabs. `None` where timers are not throttled.
    pub background_timer: Option<Duration>,
}

/// Asks whoever issues tokens for a new one; none is given to a user who may not come back.
#[derive(Clone)]
pub struct TokenSource(Arc<AskForToken>);

type AskForToken = dyn Fn() -> Renewing + Send + Sync;

type Renewing = BoxFuture<'static, Option<String>>;

impl TokenSource {
    pub fn new(ask: impl Fn() -> Renewing + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSource")
    }
}

/// Where clients open their WebSocket.
const WEBSOCKET_PATH: &str = "/v1/ws";

/// Starts a client. `on_event` is called from its task, in the order of events.
///
/// # Panics
/// There is no gateway.
pub fn start(
    world: World,
    options: ClientOptions,
    on_event: impl FnMut(ClientEvent) + Send + 'static,
) -> (Handle, Task) {
    let (commands, inbox) = mpsc::channel(CLIENT_OUTSTANDING_MAX);
    let spawn = world.spawn.clone();
    let task = spawn.spawn("client", Box::pin(run(world, options, inbox, on_event)));
    (Handle(commands), task)
}

type Opening = BoxFuture<'static, std::io::Result<Connection>>;

struct Shell<F> {
    world: World,
    gateways: Vec<String>,
    machine: Client,
    on_event: F,
    opening: Option<Opening>,
    connection: Option<Connection>,
    renew_token: Option<TokenSource>,
    renewing: Option<Renewing>,
    background_timer: Option<Duration>,
    ticked_at: MonoTime,
}

async fn run<F: FnMut(ClientEvent) + Send>(
    world: World,
    options: ClientOptions,
    mut commands: mpsc::Receiver<Command>,
    on_event: F,
) {
    let config = ClientConfig {
        token: options.token,
        name: options.name,
        gateways: options.gateways.len(),
        first_gateway: options.first_gateway,
        seed: world.entropy.next_u64(),
    };
    let machine = Client::new(world.clock.mono_now(), config);
    let mut shell = Shell {
        world,
        gateways: options.gateways,
        machine,
        on_event,
        opening: None,
        connection: None,
        renew_token: options.renew_token,
        renewing: None,
        background_timer: options.background_timer,
        ticked_at: MonoTime::default(),
    };
    let mut effects = Vec::new();
    while let Some(input) = shell.next_input(&mut commands).await {
        shell.machine.handle(shell.world.clock.mono_now(), input, &mut effects);
        for effect in effects.drain(..) {
            shell.carry_out(effect);
        }
    }
}

impl<F: FnMut(ClientEvent)> Shell<F> {
    /// Waits for whatever happens first. `None` when every handle is gone.
    async fn next_input(&mut self, commands: &mut mpsc::Receiver<Command>) -> Option<Input> {
        let deadline = self.machine.next_deadline().map(|at| at.max(self.timer_allowed_at()));
        let clock = self.world.clock.clone();
        let tick = async {
            match deadline {
                Some(deadline) => clock.sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = commands.recv() => command.map(Input::Command),
            opened = wait_for(&mut self.opening) => {
                self.opening = None;
                Some(match opened {
                    Ok(connection) => {
                        self.connection = Some(connection);
                        Input::Connected
                    }
                    Err(error) => {
                        tracing::debug!(%error, "can't connect");
                        Input::Disconnected
                    }
                })
            }
            token = wait_for(&mut self.renewing) => {
                self.renewing = None;
                Some(Input::Token(token))
            }
            // Before frames, which may never cease.
            () = tick => {
                self.ticked_at = self.world.clock.mono_now();
                Some(Input::Tick)
            }
            frame = next_frame(&mut self.connection, &self.world) => Some(match frame {
                Ok(Some(frame)) => Input::Frame(frame),
                ended => {
                    tracing::debug!(?ended, "connection ended");
                    self.connection = None;
                    Input::Disconnected
                }
            }),
        }
    }

    /// Before this time no timer fires.
    fn timer_allowed_at(&self) -> MonoTime {
        match self.background_timer {
            Some(least) if self.machine.is_in_background() => self.ticked_at + least,
            Some(_) | None => MonoTime::default(),
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { gateway } => {
                let address = self.gateways.get(gateway).expect("an index below `gateways`");
                let path = WEBSOCKET_PATH.to_owned();
                let open = connection::open(self.world.clone(), address.clone(), path);
                self.opening = Some(Box::pin(open));
            }
            Effect::Send(frame) => {
                if let Some(connection) = &mut self.connection {
                    connection.send(&frame, &*self.world.entropy);
                }
            }
            Effect::Disconnect => {
                self.opening = None;
                self.connection = None;
            }
            Effect::RenewToken => {
                self.renewing = Some(match &self.renew_token {
                    Some(TokenSource(ask)) => ask(),
                    None => Box::pin(std::future::ready(None)),
                });
            }
            Effect::Emit(event) => (self.on_event)(event),
        }
    }
}

/// What `future` gives; pending for ever when there is none.
async fn wait_for<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// The next frame; pending for ever without a connection.
async fn next_frame(
    connection: &mut Option<Connection>,
    world: &World,
) -> std::io::Result<Option<seriatim_engine::frame::ServerFrame>> {
    match connection {
        Some(connection) => connection.next(&*world.entropy).await,
        None => std::future::pending().await,
    }
}
