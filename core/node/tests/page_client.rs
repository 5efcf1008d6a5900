//! The page's client.js in Node: alone, and against a real server over a network that loses things.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::process::Server;
use crate::third_party_clients::variable;

/// Prepares a folder with the client as the page has it, changed by `change`, and `script`.
fn folder(directory: &Path, script: &str, change: impl Fn(String) -> String) -> PathBuf {
    let package: PathBuf = env!("CARGO_MANIFEST_DIR").into();
    for name in ["client.js", "transport.js"] {
        let file = std::fs::read_to_string(package.join("src/page").join(name)).unwrap();
        std::fs::write(directory.join(name), change(file)).unwrap();
    }
    std::fs::write(directory.join("package.json"), r#"{"type":"module"}"#).unwrap();
    let path = directory.join(script);
    std::fs::copy(package.join("tests/page").join(script), &path).unwrap();
    path
}

fn node(arguments: &[&str]) -> Output {
    Command::new("node")
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("can't run node: {error}; run ./test.sh, which installs it"))
}

fn said(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(error))
}

#[test]
fn page_client_keeps_its_promises_alone() {
    let directory = tempfile::tempdir().unwrap();
    let script = folder(directory.path(), "client_alone.mjs", |client| client);
    let output = node(&["--test", script.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
}

/// Runs the script against a server of its own.
fn over_a_lossy_network(transport: &str, change: impl Fn(String) -> String) -> Output {
    // The script finds its WebSocket through it.
    variable("SERIATIM_TEST_NODE_MODULES");
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::serve(&data);
    let script = folder(directory.path(), "client_lossy.mjs", change);
    let token = Server::token(&data, "ada");
    node(&[script.to_str().unwrap(), &server.address, &token, "general", transport])
}

#[test]
fn page_client_loses_and_repeats_nothing_over_a_lossy_network() {
    for transport in ["websocket", "polling"] {
        let output = over_a_lossy_network(transport, |file| file);
        assert!(output.status.success(), "{transport}: {}", said(&output));
        println!("{transport}: {}", said(&output));
    }
}

/// The same check, of a client that is wrong in one place: it gives each attempt a nonce of its own.
#[test]
fn page_client_with_a_new_nonce_for_each_attempt_is_caught() {
    let sound = "this.#say({ id, ...request.frame });";
    let broken = "this.#say({ id, ...request.frame, nonce: `n-${Date.now()}-${id}` });";
    let places = std::cell::Cell::new(0);
    let output = over_a_lossy_network("websocket", |file| {
        places.set(places.get() + file.matches(sound).count());
        file.replace(sound, broken)
    });
    assert_eq!(places.get(), 1, "the place to break has moved");
    assert!(!output.status.success(), "two messages from one went unnoticed");
    assert!(said(&output).contains("a message is in the log twice"), "{}", said(&output));
}
