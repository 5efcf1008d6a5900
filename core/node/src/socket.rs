//! One client's socket, shared by two tasks: the gateway writes to it, the connection's own reads.
//!
//! What the gateway queues in one turn it flushes at the turn's end, in one write. Only when the
//! socket does not take all of it does the connection's task go on writing, as the socket becomes
//! writable. So a live socket costs one system call for all that is due and wakes no task, and an
//! idle one holds no buffer.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use seriatim_engine::limits::{SESSION_BACKLOG_BYTES_MAX, SESSION_QUEUE_BYTES_MAX};
use seriatim_world::BoxStream;

/// One write carries at most this many bytes: frames that are due together share it.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// A read takes at most this many bytes.
const READ_BYTES_MAX: usize = 16 * 1024;

/// While more bytes are queued, nothing is read: a peer that asks and asks without reading the
/// answers is stopped by its own socket.
const READ_PAUSE_BYTES: usize = 2 * SESSION_QUEUE_BYTES_MAX;

/// A client's socket. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Socket(Arc<Mutex<State>>);

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

struct State {
    /// Gone once it has been closed.
    stream: Option<BoxStream>,
    queue: Queue,
    /// Takes no more frames; ends once those in it are written.
    closing: bool,
    /// The stream did not take all bytes: the connection's task writes the rest.
    blocked: bool,
    failed: Option<io::Error>,
    /// Somebody wants to hear when no more than so many bytes are queued.
    short: Option<usize>,
    /// The connection's task, when it waits.
    reader: Option<Waker>,
}

/// What the connection's task has to do.
pub(crate) enum Progress {
    /// Bytes came and were given to the caller.
    Read,
    /// The queue that was to become short has: so many bytes are left in it.
    Short(usize),
    /// The peer sends no more.
    End,
    /// The socket was closed and all of it is written; this is its stream.
    Closed(BoxStream),
}

/// Why nothing can be done at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    ToRead,
    /// `progress`: since the last look the peer has taken some bytes.
    ToWrite {
        progress: bool,
    },
}

impl Socket {
    pub(crate) fn new(stream: BoxStream) -> Self {
        Self(Arc::new(Mutex::new(State {
            stream: Some(stream),
            queue: Queue::default(),
            closing: false,
            blocked: false,
            failed: None,
            short: None,
            reader: None,
        })))
    }

    /// Queues whole frames. Somebody must flush. False: so much was queued with them that it is
    /// thrown away and the socket closed.
    pub(crate) fn push(&self, frames: Bytes) -> bool {
        let mut state = self.lock();
        if !state.closing {
            state.queue.push(frames);
        }
        let fits = state.queue.bytes <= SESSION_BACKLOG_BYTES_MAX;
        drop(state);
        if !fits {
            self.abandon();
        }
        fits
    }

    /// Writes what is queued, as far as the socket takes it at once. Gives the bytes that are
    /// left, once, when they have become as few as was asked.
    pub(crate) fn flush(&self, scratch: &mut Vec<u8>) -> Option<usize> {
        let mut state = self.lock();
        if !state.blocked {
            // The connection's task has itself woken when the socket can be written again.
            let mut context = Context::from_waker(Waker::noop());
            match state.write(&mut context, scratch) {
                Ok(_) => {}
                Err(error) => state.failed = Some(error),
            }
            if state.blocked || state.closing || state.failed.is_some() {
                state.wake();
            }
        }
        state.take_short()
    }

    /// Takes no more frames; the socket is closed once those in it are written.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.wake();
    }

    /// Throws away what is queued and closes.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.queue = Queue::default();
        state.closing = true;
        state.wake();
    }

    /// The bytes queued, if they are `short` or fewer; else [`Self::flush`] or [`Self::poll`] tells
    /// when.
    pub(crate) fn ask_short(&self, short: usize) -> Option<usize> {
        let mut state = self.lock();
        state.short = Some(short);
        state.take_short()
    }

    /// For the connection's task: writes what is left, then reads and gives the bytes to `take`.
    /// Says what it waits for when it is pending.
    pub(crate) fn poll(
        &self,
        context: &mut Context<'_>,
        waits: &mut Waits,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<Progress>> {
        let mut state = self.lock();
        if let Some(error) = state.failed.take() {
            return Poll::Ready(Err(error));
        }
        let progress = state.write(context, &mut Vec::new())?;
        if state.closing && state.queue.is_empty() && !state.blocked {
            let stream = state.stream.take().ok_or(io::ErrorKind::NotConnected)?;
            return Poll::Ready(Ok(Progress::Closed(stream)));
        }
        if let Some(bytes) = state.take_short() {
            return Poll::Ready(Ok(Progress::Short(bytes)));
        }
        *waits = if state.blocked { Waits::ToWrite { progress } } else { Waits::ToRead };
        state.remember(context);
        if state.queue.bytes > READ_PAUSE_BYTES {
            // The stream's readiness to be written wakes the task.
            return Poll::Pending;
        }
        let stream = state.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut scratch = [std::mem::MaybeUninit::uninit(); READ_BYTES_MAX];
        let mut scratch = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(stream).poll_read(context, &mut scratch))?;
        drop(state);
        if scratch.filled().is_empty() {
            return Poll::Ready(Ok(Progress::End));
        }
        take(scratch.filled());
        Poll::Ready(Ok(Progress::Read))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes until the queue is empty and on its way, or the stream is full. True when it took any
    /// bytes.
    fn write(&mut self, context: &mut Context<'_>, scratch: &mut Vec<u8>) -> io::Result<bool> {
        let mut progress = false;
        self.blocked = false;
        while let Some(bytes) = self.queue.front(scratch) {
            let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            match Pin::new(stream).poll_write(context, bytes) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    progress = true;
                    self.queue.consume(count);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.blocked = true;
                    return Ok(progress);
                }
            }
        }
        // A stream that encrypts may have taken bytes that its socket did not.
        if let Some(stream) = &mut self.stream {
            self.blocked = Pin::new(stream).poll_flush(context)?.is_pending();
        }
        Ok(progress)
    }

    fn take_short(&mut self) -> Option<usize> {
        self.short.take_if(|short| self.queue.bytes <= *short).map(|_| self.queue.bytes)
    }

    fn remember(&mut self, context: &Context<'_>) {
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
            self.reader = Some(context.waker().clone());
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// Frames that wait to be written, shared with all who get the same.
#[derive(Debug, Default)]
struct Queue {
    first: Bytes,
    rest: VecDeque<Bytes>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, frames: Bytes) {
        self.bytes += frames.len();
        if self.first.is_empty() {
            self.first = frames;
        } else {
            self.rest.push_back(frames);
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What to write next as one contiguous piece, in `scratch` if it has to be put together.
    fn front<'a>(&'a self, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return (!self.first.is_empty()).then_some(&self.first);
        }
        scratch.clear();
        scratch.extend_from_slice(&self.first);
        for frames in &self.rest {
            if scratch.len() + frames.len() > WRITE_BYTES_MAX {
                break;
            }
            scratch.extend_from_slice(frames);
        }
        Some(scratch)
    }

    /// The first `count` bytes are written.
    fn consume(&mut self, mut count: usize) {
        self.bytes -= count;
        while count >= self.first.len() {
            count -= self.first.len();
            match self.rest.pop_front() {
                Some(next) => self.first = next,
                None => {
                    // An idle socket holds no buffer.
                    (self.first, self.rest) = (Bytes::new(), VecDeque::new());
                    return;
                }
            }
        }
        self.first.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Takes every byte into a buffer of its own, as encryption does; its socket is full at first.
    struct Holding {
        held: Vec<u8>,
        sent: Arc<Mutex<Vec<u8>>>,
        full: Arc<AtomicBool>,
    }

    impl AsyncRead for Holding {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Holding {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.held.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.full.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            let held = std::mem::take(&mut self.held);
            self.sent.lock().unwrap().extend(held);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn bytes_that_the_stream_holds_back_are_waited_for_by_the_connections_task() {
        let (sent, full) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicBool>::default());
        let stream = Holding { held: Vec::new(), sent: sent.clone(), full: full.clone() };
        let socket = Socket::new(Box::new(stream));
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = || {
            let mut waits = Waits::ToRead;
            let polled = socket.poll(&mut context, &mut waits, |_| {});
            (matches!(polled, Poll::Ready(Ok(Progress::Closed(_)))), waits)
        };
        assert_eq!(poll(), (false, Waits::ToRead));

        full.store(true, Ordering::Relaxed);
        socket.push(Bytes::from_static(b"hello"));
        socket.flush(&mut Vec::new());
        assert_eq!(poll(), (false, Waits::ToWrite { progress: false }));
        socket.close();
        assert!(!poll().0, "closed before the last bytes are on their way");

        full.store(false, Ordering::Relaxed);
        assert!(poll().0);
        assert_eq!(*sent.lock().unwrap(), b"hello");
    }

    #[test]
    fn a_peer_that_lets_too_much_pile_up_is_closed_and_its_queue_thrown_away() {
        let (stream, _peer) = tokio::io::duplex(64);
        let socket = Socket::new(Box::new(stream));
        let frames = Bytes::from(vec![0; SESSION_BACKLOG_BYTES_MAX / 4]);
        for _ in 0..4 {
            assert!(socket.push(frames.clone()));
        }
        assert!(!socket.push(frames));
        let mut context = Context::from_waker(Waker::noop());
        let closed = socket.poll(&mut context, &mut Waits::ToRead, |_| {});
        assert!(matches!(closed, Poll::Ready(Ok(Progress::Closed(_)))));
        assert_eq!(socket.lock().queue.bytes, 0);
    }

    #[test]
    fn frames_that_are_due_together_are_one_piece_and_leave_nothing_behind() {
        let mut queue = Queue::default();
        let mut scratch = Vec::new();
        assert_eq!(queue.front(&mut scratch), None);
        queue.push(Bytes::from_static(b"ab"));
        assert_eq!(queue.front(&mut scratch), Some(b"ab".as_slice()));
        queue.push(Bytes::from_static(b"cde"));
        queue.push(Bytes::from_static(b"f"));
        assert_eq!(queue.front(&mut scratch), Some(b"abcdef".as_slice()));
        for (taken, left) in [(1, "bcdef"), (1, "cdef"), (2, "ef"), (1, "f")] {
            queue.consume(taken);
            assert_eq!(queue.front(&mut scratch), Some(left.as_bytes()));
            assert_eq!(queue.bytes, left.len());
        }
        queue.consume(1);
        assert!(queue.is_empty());
        assert_eq!(queue.rest.capacity(), 0);
    }

    #[test]
    fn one_piece_is_bounded() {
        let mut queue = Queue::default();
        for _ in 0..3 {
            queue.push(Bytes::from(vec![0; WRITE_BYTES_MAX / 2]));
        }
        let mut scratch = Vec::new();
        assert_eq!(queue.front(&mut scratch).map(<[u8]>::len), Some(WRITE_BYTES_MAX));
        queue.consume(WRITE_BYTES_MAX);
        assert_eq!(queue.front(&mut scratch).map(<[u8]>::len), Some(WRITE_BYTES_MAX / 2));
    }
}
