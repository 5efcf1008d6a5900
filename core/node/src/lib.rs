//! A seriatim node: the shells that drive the engine's machines over the world's seams.
//!
//! [`run`] starts a node. The server's `main` calls it with the real world, the simulator with a
//! simulated one; nothing in this package can tell which.

mod config;
mod connection;
mod desk;
mod due;
mod gateway;
mod http;
mod link;
mod look;
mod messages;
mod metrics;
mod numbers;
mod outbox;
mod page;
mod polling;
mod pump;
mod socket;
mod start;

pub use config::{GatewayRole, LinkAddress, MessagesRole, NodeConfig, Operations, OwnerConfig};
pub use metrics::Metrics;
pub use start::{Listening, NodeError, run};
