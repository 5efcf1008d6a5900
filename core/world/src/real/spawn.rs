//! Tokio's tasks.

use tracing::Instrument as _;

use crate::BoxFuture;
use crate::spawn::{Spawn, Task};

/// Starts tasks on the tokio runtime of the caller.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealSpawn;

impl Spawn for RealSpawn {
    /// # Panics
    /// Outside a tokio runtime.
    #[expect(clippy::disallowed_methods, reason = "this is the real spawn")]
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) -> Task {
        let span = tracing::debug_span!("task", name);
        Task::new(tokio::spawn(task.instrument(span)).abort_handle())
    }
}
