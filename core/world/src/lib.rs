//! The seams between seriatim and the world it runs in.
//!
//! Everything that the core cannot decide for itself goes through the traits here: byte streams
//! ([`net`]), time ([`clock`]), randomness ([`entropy`]), files ([`disk`]), tasks ([`spawn`]) and
//! the durable log ([`store`]). Each has its real implementation in [`real`] and a simulated twin
//! in the simulator; no code asks which one it got.

pub mod clock;
pub mod conformance;
pub mod disk;
pub mod entropy;
pub mod log_store;
pub mod net;
pub mod real;
pub mod spawn;
pub mod store;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use clock::Clock;
pub use disk::{Disk, DiskFile};
pub use entropy::Entropy;
pub use net::{BoxStream, Listener, Net};
pub use spawn::Spawn;
pub use store::{Store, StoreError};

/// A future of a trait object's method.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything a node or a client gets from outside. Cheap to clone.
#[derive(Clone)]
pub struct World {
    pub net: Arc<dyn Net>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub disk: Arc<dyn Disk>,
    pub spawn: Arc<dyn Spawn>,
}
