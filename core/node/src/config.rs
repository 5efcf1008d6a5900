//! How a node is set up.

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
    /// Where the node's figures go.
    pub metrics: Metrics,
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
