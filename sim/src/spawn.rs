//! Tasks of a simulated host: counted by name, laid to their host, stopped while it is frozen.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use seriatim_world::BoxFuture;
use seriatim_world::spawn::{Spawn, Task};

use crate::hygiene::polled_as;
use crate::time::{Alarm, SimClock};

/// Starts tasks on the runtime of one boot of one host.
pub struct SimSpawn(SimClock);

impl SimSpawn {
    /// The spawner of the boot that `clock` belongs to.
    pub fn new(clock: SimClock) -> Self {
        Self(clock)
    }
}

impl Spawn for SimSpawn {
    #[expect(clippy::disallowed_methods, reason = "this is the simulated way to start a task")]
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) -> Task {
        let task = HostTask::new(name, self.0.clone(), task);
        Task::new(tokio::spawn(task).abort_handle())
    }
}

/// A future that runs as its host does: not at all while the host is frozen.
pub(crate) struct HostTask<F> {
    name: &'static str,
    clock: SimClock,
    thaw: Alarm,
    task: Pin<Box<F>>,
}

impl<F: Future> HostTask<F> {
    pub(crate) fn new(name: &'static str, clock: SimClock, task: F) -> Self {
        clock.host().task_started(name);
        Self { name, clock, thaw: Alarm::default(), task: Box::pin(task) }
    }
}

impl<F: Future> Future for HostTask<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let frozen_until = this.clock.host().frozen_until();
        if this.clock.now() < frozen_until && !this.thaw.poll(&this.clock, frozen_until, context) {
            return Poll::Pending;
        }
        let task = this.task.as_mut();
        polled_as(&this.clock, || task.poll(context))
    }
}

impl<F> Drop for HostTask<F> {
    fn drop(&mut self) {
        self.clock.host().task_ended(self.name, self.clock.boot());
    }
}
