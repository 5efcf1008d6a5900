//! TCP.

use std::io;

#[expect(clippy::disallowed_types, reason = "this is the real network")]
use tokio::net::{TcpListener, TcpStream};

use crate::BoxFuture;
use crate::net::{BoxStream, Listener, Net};

/// TCP over the machine's network. Small frames leave at once (`TCP_NODELAY`), and a port that a
/// dead server left in `TIME_WAIT` can be bound again (`SO_REUSEADDR`).
#[derive(Debug, Clone, Copy, Default)]
pub struct RealNet;

impl Net for RealNet {
    #[expect(clippy::disallowed_types, reason = "this is the real network")]
    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            // On Unix tokio sets SO_REUSEADDR here.
            let listener = TcpListener::bind(address).await?;
            let local_address = listener.local_addr()?.to_string();
            Ok(Box::new(RealListener { listener, local_address }) as Box<dyn Listener>)
        })
    }

    #[expect(clippy::disallowed_types, reason = "this is the real network")]
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}

/// A listening TCP socket.
#[expect(clippy::disallowed_types, reason = "this is the real network")]
struct RealListener {
    listener: TcpListener,
    local_address: String,
}

impl Listener for RealListener {
    fn local_address(&self) -> String {
        self.local_address.clone()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            // Fails when the peer is gone already; then the first read says so.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%peer, %error, "an accepted stream keeps Nagle's delay");
            }
            Ok((Box::new(stream) as BoxStream, peer.to_string()))
        })
    }

    fn limit_send_buffer(&mut self, bytes: usize) -> io::Result<()> {
        // What Linux accepts inherits it.
        socket2::SockRef::from(&self.listener).set_send_buffer_size(bytes)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_cross_between_a_listener_and_its_peer() {
        let mut listener = RealNet.bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_address();

        let mut near = RealNet.connect(&address).await.unwrap();
        let (mut far, _peer) = listener.accept().await.unwrap();
        near.write_all(b"hello").await.unwrap();
        near.shutdown().await.unwrap();
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.unwrap();

        assert_eq!(heard, b"hello");
    }

    #[tokio::test]
    async fn nobody_listening_is_refused() {
        let address = RealNet.bind("127.0.0.1:0").await.unwrap().local_address();

        let error = RealNet.connect(&address).await.err().unwrap();

        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_port_in_use_cannot_be_bound_again() {
        let listener = RealNet.bind("127.0.0.1:0").await.unwrap();

        let error = RealNet.bind(&listener.local_address()).await.err().unwrap();

        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
