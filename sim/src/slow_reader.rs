//! The sockets of a client that reads slowly for a while: a phone with a poor line, or a program that
//! can't keep up. What it doesn't read stays in its kernel, and then in the server's.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use seriatim_engine::time::MonoTime;
use seriatim_world::{BoxFuture, BoxStream, Clock, Listener, Net};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of one read, after which the reader waits.
const READ_BYTES: usize = 512;

/// A network whose connections are read slowly.
pub(crate) struct SlowNet {
    pub(crate) net: Arc<dyn Net>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) bytes_per_s: u32,
    /// Since the host started; before it, and from `until` on, they are read as they come.
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

impl Net for SlowNet {
    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.net.bind(address)
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let stream = self.net.connect(address).await?;
            let pause = Duration::from_secs(1) / self.bytes_per_s;
            let (clock, resting) = (self.clock.clone(), None);
            let (from, until) = (MonoTime(self.from), MonoTime(self.until));
            let slow = SlowStream { stream, clock, pause, from, until, resting };
            Ok(Box::new(slow) as BoxStream)
        })
    }
}

struct SlowStream {
    stream: BoxStream,
    clock: Arc<dyn Clock>,
    /// For each byte.
    pause: Duration,
    from: MonoTime,
    until: MonoTime,
    /// Until it reads again.
    resting: Option<BoxFuture<'static, ()>>,
}

impl AsyncRead for SlowStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(resting) = &mut this.resting {
            std::task::ready!(resting.as_mut().poll(context));
            this.resting = None;
        }
        let now = this.clock.mono_now();
        if now < this.from || this.until <= now {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let mut bytes = [0; READ_BYTES];
        let room = READ_BYTES.min(buffer.remaining());
        let mut some = ReadBuf::new(bytes.split_at_mut(room).0);
        let polled = Pin::new(&mut this.stream).poll_read(context, &mut some);
        buffer.put_slice(some.filled());
        let count = some.filled().len();
        let pause = this.pause * u32::try_from(count).expect("at most READ_BYTES");
        if count > 0 {
            this.resting = Some(this.clock.sleep_until((now + pause).min(this.until)));
        }
        polled
    }
}

impl AsyncWrite for SlowStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
