//! The numbers of a gateway's connections: handshakes take them, the gateway gives them back.

use std::sync::{Mutex, MutexGuard, PoisonError};

use seriatim_engine::ids::ConnectionId;
use seriatim_engine::slots::Numbering;

/// A [`Numbering`] that tasks share.
#[derive(Debug, Default)]
pub(crate) struct Numbers(Mutex<Numbering>);

impl Numbers {
    /// A number that no connection of this gateway has had.
    pub(crate) fn take(&self) -> ConnectionId {
        self.lock().take()
    }

    /// Nothing more will be said of the connection.
    pub(crate) fn give_back(&self, connection: ConnectionId) {
        self.lock().give_back(connection);
    }

    fn lock(&self) -> MutexGuard<'_, Numbering> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
