//! Disks that forget what was not synced.
//!
//! A [`SimDisk`] is one host's directory and outlives the host's boots. Files have visible bytes
//! (the page cache) and durable bytes; names are visible and durable separately. A kill keeps what
//! is visible; a power loss keeps what is durable, and of each unsynced write as much as the
//! choices say.

mod device;
mod fault;
mod file;
mod handle;

pub use device::{DiskConfig, DiskCounters, SimDisk};
pub use fault::{DiskFault, Operation};
