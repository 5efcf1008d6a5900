//! What is run, and how it is judged, for the simulated and the real world alike.
//!
//! A scenario file ([`scenario`], read by [`parse`]) and a seed make a [`plan`]: the nodes, users,
//! operations and faults of one run, each decision drawn by name ([`choices`]). A world carries the
//! plan out and reports what every client saw as a [`history`]. The [`guarantees`] judge it while
//! it grows, and [`judge`] sums them up. Nothing here does I/O but reading scenario files.

mod body;
pub mod catalog;
pub mod choices;
mod drawing;
pub mod fault;
pub mod guarantees;
pub mod history;
pub mod judge;
pub mod latency;
pub mod parse;
pub mod plan;
pub mod scenario;
mod schema;
