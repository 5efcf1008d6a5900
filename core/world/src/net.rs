//! Byte streams between nodes and clients.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::BoxFuture;

/// A connected byte stream, as TCP gives it: ordered, without message borders, closed by either
/// side. A read or write may move fewer bytes than asked for.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// A stream whose kind doesn't matter.
pub type BoxStream = Box<dyn Stream>;

/// Opens and accepts streams. Addresses are `host:port`; port 0 asks for a free one. A world may
/// know other kinds of addresses, such as [`crate::real::TlsNet`]'s.
pub trait Net: Send + Sync + 'static {
    /// Listens on `address`.
    ///
    /// # Errors
    /// The address is taken, not ours, or not an address.
    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// Connects to `address`. Never gives up before the kernel does (minutes): callers bound it
    /// with [`crate::clock::timeout`].
    ///
    /// # Errors
    /// Refused, reset, timed out, or not an address.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>>;
}

/// A listening socket.
pub trait Listener: Send + 'static {
    /// The address in use, with the port that was chosen.
    fn local_address(&self) -> String;

    /// Waits for the next connection; gives its stream and the peer's address.
    ///
    /// # Errors
    /// Out of file descriptors and the like: wait a little and call again.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>>;

    /// Bounds the bytes that the network holds of what is written to a stream accepted from now
    /// on, while its peer does not take them.
    ///
    /// # Errors
    /// The bound stays as it was.
    fn limit_send_buffer(&mut self, bytes: usize) -> io::Result<()>;
}
