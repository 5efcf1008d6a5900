//! Real handshakes over real sockets, with certificates made on the spot.

use std::fs;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::Clock;
use crate::clock::timeout;
use crate::real::{RealClock, RealNet};

/// A folder with a certificate for `localhost` and its key.
struct Folder {
    folder: tempfile::TempDir,
    root: CertificateDer<'static>,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = write_pair(folder.path());
        Self { folder, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self, certificate: &str, key: &str) -> Result<ServerTls, TlsError> {
        ServerTls::load(&self.path(certificate), &self.path(key))
    }
}

/// Issues a certificate and writes it and its key; gives what a client has to trust.
fn write_pair(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

async fn connect(
    address: &str,
    root: &CertificateDer<'static>,
) -> io::Result<impl crate::net::Stream> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = RealNet.connect(address).await?;
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("localhost").unwrap(), stream)
        .await
}

async fn listen(tls: &ServerTls) -> Box<dyn Listener> {
    let net = TlsNet::new(Arc::new(RealNet), tls.clone());
    net.bind(&tls_address("127.0.0.1:0")).await.unwrap()
}

/// Serves one stream: what is read comes back, until the peer ends.
async fn echo(listener: &mut Box<dyn Listener>) -> io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let mut bytes = vec![0; 4_096];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&bytes[..count]).await?;
        stream.flush().await?;
    }
}

#[tokio::test]
async fn bytes_cross_encrypted_and_a_stream_ends_in_order() {
    let folder = Folder::new();
    let mut listener = listen(&folder.load("cert.pem", "key.pem").unwrap()).await;
    let address = listener.local_address();
    let client = async {
        let mut stream = connect(&address, &folder.root).await.unwrap();
        let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let (mut reader, mut writer) = tokio::io::split(&mut stream);
        let mut heard = Vec::new();
        let write = async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let read = async { reader.read_to_end(&mut heard).await.unwrap() };
        tokio::join!(write, read);
        assert!(heard == sent, "{} of {} bytes came back", heard.len(), sent.len());
    };
    let (served, ()) = tokio::join!(echo(&mut listener), client);
    served.unwrap();
}

#[tokio::test]
async fn a_peer_that_does_not_shake_hands_keeps_nobody_from_accepting() {
    let folder = Folder::new();
    let mut listener = listen(&folder.load("cert.pem", "key.pem").unwrap()).await;
    let address = listener.local_address();

    let _silent = RealNet.connect(&address).await.unwrap();
    let (mut waiting, _) = listener.accept().await.unwrap();
    let mut byte = [0; 1];
    let clock = RealClock::new();
    let read = timeout(&clock as &dyn Clock, Duration::from_millis(50), waiting.read(&mut byte));
    assert!(read.await.is_err(), "there is nothing to read before the handshake");
    // Nobody has to be told that it ends.
    waiting.shutdown().await.unwrap();

    let mut plain = RealNet.connect(&address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let error = stream.read(&mut byte).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    assert!(stream.read(&mut byte).await.is_err(), "a failed handshake stays failed");

    let client = async {
        let mut stream = connect(&address, &folder.root).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut byte).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let (served, ()) = tokio::join!(echo(&mut listener), client);
    served.unwrap();
}

#[tokio::test]
async fn a_certificate_that_was_replaced_is_used_from_the_next_connection_on() {
    let folder = Folder::new();
    let tls = folder.load("cert.pem", "key.pem").unwrap();
    let mut listener = listen(&tls).await;
    let address = listener.local_address();
    let mut shake = async |root: &CertificateDer<'static>| {
        let client = async {
            let mut stream = connect(&address, root).await?;
            stream.shutdown().await
        };
        tokio::join!(client, echo(&mut listener)).0.is_ok()
    };
    assert!(shake(&folder.root).await);

    fs::write(folder.path("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })), "half a replacement");
    assert!(shake(&folder.root).await, "what was loaded before stays in use");

    let root = write_pair(folder.folder.path());
    assert!(shake(&folder.root).await, "nobody has reloaded");
    tls.reload().unwrap();
    assert!(shake(&root).await);
    assert!(!shake(&folder.root).await, "the old certificate is still used");
}

#[test]
fn files_that_make_no_credentials_are_refused_with_their_name_and_a_remedy() {
    let folder = Folder::new();
    let foreign = KeyPair::generate().unwrap().serialize_pem();
    fs::write(folder.path("foreign.pem"), foreign).unwrap();
    fs::write(folder.path("empty.pem"), "").unwrap();
    let cut = fs::read_to_string(folder.path("cert.pem")).unwrap();
    fs::write(folder.path("cut.pem"), &cut[..cut.len() / 2]).unwrap();
    let der = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    fs::write(folder.path("junk.pem"), der).unwrap();
    for (certificate, key, expected) in [
        ("missing.pem", "key.pem", "missing.pem"),
        ("cert.pem", "missing.pem", "missing.pem"),
        ("key.pem", "key.pem", "has no certificate"),
        ("empty.pem", "key.pem", "has no certificate"),
        ("cert.pem", "cert.pem", "has no private key"),
        ("cert.pem", "foreign.pem", "is not that of the first certificate"),
        ("cut.pem", "key.pem", "is not sound PEM"),
        ("junk.pem", "key.pem", "can't be used"),
    ] {
        let error = folder.load(certificate, key).err().expect("these make no credentials");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains(';'), "{certificate}, {key}: {text}");
    }
}
