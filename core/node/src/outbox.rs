//! What waits to be written to one link: filled by a machine's shell, emptied by the link's task.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::{Bytes, BytesMut};

/// One write carries at most this many bytes: frames that are due together share it.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// A queue of frames with one writer and one reader. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    closing: bool,
    waker: Option<Waker>,
}

/// What the stream's task has to do next.
pub(crate) enum Next {
    /// One or more whole frames, or the rest of them.
    Write(Bytes),
    Nothing,
    /// The queue is closed and empty.
    Close,
}

impl Outbox {
    /// Queues a frame; returns how many bytes are queued with it.
    pub(crate) fn push(&self, frame: Bytes) -> usize {
        let mut state = self.lock();
        if state.closing {
            return state.bytes;
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        let bytes = state.bytes;
        wake(state);
        bytes
    }

    /// Throws away what is queued and closes.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.frames.clear();
        state.bytes = 0;
        state.closing = true;
        wake(state);
    }

    /// What to write next: frames that are due together, as one contiguous buffer. Their bytes
    /// count as queued until [`Self::written`].
    pub(crate) fn next(&self, context: &Context<'_>) -> Next {
        let mut state = self.lock();
        let Some(first) = state.frames.pop_front() else {
            if state.closing {
                return Next::Close;
            }
            state.waker = Some(context.waker().clone());
            return Next::Nothing;
        };
        if state.frames.is_empty() {
            return Next::Write(first);
        }
        let mut together = BytesMut::with_capacity(state.bytes.min(WRITE_BYTES_MAX));
        together.extend_from_slice(&first);
        while let Some(frame) = state.frames.pop_front() {
            if together.len() + frame.len() > WRITE_BYTES_MAX {
                state.frames.push_front(frame);
                break;
            }
            together.extend_from_slice(&frame);
        }
        Next::Write(together.freeze())
    }

    pub(crate) fn written(&self, bytes: usize) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
