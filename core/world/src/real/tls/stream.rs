//! A stream that shakes hands when it is first used.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use seriatim_engine::limits::TLS_BUFFER_BYTES_MAX;

use crate::net::BoxStream;

/// A server's end of an encrypted stream.
enum LazyTls {
    Handshaking(Accept<BoxStream>),
    Open(TlsStream<BoxStream>),
    /// The handshake failed; its reason has been told.
    Failed,
}

/// Encrypts `below`. Nothing is sent or awaited before the stream is used.
pub(super) fn accept(below: BoxStream, config: Arc<ServerConfig>) -> BoxStream {
    let accept = TlsAcceptor::from(config).accept_with(below, |connection| {
        connection.set_buffer_limit(Some(TLS_BUFFER_BYTES_MAX));
    });
    Box::new(LazyTls::Handshaking(accept))
}

impl LazyTls {
    /// The stream behind the handshake.
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut TlsStream<BoxStream>>>> {
        if let Self::Handshaking(accept) = self {
            *self = match ready!(Pin::new(accept).poll(context)) {
                Ok(open) => Self::Open(open),
                Err(error) => {
                    *self = Self::Failed;
                    return Poll::Ready(Err(error));
                }
            };
        }
        match self {
            Self::Open(open) => Poll::Ready(Ok(Pin::new(open))),
            Self::Handshaking(_) | Self::Failed => {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
        }
    }
}

impl AsyncRead for LazyTls {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_open(context))?.poll_read(context, buffer)
    }
}

impl AsyncWrite for LazyTls {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.get_mut().poll_open(context))?.poll_write(context, bytes)
    }

    /// Encrypted bytes may wait for the stream below to take them: what was written is on its way
    /// only once this is done.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_open(context))?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Open(open) => Pin::new(open).poll_shutdown(context),
            // There is nobody to tell yet, or no more.
            Self::Handshaking(_) | Self::Failed => Poll::Ready(Ok(())),
        }
    }
}
