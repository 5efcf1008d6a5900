//! Subcommands: serve, node, token; `key` is in [`crate::key_command`], `check` in
//! [`mod@crate::check`], `admin` in [`crate::admin_command`], `backup` in [`crate::backup_command`].

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use seriatim_engine::ids::{NodeId, ShardId, UserId, WorkspaceId};
use seriatim_engine::time::WallTime;
use seriatim_engine::token::{Claims, TokenKeys};
use seriatim_node::{
    GatewayRole, LinkAddress, Listening, MessagesRole, Metrics, NodeConfig, OwnerConfig,
    run as run_node,
};
use seriatim_world::{World, real};
use tokio::sync::watch;

use crate::admin_command::AdminCommand;
use crate::backup_command::Backup;
use crate::check::Check;
use crate::gateway_flags::GatewayFlags;
use crate::key_command::KeyCommand;
use crate::log::LogFlags;
use crate::operator_flags::OperatorFlags;
use crate::renewal::{self, Renewal};
use crate::retention_flags::RetentionFlags;
use crate::trace_command::TraceCommand;
use crate::{exposure, secret};

/// seriatim: messages, one after another, in order.
#[derive(Debug, Parser)]
#[command(name = "seriatim-server", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, on an embedded store: nothing to install.
    Serve(Serve),
    /// Run one node of several: a gateway, or the owner of some shards.
    Node(Node),
    /// Mint a token that lets a user connect.
    Token(Token),
    /// List, add and remove the keys that sign tokens.
    Key(KeyCommand),
    /// Tell what became of one entry: when it was received, numbered, durable and announced, and
    /// which sessions were sent it, when and how.
    Trace(TraceCommand),
    /// Look into a running server, and steer it.
    Admin(AdminCommand),
    /// Verify the log of a stopped server: every checksum, every index, and that positions are
    /// dense. Exit code 0: sound; 1: damaged; 64: no log there, or a server uses it.
    Check(Check),
    /// Copy the data folder of a server, which may be running, and verify the copy. Exit code 0:
    /// the copy is whole and sound; 1: it is damaged; 64: there is no data, or the copy would
    /// replace something.
    Backup(Backup),
}

#[derive(Debug, Args)]
struct Serve {
    /// Where clients connect. Anything but a loopback address is open to the network, and needs
    /// `--tls-cert`, or `--insecure-plain`.
    #[arg(long, default_value = "127.0.0.1:7400")]
    listen: String,
    /// Where the log and the token secret are kept; created at the first start.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    #[command(flatten)]
    operators: OperatorFlags,
    #[command(flatten)]
    gateway: GatewayFlags,
    #[command(flatten)]
    retention: RetentionFlags,
}

#[derive(Debug, Args)]
struct Node {
    /// This node's name.
    #[arg(long)]
    name: String,
    /// Where the log and the token secret are kept. An owner makes the secret at its first start;
    /// every gateway needs a copy of it (`token.key`) in its own folder.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// Serve clients on this address.
    #[arg(long, requires = "owner")]
    gateway: Option<String>,
    /// For a gateway: `SHARD=HOST:PORT`, once for each shard, numbered from 0.
    #[arg(long)]
    owner: Vec<String>,
    /// Own shards, and take links from gateways on this address.
    #[arg(long, requires = "shard")]
    messages: Option<String>,
    /// For an owner: the number of a shard that it owns; may be repeated.
    #[arg(long)]
    shard: Vec<u32>,
    #[command(flatten)]
    operators: OperatorFlags,
    #[command(flatten)]
    flags: GatewayFlags,
    #[command(flatten)]
    retention: RetentionFlags,
}

#[derive(Debug, Args)]
struct Token {
    /// The data folder of the server that the token is for.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    #[arg(long, default_value = "demo")]
    workspace: String,
    #[arg(long)]
    user: String,
    /// How long the token is good for, in hours.
    #[arg(long, default_value_t = 24)]
    hours: u64,
}

/// The command line is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    arguments.log.init();
    match arguments.command {
        Command::Serve(serve) => serve.run(),
        Command::Node(node) => node.run(),
        Command::Token(token) => token.run(),
        Command::Key(key) => key.run(),
        Command::Trace(trace) => trace.run(),
        Command::Admin(admin) => admin.run(),
        Command::Check(check) => check.run(),
        Command::Backup(backup) => backup.run(),
    }
}

impl Serve {
    fn run(self) -> anyhow::Result<()> {
        let store = self.retention.store()?;
        let mut world = world(&self.data)?;
        let insecure = self.gateway.insecure_plain;
        let clients = self.gateway.clients("--listen", &self.listen, &mut world)?;
        let token_keys = secret::load_or_create(&self.data, &*world.entropy)?;
        let (watched, keys_renewal) = renewed_keys(&self.data, token_keys.clone());
        let tokens = Some(watched.clone());
        let (operations, admin_renewal) =
            self.operators.operations(&self.data, &*world.entropy, tokens, insecure)?;
        let shard = ShardId(0);
        let config = NodeConfig {
            node: NodeId::new("all")?,
            gateway: Some(GatewayRole {
                listen: clients.listen,
                owners: vec![OwnerConfig { shard, link: LinkAddress::Local }],
                token_keys: watched,
                rates: self.gateway.rates(),
                origins: self.gateway.origins(),
            }),
            messages: Some(MessagesRole { listen: None, shards: vec![shard], store }),
            operations,
            metrics: Metrics::default(),
        };
        let now = world.clock.wall_now();
        let data = self.data.display().to_string();
        let ready = move |listening: Listening| {
            let address = listening.clients.unwrap_or_default();
            let token = |user| demo_token(&token_keys, user, now);
            let secure = if clients.encrypted { "s" } else { "" };
            print_next_steps(secure, &address, &data, &token("ada"), &token("bob"));
            print_operators(listening.operators.as_deref());
        };
        let renewals = clients.renewal.into_iter().chain([keys_renewal, admin_renewal]).collect();
        start(world, config, renewals, ready)
    }
}

/// `secure` is the `s` of https and wss, or nothing.
fn print_next_steps(secure: &str, address: &str, data: &str, ada: &str, bob: &str) {
    say(&format!(
        "seriatim is up.\n\n  clients   ws{secure}://{address}/v1/ws   (subprotocol seriatim.v1)\n  \
         health    http{secure}://{address}/healthz\n  data      {data}\n  \
         token     {ada}\n            (user ada of workspace demo, good for 24 hours)\n\n\
         Next: open the chat page in two windows, as ada and as bob\n\n  \
         http{secure}://{address}/#token={ada}\n\n  \
         http{secure}://{address}/#token={bob}\n\n\
         or connect with any WebSocket client and send\n\n  \
         {{\"type\":\"hello\",\"token\":\"<the token>\"}}\n  \
         {{\"type\":\"join\",\"id\":1,\"channel\":\"general\"}}\n  \
         {{\"type\":\"send\",\"id\":2,\"channel\":\"general\",\"nonce\":\"n1\",\"body\":\"hello\"}}\n\n\
         docs/protocol.md explains every frame. More users:\n\n  \
         cargo run --release -p seriatim-node -- token --data {data} --user bob\n\n\
         Ctrl-C stops the server."
    ));
}

/// Prints to standard output. Whoever reads it may have gone (`… | head -1`); the server goes on.
pub(crate) fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    drop(writeln!(output, "{text}").and_then(|()| output.flush()));
}

/// Keys that follow their file while the renewal is looked after.
fn renewed_keys(data: &Path, keys: TokenKeys) -> (watch::Receiver<TokenKeys>, Renewal) {
    let (sender, receiver) = watch::channel(keys);
    let (files, data) = (vec![secret::path(data)], data.to_owned());
    let reload = move || {
        sender.send_replace(secret::load(&data)?);
        Ok(())
    };
    (receiver, Renewal::new("token keys", files, reload))
}

fn demo_token(keys: &TokenKeys, user: &str, now: WallTime) -> String {
    let workspace = WorkspaceId::new("demo").expect("a sound name");
    let user = UserId::new(user).expect("a sound name");
    let expires_at = WallTime(now.0 + hours_ms(24));
    keys.sign(&Claims { workspace, user, expires_at })
}

fn hours_ms(hours: u64) -> u64 {
    hours.saturating_mul(60 * 60 * 1_000)
}

impl Node {
    fn run(self) -> anyhow::Result<()> {
        if self.gateway.is_none() && self.messages.is_none() {
            let message = "a node needs --gateway or --messages, or both".to_owned();
            return Err(Usage(message).into());
        }
        if let Some(address) = &self.messages {
            exposure::check_plain("--messages", address, self.flags.insecure_plain)?;
        }
        let store = self.retention.store()?;
        let mut world = world(&self.data)?;
        let mut renewals = Vec::new();
        let owners = self.owner.iter().map(|text| parse_owner(text)).collect::<Result<_, _>>()?;
        let mut tokens = None;
        if self.messages.is_some() {
            let keys = secret::load_or_create(&self.data, &*world.entropy)?;
            let (watched, renewal) = renewed_keys(&self.data, keys);
            tokens = Some(watched);
            renewals.push(renewal);
        }
        let gateway = match self.gateway {
            Some(address) => {
                let clients = self.flags.clients("--gateway", &address, &mut world)?;
                renewals.extend(clients.renewal);
                // A secret of its own would refuse the tokens of every other gateway.
                let (token_keys, renewal) = renewed_keys(&self.data, secret::load(&self.data)?);
                renewals.push(renewal);
                tokens = Some(token_keys.clone());
                let owners = check_owners(owners)?;
                let (rates, origins) = (self.flags.rates(), self.flags.origins());
                Some(GatewayRole { listen: clients.listen, owners, token_keys, rates, origins })
            }
            None => None,
        };
        let insecure = self.flags.insecure_plain;
        let (operations, renewal) =
            self.operators.operations(&self.data, &*world.entropy, tokens, insecure)?;
        renewals.push(renewal);
        let shards = self.shard.into_iter().map(ShardId).collect();
        let messages =
            self.messages.map(|listen| MessagesRole { listen: Some(listen), shards, store });
        let node = NodeId::new(&self.name).map_err(|error| Usage(format!("--name {error}")))?;
        let metrics = Metrics::default();
        let config = NodeConfig { node, gateway, messages, operations, metrics };
        start(world, config, renewals, print_listening)
    }
}

fn print_operators(address: Option<&str>) {
    if let Some(address) = address {
        say(&format!("operators {address}"));
    }
}

fn print_listening(listening: Listening) {
    print_operators(listening.operators.as_deref());
    for (whom, address) in [("clients", listening.clients), ("gateways", listening.gateways)] {
        if let Some(address) = address {
            say(&format!("{whom} {address}"));
        }
    }
}

fn parse_owner(text: &str) -> Result<OwnerConfig, Usage> {
    let parts = text.split_once('=').and_then(|(shard, address)| {
        Some((shard.parse().ok()?, address.contains(':').then(|| address.to_owned())?))
    });
    let (shard, address) =
        parts.ok_or_else(|| Usage(format!("--owner {text} is not SHARD=HOST:PORT")))?;
    Ok(OwnerConfig { shard: ShardId(shard), link: LinkAddress::Remote(address) })
}

/// Placement counts shards, so none may be missing or given twice.
fn check_owners(mut owners: Vec<OwnerConfig>) -> Result<Vec<OwnerConfig>, Usage> {
    owners.sort_by_key(|owner| owner.shard);
    let dense = owners.iter().zip(0..).all(|(owner, shard)| owner.shard == ShardId(shard));
    if dense {
        return Ok(owners);
    }
    Err(Usage("--owner must be given once for each shard: 0, 1, 2, …".to_owned()))
}

impl Token {
    #[expect(clippy::print_stdout, reason = "the token is the output")]
    fn run(self) -> anyhow::Result<()> {
        let keys = secret::load(&self.data)?;
        let name = |what: &str, error| Usage(format!("--{what} {error}"));
        let workspace =
            WorkspaceId::new(&self.workspace).map_err(|error| name("workspace", error))?;
        let user = UserId::new(&self.user).map_err(|error| name("user", error))?;
        let now = seriatim_world::Clock::wall_now(&real::RealClock::new());
        let expires_at = WallTime(now.0.saturating_add(hours_ms(self.hours)));
        println!("{}", keys.sign(&Claims { workspace, user, expires_at }));
        Ok(())
    }
}

fn world(data: &Path) -> anyhow::Result<World> {
    real::world(&data.join("log")).with_context(|| format!("can't use --data {}", data.display()))
}

/// How long tasks get to end after the node has.
const SHUTDOWN_TIME: Duration = Duration::from_secs(1);

fn start(
    world: World,
    config: NodeConfig,
    renewals: Vec<Renewal>,
    ready: impl FnOnce(Listening) + Send,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = Box::pin(async {
        if let Err(error) = interrupted().await {
            tracing::warn!(%error, "can't wait for signals; only SIGKILL stops this server");
            std::future::pending::<()>().await;
        }
    });
    let clock = world.clock.clone();
    let result = runtime.block_on(async {
        tokio::select! {
            biased;
            result = run_node(world, config, ready, stop) => result,
            never = renewal::run(&*clock, renewals) => match never {},
        }
    });
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    Ok(result?)
}

/// Returns at Ctrl-C or SIGTERM.
async fn interrupted() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        biased;
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
