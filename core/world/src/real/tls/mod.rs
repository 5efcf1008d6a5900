//! TLS, as a layer over any [`Net`]: addresses that begin with `tls:` are listened on with it.
//!
//! A connection is accepted as soon as the layer below has it, and shakes hands when it is first
//! read or written ([`stream`]): whoever bounds the time to the first request bounds the handshake
//! with it, so that slow handshakes are no way around that bound.

mod credentials;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::ServerConfig;

use crate::BoxFuture;
use crate::net::{BoxStream, Listener, Net};

pub use credentials::TlsError;

/// Marks the address of a listener whose streams are encrypted.
const PREFIX: &str = "tls:";

/// The address by which a [`TlsNet`] listens on `address` with TLS.
pub fn tls_address(address: &str) -> String {
    format!("{PREFIX}{address}")
}

/// A server's certificate and key, as two files of PEM. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct ServerTls(Arc<Shared>);

struct Shared {
    certificate: PathBuf,
    key: PathBuf,
    /// For the next connection.
    config: Mutex<Arc<ServerConfig>>,
}

impl ServerTls {
    /// Reads and checks both files.
    ///
    /// # Errors
    /// [`TlsError`] names the file and the remedy.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let config = Mutex::new(credentials::load(certificate, key)?);
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Ok(Self(Arc::new(Shared { certificate, key, config })))
    }

    /// Reads the files again, for connections from now on.
    ///
    /// # Errors
    /// [`TlsError`]: what was loaded before stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = credentials::load(&self.0.certificate, &self.0.key)?;
        *self.0.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn config(&self) -> Arc<ServerConfig> {
        self.0.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A [`Net`] that also knows addresses with TLS.
pub struct TlsNet {
    below: Arc<dyn Net>,
    tls: ServerTls,
}

impl TlsNet {
    pub fn new(below: Arc<dyn Net>, tls: ServerTls) -> Self {
        Self { below, tls }
    }
}

impl Net for TlsNet {
    fn bind<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let Some(address) = address.strip_prefix(PREFIX) else { return self.below.bind(address) };
        Box::pin(async move {
            let below = self.below.bind(address).await?;
            Ok(Box::new(TlsListener { below, tls: self.tls.clone() }) as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        self.below.connect(address)
    }
}

struct TlsListener {
    below: Box<dyn Listener>,
    tls: ServerTls,
}

impl Listener for TlsListener {
    fn local_address(&self) -> String {
        self.below.local_address()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>> {
        Box::pin(async move {
            let (below, peer) = self.below.accept().await?;
            Ok((stream::accept(below, self.tls.config()), peer))
        })
    }

    fn limit_send_buffer(&mut self, bytes: usize) -> io::Result<()> {
        self.below.limit_send_buffer(bytes)
    }
}
