//! Tasks of a simulated host: counted by name, laid to their host, stopped while it is frozen or
//! not their turn. A panic takes the whole process down, and no more than that.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use seriatim_world::BoxFuture;
use seriatim_world::spawn::{Spawn, Task};

use crate::host::Exit;
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
        let host = this.clock.host();
        if !this.clock.runs() {
            // Another task took the process down earlier in the same step.
            return Poll::Pending;
        }
        let now = this.clock.now();
        let withheld_until = host.withheld_until(now);
        if now < withheld_until {
            host.count_withheld();
            if !this.thaw.poll(&this.clock, withheld_until, context) {
                return Poll::Pending;
            }
        }
        let task = this.task.as_mut();
        let poll = || polled_as(&this.clock, || task.poll(context));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(progress) => progress,
            Err(_) => {
                // The panic hook has told it. As in the shipped binary, it takes the process down.
                host.exit(this.clock.boot(), now, Exit::Panicked);
                Poll::Pending
            }
        }
    }
}

impl<F> Drop for HostTask<F> {
    fn drop(&mut self) {
        self.clock.host().task_ended(self.name, self.clock.boot());
    }
}
