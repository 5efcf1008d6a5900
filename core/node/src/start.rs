//! Starts a node: the one way in, for `main` and for the simulator.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use seriatim_engine::gateway::{Gateway, GatewayConfig};
use seriatim_engine::handshake::AllowedOrigins;
use seriatim_engine::ids::ShardId;
use seriatim_engine::limits::{DRAIN_SPREAD, INBOX_MAX};
use seriatim_engine::link::LinkId;
use seriatim_engine::token::TokenKeys;
use seriatim_world::spawn::TaskGroup;
use seriatim_world::{BoxFuture, BoxStream, Listener, StoreError, World, clock};

use crate::config::{GatewayRole, MessagesRole, NodeConfig};
use crate::desk::{Desk, Owners};
use crate::http::Context;
use crate::metrics::Metrics;
use crate::numbers::Numbers;
use crate::{gateway, http, link, messages};

/// Why a node stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("can't listen on {address}: {source}; choose another address or stop what uses it")]
    Listen { address: String, source: io::Error },
    #[error("shard {shard} can't be served: {source}")]
    Store { shard: ShardId, source: StoreError },
}

/// The addresses that a node listens on, with the ports that it was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening {
    pub clients: Option<String>,
    pub gateways: Option<String>,
    pub operators: Option<String>,
}

/// How long clients get to hear the goodbye of a node that is being stopped.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Runs a node until `stop` is done, then sends its clients elsewhere and returns. `ready` is
/// called once everything listens.
///
/// # Errors
/// [`NodeError`]
pub async fn run(
    world: World,
    config: NodeConfig,
    ready: impl FnOnce(Listening) + Send,
    stop: BoxFuture<'static, ()>,
) -> Result<(), NodeError> {
    let metrics = config.metrics;
    metrics.start();
    let mut tasks = TaskGroup::default();
    let mut listening = Listening::default();
    let (failed, mut failures) = mpsc::channel(1);
    let (local, local_links) = mpsc::channel(config.gateway.iter().len().max(1));
    let mut owners = Vec::new();
    if let Some(role) = config.messages {
        let started = start_messages(&world, role, &metrics, local_links, &failed, &mut tasks);
        (listening.gateways, owners) = started.await?;
    }
    let operations = config.operations;
    let mut drain = None;
    let mut clients = None;
    if let Some(role) = config.gateway {
        let dial = Dial { node: config.node, local, metrics: metrics.clone() };
        let gateway = start_gateway(&world, role, dial, &mut tasks).await?;
        listening.clients = Some(gateway.listener.local_address());
        drain = Some(gateway.inbox.clone());
        clients = Some(gateway);
    }
    let desk = Desk::new(world.clone(), metrics.clone(), owners, drain.clone(), &operations);
    let desk = Arc::new(desk);
    if let Some(gateway) = clients {
        let Started { listener, inbox, numbers, origins } = gateway;
        let (metrics, desk) = (metrics.clone(), desk.clone());
        let serves_admin = operations.listen.is_none();
        let ways = (inbox, numbers, origins);
        let context = Context::for_clients(world.clone(), metrics, desk, serves_admin, ways);
        let accept = http::run(Arc::new(context), listener);
        tasks.add(world.spawn.spawn("http", Box::pin(accept)));
    }
    if let Some(address) = &operations.listen {
        let listener = listen(&world, address).await?;
        listening.operators = Some(listener.local_address());
        let context = Context::for_operators(world.clone(), metrics.clone(), desk);
        let accept = http::run(Arc::new(context), listener);
        tasks.add(world.spawn.spawn("operators-http", Box::pin(accept)));
    }
    tracing::info!(?listening, "node is up");
    ready(listening);
    tokio::select! {
        biased;
        Some(error) = failures.recv() => return Err(error),
        () = stop => {}
    }
    metrics.set_draining(true);
    let spread = DRAIN_SPREAD;
    if let Some(inbox) = drain
        && inbox.send(gateway::Arrival::Drain { spread }).await.is_ok()
    {
        tracing::info!(connections = metrics.drain().connections, "draining, then stopping");
        clock::sleep(&*world.clock, DRAIN_TIME).await;
        tracing::info!(connections = metrics.drain().connections, "stopping");
    }
    Ok(())
}

async fn listen(world: &World, address: &str) -> Result<Box<dyn Listener>, NodeError> {
    world
        .net
        .bind(address)
        .await
        .map_err(|source| NodeError::Listen { address: address.to_owned(), source })
}

struct Dial {
    node: seriatim_engine::ids::NodeId,
    local: mpsc::Sender<BoxStream>,
    metrics: Metrics,
}

/// A gateway that runs, and takes nobody in yet.
struct Started {
    listener: Box<dyn Listener>,
    inbox: mpsc::Sender<gateway::Arrival>,
    numbers: Arc<Numbers>,
    origins: AllowedOrigins,
}

async fn start_gateway(
    world: &World,
    role: GatewayRole,
    dial: Dial,
    tasks: &mut TaskGroup,
) -> Result<Started, NodeError> {
    let listener = listen(world, &role.listen).await?;
    let (inbox, arrivals) = mpsc::channel(INBOX_MAX);
    let shards = u32::try_from(role.owners.len()).expect("shard numbers are 32 bits");
    let boot = world.entropy.next_u64();
    let token_keys = role.token_keys.borrow().clone();
    let machine = Gateway::new(GatewayConfig { shards, token_keys, rates: role.rates, boot });
    let numbers = Arc::new(Numbers::default());
    let metrics = dial.metrics.clone();
    let shell = gateway::run(world.clone(), machine, numbers.clone(), metrics, arrivals);
    tasks.add(world.spawn.spawn("gateway", Box::pin(shell)));
    let renew = renew_keys(role.token_keys, inbox.clone());
    tasks.add(world.spawn.spawn("token-keys", Box::pin(renew)));
    for owner in role.owners {
        dial.metrics.link(owner.shard, false);
        let dialler = link::Dialler {
            world: world.clone(),
            gateway: dial.node.clone(),
            shard: owner.shard,
            address: owner.link,
            local: dial.local.clone(),
            inbox: inbox.clone(),
            metrics: dial.metrics.clone(),
        };
        tasks.add(world.spawn.spawn("link-dialler", Box::pin(dialler.run())));
    }
    Ok(Started { listener, inbox, numbers, origins: role.origins })
}

/// Hands keys to the gateway whenever they change.
async fn renew_keys(mut keys: watch::Receiver<TokenKeys>, inbox: mpsc::Sender<gateway::Arrival>) {
    while keys.changed().await.is_ok() {
        let new = keys.borrow_and_update().clone();
        if inbox.send(gateway::Arrival::TokenKeys(new)).await.is_err() {
            return;
        }
    }
}

async fn start_messages(
    world: &World,
    role: MessagesRole,
    metrics: &Metrics,
    local_links: mpsc::Receiver<BoxStream>,
    failed: &mpsc::Sender<NodeError>,
    tasks: &mut TaskGroup,
) -> Result<(Option<String>, Owners), NodeError> {
    let listener = match &role.listen {
        Some(address) => Some(listen(world, address).await?),
        None => None,
    };
    let address = listener.as_ref().map(|listener| listener.local_address());
    let mut owners = Vec::new();
    for shard in role.shards {
        let (inbox, arrivals) = mpsc::channel(INBOX_MAX);
        owners.push((shard, inbox));
        let owner = messages::run(world.clone(), shard, role.store, metrics.clone(), arrivals);
        let failed = failed.clone();
        let task = async move {
            if let Err(source) = owner.await {
                // The first failure stops the node; a second one changes nothing.
                drop(failed.send(NodeError::Store { shard, source }).await);
            }
        };
        tasks.add(world.spawn.spawn("owner", Box::pin(task)));
    }
    let served = owners.clone();
    let accept = accept_links(world.clone(), metrics.clone(), listener, local_links, served);
    tasks.add(world.spawn.spawn("links", Box::pin(accept)));
    Ok((address, owners))
}

async fn accept_links(
    world: World,
    metrics: Metrics,
    mut listener: Option<Box<dyn Listener>>,
    mut local_links: mpsc::Receiver<BoxStream>,
    owners: Owners,
) {
    let mut last_link = 0;
    loop {
        let stream = tokio::select! {
            biased;
            Some(stream) = local_links.recv() => stream,
            accepted = accept(&world, &mut listener) => accepted,
        };
        last_link += 1;
        let (id, owners) = (LinkId(last_link), owners.clone());
        let inbox_of = move |shard| {
            owners.iter().find(|(owned, _)| *owned == shard).map(|(_, inbox)| inbox.clone())
        };
        let serve = link::accept(world.clone(), stream, id, inbox_of);
        let metrics = metrics.clone();
        let task = async move {
            if let Err(error) = serve.await {
                error.count(&metrics);
                tracing::info!(link = id.0, %error, "link from a gateway ended");
            }
        };
        world.spawn.spawn("link", Box::pin(task));
    }
}

/// The next link from another node; pending for ever when none are accepted.
async fn accept(world: &World, listener: &mut Option<Box<dyn Listener>>) -> BoxStream {
    loop {
        let Some(listener) = listener else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "can't accept a link");
                clock::sleep(&*world.clock, Duration::from_millis(100)).await;
            }
        }
    }
}
