//! `seriatim-server check`, as an operator runs it.

use std::process::Command;

use seriatim_engine::ids::ChannelId;

use crate::process::Server;
use crate::user::{User, world};

const PROGRAM: &str = env!("CARGO_BIN_EXE_seriatim-server");

fn check(data: &str) -> (Option<i32>, serde_json::Value) {
    let output = Command::new(PROGRAM).args(["check", "--json", data]).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

#[tokio::test]
async fn check_tells_a_sound_folder_from_a_damaged_a_used_and_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let path = data.to_str().unwrap();
    assert_eq!(check(path).0, Some(64), "there is nothing yet");

    let mut server = Server::serve(&data);
    let world = world(directory.path());
    let general = ChannelId::new("general").unwrap();
    let mut ada = User::start(&world, "ada", &server.address, &data);
    ada.join(&world, &general).await;
    for _ in 0..20 {
        ada.send(&general);
    }
    ada.settle(&world).await;
    let (code, complaint) = Server::fail(&["check", path]);
    assert_eq!(code, Some(64));
    assert!(complaint.contains("in use by another server"), "{complaint}");
    server.kill();

    let (code, report) = check(path);
    assert_eq!((code, &report["sound"]), (Some(0), &true.into()), "{report}");
    assert_eq!(
        (&report["shards"][0]["entries"], &report["shards"][0]["epoch"]),
        (&21.into(), &1.into())
    );

    let segment = data.join("log/shard-0000.log.00000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[12] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (code, report) = check(path);
    assert_eq!((code, &report["sound"]), (Some(1), &false.into()), "{report}");
    let damage = &report["shards"][0]["damages"][0];
    assert_eq!(damage["file"], "shard-0000.log.00000001");
    assert_eq!((&damage["offset"], &damage["starts"]), (&0.into(), &false.into()));
    let (code, complaint) = Server::fail(&["check", path]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("1 file is damaged or missing"), "{complaint}");
}
