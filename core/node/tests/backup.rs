//! `seriatim-server backup`, beside a server that is used.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use seriatim_engine::ids::ChannelId;

use crate::process::Server;
use crate::user::{User, world};

const PROGRAM: &str = env!("CARGO_BIN_EXE_seriatim-server");

fn backup(data: &str, to: &str) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM).args(["backup", "--data", data, to]).output().unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), told)
}

#[tokio::test]
async fn a_backup_of_a_running_server_starts_as_that_server_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (data, copy) = (directory.path().join("data"), directory.path().join("copy"));
    assert_eq!(backup(&path("data"), &path("copy")).0, Some(64), "there is nothing yet");

    let mut server = Server::serve(&data);
    let world = world(directory.path());
    let general = ChannelId::new("general").unwrap();
    let mut ada = User::start(&world, "ada", &server.address, &data);
    ada.join(&world, &general).await;
    for _ in 0..20 {
        ada.send(&general);
    }
    ada.settle(&world).await;
    // These are on their way while the copy is made.
    for _ in 0..20 {
        ada.send(&general);
    }
    let (code, told) = backup(&path("data"), &path("copy"));
    assert_eq!(code, Some(0), "{told}");
    ada.settle(&world).await;
    server.kill();

    assert!(!directory.path().join("copy.partial").exists());
    for key in ["token.key", "admin.key"] {
        assert_eq!(std::fs::read(data.join(key)).unwrap(), std::fs::read(copy.join(key)).unwrap());
        let mode = std::fs::metadata(copy.join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    let again = backup(&path("data"), &path("copy"));
    assert_eq!(again.0, Some(64), "it replaces nothing");
    assert!(again.1.contains("exists already"), "{}", again.1);

    let mut server = Server::serve(&copy);
    let bob = User::start(&world, "bob", &server.address, &copy);
    bob.join(&world, &general).await;
    let output = Command::new(PROGRAM)
        .args(["admin", "channel", "demo", "general", "--json", "--address", &server.address])
        .args(["--data", &path("copy")])
        .output()
        .unwrap();
    let channel: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // One has joined, sent at least the twenty that were accepted, and another has joined.
    let head = channel["head"].as_u64().unwrap_or_else(|| panic!("{channel}"));
    assert!((22..=42).contains(&head), "{channel}");
    server.kill();

    let segment = data.join("log/shard-0000.log.00000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[12] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (code, told) = backup(&path("data"), &path("other"));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("other.partial is kept, but not sound"), "{told}");
    assert!(!directory.path().join("other").exists());
}
