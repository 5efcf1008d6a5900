//! The server by TLS: a client that no one here wrote, slow handshakes, and certificates that
//! change or don't fit.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use seriatim_engine::limits::SESSION_REQUESTS_MAX;
use seriatim_world::clock::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::process::Server;
use crate::third_party_clients::{script, variable};
use crate::user::world;

/// As many as a session may have without an answer, less its join.
const SENDS: u64 = SESSION_REQUESTS_MAX as u64 - 1;

/// A certificate for the loopback address, and its key.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn new(folder: &Path) -> Self {
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let pair = Self { certificate, key };
        pair.issue();
        pair
    }

    fn issue(&self) {
        let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(&self.certificate, issued.cert.pem()).unwrap();
        fs::write(&self.key, issued.signing_key.serialize_pem()).unwrap();
    }

    fn flags(&self) -> [&str; 4] {
        let [certificate, key] = [&self.certificate, &self.key].map(|path| path.to_str().unwrap());
        ["--tls-cert", certificate, "--tls-key", key]
    }
}

/// The script's command line against `server`, which it may trust by the certificate at `ca`.
fn python(server: &Server, data: &Path, ca: &Path) -> Command {
    let mut command = Command::new(variable("SERIATIM_TEST_PYTHON"));
    command
        .arg(script("python_client.py"))
        .args(["--url", &format!("wss://{}/v1/ws", server.address), "--channel", "general"])
        .args(["--token", &Server::token(data, "py"), "--ca", ca.to_str().unwrap()])
        .stdout(Stdio::piped());
    command
}

/// Lets the script join and send, until everything was accepted, and kills it.
fn first_life(server: &Server, data: &Path, pair: &Pair, sends: u64) {
    let mut child = python(server, data, &pair.certificate)
        .args(["--send", &sends.to_string()])
        .spawn()
        .expect("run ./test.sh, which prepares Python");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    assert!(lines.any(|shown| shown["type"] == "all_accepted"), "the script ended early");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn python_websockets_resumes_by_wss_and_reads_the_whole_history() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let pair = Pair::new(directory.path());
    let server = Server::serve_with(&data, &pair.flags());
    first_life(&server, &data, &pair, SENDS);

    let second = python(&server, &data, &pair.certificate).args(["--after", "1"]).output().unwrap();

    assert!(second.status.success(), "{second:?}");
    let text = String::from_utf8(second.stdout).unwrap();
    let shown: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs = |kind: &str| -> Vec<u64> {
        let of_kind = shown.iter().filter(|one| one["type"] == kind);
        match kind {
            "history" => {
                of_kind.flat_map(|one| one["seqs"].as_array().unwrap()).collect::<Vec<_>>()
            }
            _ => of_kind.map(|one| &one["seq"]).collect(),
        }
        .into_iter()
        .map(|seq| seq.as_u64().unwrap())
        .collect()
    };
    assert_eq!(seqs("message"), (2..=1 + SENDS).collect::<Vec<u64>>(), "what it missed");
    assert_eq!(seqs("history"), (1..=1 + SENDS).collect::<Vec<u64>>());
    let closed = shown.last().unwrap();
    assert_eq!((&closed["type"], &closed["code"]), (&"closed".into(), &1000.into()));
    server.assert_sound();
}

#[test]
fn a_new_certificate_is_used_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let pair = Pair::new(directory.path());
    let server = Server::serve_with(&data, &pair.flags());
    first_life(&server, &data, &pair, 1);

    pair.issue();

    // The script trusts the new one only.
    for attempt in 0.. {
        let output = python(&server, &data, &pair.certificate)
            .args(["--after", "1"])
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        if output.status.success() {
            break;
        }
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("CERTIFICATE_VERIFY_FAILED"), "{error}");
        assert!(attempt < 100, "the new certificate is not used");
    }
    server.assert_sound();
}

#[tokio::test]
async fn slow_handshakes_are_cut_off_and_keep_nobody_out() {
    const SLOW: usize = 200;
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let pair = Pair::new(directory.path());
    let server = Server::serve_with(&data, &pair.flags());
    let mut slow = Vec::new();
    for number in 0..SLOW {
        let mut stream = world.net.connect(&server.address).await.unwrap();
        // The beginning of a handshake record, or of nothing.
        let beginning: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
        stream.write_all(beginning.get(..number % 7).unwrap()).await.unwrap();
        slow.push(stream);
    }

    first_life(&server, &data, &pair, 1);

    for mut stream in slow {
        let mut rest = Vec::new();
        let read = timeout(&*world.clock, Duration::from_secs(60), stream.read_to_end(&mut rest));
        // An end, or a reset: the server owes nothing to whoever doesn't shake hands.
        drop(read.await.expect("a slow handshake goes on for ever"));
        assert!(rest.len() < 64, "{} bytes for a handshake that was never made", rest.len());
    }
    server.assert_sound();
}

#[tokio::test]
async fn plain_requests_to_a_tls_port_are_answered_by_an_alert_only() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let pair = Pair::new(directory.path());
    let server = Server::serve_with(&data, &pair.flags());
    let mut stream = world.net.connect(&server.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(&*world.clock, Duration::from_secs(30), stream.read_to_end(&mut answer));
    drop(read.await.expect("the server ends the connection"));
    assert!(answer.len() < 64 && !answer.starts_with(b"HTTP"), "{answer:?}");
    server.assert_sound();
}

#[test]
fn certificates_that_do_not_fit_keep_the_server_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let pair = Pair::new(directory.path());
    let [cert_flag, certificate, key_flag, key] = pair.flags();
    let serve = ["serve", "--data", data.to_str().unwrap(), "--listen", "0.0.0.0:0"];
    for (flags, expected) in [
        (vec![cert_flag, certificate], "--tls-key"),
        (vec![key_flag, key], "--tls-cert"),
        (vec![cert_flag, "/nowhere/cert.pem", key_flag, key], "can't read /nowhere/cert.pem"),
        (vec![cert_flag, key, key_flag, key], "has no certificate"),
        (vec![cert_flag, certificate, key_flag, certificate], "has no private key"),
    ] {
        let (code, complaint) = Server::fail(&[serve.as_slice(), &flags].concat());
        assert!(matches!(code, Some(64 | 70)), "{code:?}: {complaint}");
        assert!(complaint.contains(expected), "{flags:?}: {complaint}");
    }
}
