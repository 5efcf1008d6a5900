//! A look into a machine from outside of its task.
//!
//! It is carried to the machine's shell like any other arrival, and made between two inputs. It has
//! the machine by a shared reference, so it can't change anything.

use seriatim_engine::time::MonoTime;
use tokio::sync::oneshot;

/// What is to be read off a machine, and where the answer goes.
pub(crate) struct Look<M>(Box<Of<M>>);

type Of<M> = dyn FnOnce(&M, MonoTime) + Send;

impl<M> Look<M> {
    /// `of` must be bounded in what it goes through: the machine's task waits for it.
    pub(crate) fn new<T: Send + 'static>(
        of: impl FnOnce(&M, MonoTime) -> T + Send + 'static,
    ) -> (Self, oneshot::Receiver<T>) {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may have given up.
        let look = |machine: &M, now: MonoTime| drop(answer.send(of(machine, now)));
        (Self(Box::new(look)), answered)
    }

    pub(crate) fn take(self, machine: &M, now: MonoTime) {
        (self.0)(machine, now);
    }
}

impl<M> std::fmt::Debug for Look<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Look")
    }
}
