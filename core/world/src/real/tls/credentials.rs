//! Reads a certificate and its key, and checks that they belong together.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::{self, ServerConfig};

/// Why a certificate and key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("can't read {path}: {source}; give a PEM file that this user may read")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not sound PEM: {why}; write the file anew")]
    Pem { path: PathBuf, why: pem::Error },
    #[error(
        "{path} has no certificate; give a PEM file that has the server's own first and those of \
         its issuers behind it"
    )]
    NoCertificate { path: PathBuf },
    #[error("{path} has no private key; give the PEM file with the certificate's key, unencrypted")]
    NoKey { path: PathBuf },
    #[error(
        "the key in {key} is not that of the first certificate in {certificate}; give the two that \
         were issued together"
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("{certificate} with {key} can't be used: {why}; have them issued anew")]
    Unusable { certificate: PathBuf, key: PathBuf, why: rustls::Error },
}

/// What both files make together.
///
/// # Errors
/// [`TlsError`]
pub(super) fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(certificate)?;
    let private = private_key(key)?;
    let unusable = |why| {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        if matches!(why, rustls::Error::InconsistentKeys(_)) {
            TlsError::Mismatch { certificate, key }
        } else {
            TlsError::Unusable { certificate, key, why }
        }
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Resumption would save a fraction of a handshake and cost memory for every connection.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|why| TlsError::Pem { path: path.to_owned(), why })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|why| {
        let path = path.to_owned();
        if matches!(why, pem::Error::NoItemsFound) {
            TlsError::NoKey { path }
        } else {
            TlsError::Pem { path, why }
        }
    })
}
