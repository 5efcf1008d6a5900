//! The only way to start a task.

use crate::BoxFuture;

/// Starts tasks on the node's runtime.
pub trait Spawn: Send + Sync + 'static {
    /// Runs `task` until it ends, or its [`Task`] is aborted or the node stops. `name` is for
    /// diagnostics.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) -> Task;
}

/// A running task. Dropping it leaves the task running.
#[derive(Debug)]
pub struct Task(tokio::task::AbortHandle);

impl Task {
    pub fn new(handle: tokio::task::AbortHandle) -> Self {
        Self(handle)
    }

    /// Stops the task at its next await.
    pub fn abort(&self) {
        self.0.abort();
    }

    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// A set of tasks that end together: dropping it aborts them all.
#[derive(Debug, Default)]
pub struct TaskGroup(Vec<Task>);

impl TaskGroup {
    /// Adds `task`; forgets those that have ended.
    pub fn add(&mut self, task: Task) {
        self.0.retain(|task| !task.is_finished());
        self.0.push(task);
    }
}

impl Drop for TaskGroup {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
