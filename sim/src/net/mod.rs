//! Sockets as the kernel shows them, between the hosts of one simulation.
//!
//! All hosts share one [`Plane`]. A byte that is written gets the time at which it arrives; the
//! reader's host sleeps until then on its own clock, so nothing is seen before it was sent however
//! the hosts take turns. Cuts hold bytes back as lost packets would be; resets, kills and power
//! losses end connections as Linux ends them.

mod connect;
mod connection;
mod fault;
mod flow;
mod link;
mod listener;
mod plane;
mod stream;

pub use link::{LinkShape, NetConfig, NetCounters, PathCounters};
pub use plane::Plane;
