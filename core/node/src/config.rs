//! How a node is set up.

use seriatim_engine::admin::AdminKey;
use seriatim_engine::gateway::RateLimits;
use seriatim_engine::handshake::AllowedOrigins;
use seriatim_engine::ids::{NodeId, ShardId};
use seriatim_engine::token::TokenKeys;
use seriatim_world::log_store::LogStoreOptions;
use tokio::sync::watch;

use crate::metrics::Metrics;

/// A node's roles and addresses. A node has at least one of the roles.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub node: NodeId,
    pub gateway: Option<GatewayRole>,
    pub messages: Option<MessagesRole>,
    pub operations: Operations,
    /// Where the node's figures go.
    pub metrics: Metrics,
}

/// What whoever runs the node is given.
#[derive(Debug, Clone, Default)]
pub struct Operations {
    /// `host:port` for health, figures and admin requests. None: a gateway answers them where its
    /// clients connect, and a node without one answers none.
    pub listen: Option<String>,
    /// What admin requests must carry; none: all are refused. May change while the node runs.
    pub admin_key: Option<watch::Receiver<AdminKey>>,
    /// What signs the tokens that operators ask for; none: such requests are refused.
    pub token_keys: Option<watch::Receiver<TokenKeys>>,
}

/// Holds WebSockets and sessions.
#[derive(Debug, Clone)]
pub struct GatewayRole {
    /// `host:port` for clients.
    pub listen: String,
    /// Every shard with the way to its owner. Shards are numbered from 0 without a gap.
    pub owners: Vec<OwnerConfig>,
    /// What verifies tokens; may change while the node runs.
    pub token_keys: watch::Receiver<TokenKeys>,
    /// How often users and workspaces may ask for something.
    pub rates: RateLimits,
    /// Web pages that may connect, besides our own.
    pub origins: AllowedOrigins,
}

/// Owns shards: the single writer of their channels.
#[derive(Debug, Clone)]
pub struct MessagesRole {
    /// `host:port` for gateways on other nodes.
    pub listen: Option<String>,
    pub shards: Vec<ShardId>,
    pub store: LogStoreOptions,
}

/// The way to a shard's owner.
#[derive(Debug, Clone)]
pub struct OwnerConfig {
    pub shard: ShardId,
    pub link: LinkAddress,
}

/// Where a gateway dials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkAddress {
    /// The owner runs in this process.
    Local,
    /// `host:port` of the owner's node.
    Remote(String),
}
