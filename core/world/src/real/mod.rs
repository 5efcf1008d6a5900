//! The real world: TCP, with TLS or without, the machine's clock and randomness, files, tokio's tasks.
//!
//! Nothing here decides anything. Only here may the methods be called that the rest of the
//! workspace must reach through a trait.

mod backup;
mod clock;
mod disk;
mod entropy;
mod net;
mod spawn;
mod tls;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use backup::{Copied, copy_log};
pub use clock::RealClock;
pub use disk::RealDisk;
pub use entropy::OsEntropy;
pub use net::RealNet;
pub use spawn::RealSpawn;
pub use tls::{ServerTls, TlsError, TlsNet, tls_address};

use crate::World;

/// The real world, with `data` as its directory of files. Call it once per process and directory.
///
/// # Errors
/// What [`RealDisk::open`] reports.
pub fn world(data: &Path) -> io::Result<World> {
    Ok(World {
        net: Arc::new(RealNet),
        clock: Arc::new(RealClock::new()),
        entropy: Arc::new(OsEntropy),
        disk: Arc::new(RealDisk::open(data)?),
        spawn: Arc::new(RealSpawn),
    })
}
