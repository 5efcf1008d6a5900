//! State that the hosts of one simulation share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A value behind a lock that outlives panics. All hosts of a simulation run on one thread, so the
/// lock is never contended.
#[derive(Debug, Default)]
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    /// Locks the value; a panic that held the lock has been reported on its own.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
