//! What the server logs, and what it must not.

use serde_json::Value;

use seriatim_engine::ids::{ChannelId, Nonce, SeqNo};

use crate::process::Server;
use crate::user::{User, body_of, until, world};

#[tokio::test]
async fn json_lines_tell_of_sessions_and_hold_neither_secrets_nor_bodies() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve_with(&data, &["--log-format", "json", "--log-level", "trace"]);
    let channel = ChannelId::new("general").unwrap();
    let mut ada = User::start(&world, "ada", &server.address, &data);
    ada.join(&world, &channel).await;
    ada.send(&channel);
    ada.reach(&world, &channel, SeqNo(2)).await;
    let token = Server::token(&data, "ada");
    drop(ada);
    let ended = || server.log().contains("session ended");
    until(&world, "the end of the session in the log", ended).await;

    let log = server.log();

    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let said = |text: &str| {
        let line = lines.iter().find(|line| line["message"] == text);
        line.unwrap_or_else(|| panic!("no {text:?} in\n{log}"))
    };
    let (came, opened, ended) =
        (said("connection opened"), said("session opened"), said("session ended"));
    assert!(came["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{came}");
    assert_eq!(came["connection"], opened["connection"]);
    for line in [opened, ended] {
        assert_eq!(line["user"], "demo/ada", "{line}");
        assert_eq!((&line["session"], &line["level"]), (&opened["session"], &"INFO".into()));
    }
    assert_eq!(opened["session"].as_str().unwrap().len(), 16);
    assert_eq!((&opened["client"], &ended["why"]), (&"test".into(), &"disconnected".into()));

    let key = std::fs::read_to_string(data.join("token.key")).unwrap();
    let (head, _) = token.split_once('.').unwrap();
    let body = body_of(&Nonce::new("ada-1").unwrap());
    for secret in [key.trim(), head, &body] {
        assert!(secret.len() > 10 && !log.contains(secret), "the log has {secret:?}");
    }
}
