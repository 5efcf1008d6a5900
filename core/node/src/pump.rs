//! Moves bytes between a stream and its outbox: writes while it waits to read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use seriatim_world::{BoxFuture, BoxStream, Clock, clock};

use crate::outbox::{Next, Outbox};

/// A read takes at most this many bytes.
const READ_BYTES_MAX: usize = 16 * 1024;

/// A stream with its outbox.
pub(crate) struct Pump {
    stream: BoxStream,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
    writing: Bytes,
    /// Runs while the stream takes no byte.
    stall: Option<BoxFuture<'static, ()>>,
    /// How long the stream may take no byte while some wait.
    stall_timeout: Duration,
}

/// Why [`Pump::read`] returned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Bytes were appended to the buffer.
    Read,
    /// The peer sends no more.
    End,
    /// The outbox was closed and all of it is written.
    Closed,
}

impl Pump {
    pub(crate) fn new(
        stream: BoxStream,
        outbox: Outbox,
        clock: Arc<dyn Clock>,
        stall_timeout: Duration,
    ) -> Self {
        Self { stream, outbox, clock, writing: Bytes::new(), stall: None, stall_timeout }
    }

    /// Writes what is queued and reads more into `buffer`. May be dropped and called again.
    ///
    /// # Errors
    /// The stream failed, or took no byte for too long (`TimedOut`).
    pub(crate) async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<Progress> {
        std::future::poll_fn(|context| self.poll(context, buffer)).await
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<Progress>> {
        if let Poll::Ready(closed) = self.poll_write(context)? {
            return Poll::Ready(Ok(closed));
        }
        let mut scratch = [std::mem::MaybeUninit::uninit(); READ_BYTES_MAX];
        let mut scratch = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut scratch))?;
        if scratch.filled().is_empty() {
            return Poll::Ready(Ok(Progress::End));
        }
        buffer.extend_from_slice(scratch.filled());
        Poll::Ready(Ok(Progress::Read))
    }

    /// Ready when the outbox is closed and written; pending when there is nothing to write or the
    /// stream is full.
    fn poll_write(&mut self, context: &mut Context<'_>) -> io::Result<Poll<Progress>> {
        loop {
            if self.writing.is_empty() {
                match self.outbox.next(context) {
                    Next::Write(bytes) => self.writing = bytes,
                    Next::Nothing => return Ok(Poll::Pending),
                    Next::Close => return Ok(Poll::Ready(Progress::Closed)),
                }
            }
            match Pin::new(&mut self.stream).poll_write(context, &self.writing) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.stall = None;
                    self.outbox.written(count);
                    bytes::Buf::advance(&mut self.writing, count);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return self.poll_stall(context),
            }
        }
    }

    fn poll_stall(&mut self, context: &mut Context<'_>) -> io::Result<Poll<Progress>> {
        let stall = self.stall.get_or_insert_with(|| {
            self.clock.sleep_until(self.clock.mono_now() + self.stall_timeout)
        });
        match stall.as_mut().poll(context) {
            Poll::Ready(()) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes"))
            }
            Poll::Pending => Ok(Poll::Pending),
        }
    }
}

/// How long a peer that was told the end may take to end, too.
const FINISH_TIME: Duration = Duration::from_secs(2);

/// Ends a stream so that the peer gets what was written last: closing a socket while bytes of the
/// peer are unread would reset it.
///
/// # Errors
/// The stream failed: the peer is gone already.
pub(crate) async fn finish(stream: &mut BoxStream, clock: &dyn Clock) -> io::Result<()> {
    let end = async {
        stream.shutdown().await?;
        tokio::io::copy(stream, &mut tokio::io::sink()).await
    };
    match clock::timeout(clock, FINISH_TIME, end).await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(clock::TimedOut) => Ok(()),
    }
}
