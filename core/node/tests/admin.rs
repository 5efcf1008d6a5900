//! What operators are shown and may do, with the program and over HTTP; and who else is not.

use std::path::Path;

use seriatim_engine::ids::{ChannelId, SeqNo};
use seriatim_world::World;

use crate::plain_http::{Answer, Plain};
use crate::process::Server;
use crate::user::{User, world};
use crate::watching::{get, sample};

/// Runs `admin` against the server; gives what it printed.
pub(crate) fn admin(server: &Server, data: &Path, arguments: &[&str]) -> String {
    let at = ["--address", &server.address, "--data", data.to_str().unwrap()];
    Server::print(&[&["admin"], arguments, &at].concat())
}

fn admin_json(server: &Server, data: &Path, arguments: &[&str]) -> serde_json::Value {
    let text = admin(server, data, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap()
}

/// Asks with this header.
pub(crate) async fn ask(world: &World, address: &str, path: &str, authorization: &str) -> Answer {
    let mut plain = Plain::connect(world, address).await;
    plain.ask(&format!("GET {path} HTTP/1.1\r\nHost: here\r\n{authorization}\r\n")).await
}

#[tokio::test]
async fn an_operator_sees_what_the_server_holds() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);
    let channel = ChannelId::new("general").unwrap();
    let token = admin(&server, &data, &["token", "demo", "ada", "--hours", "1"]);
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    let mut ada = User::start_with(&world, "ada", &server.address, token.trim());
    let bob = User::start(&world, "bob", &server.address, &data);
    ada.join(&world, &channel).await;
    bob.join(&world, &channel).await;
    ada.send(&channel);
    ada.settle(&world).await;
    bob.reach(&world, &channel, SeqNo(3)).await;

    let print = |arguments: &[&str]| admin(&server, &data, arguments);
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(lines(&print(&["workspaces"]))[1], "demo 1 yes");
    let users = lines(&print(&["users", "demo"]));
    assert!(users[1].starts_with("ada ") && users[2].starts_with("bob "), "{users:?}");
    assert_eq!(lines(&print(&["channels", "demo"]))[1], "general public 3 2 1");
    let general = lines(&print(&["channel", "demo", "general"]));
    assert!(general.contains(&"creator ada".to_owned()), "{general:?}");
    assert!(general.iter().any(|line| line.starts_with("bob 2 ")), "{general:?}");
    let shards = lines(&print(&["shards"]));
    assert!(shards[1].starts_with("0 yes 1 0 1 3 3"), "{shards:?}");

    let sessions = admin_json(&server, &data, &["sessions", "--user", "bob"]);
    assert_eq!(sessions["rows"].as_array().unwrap().len(), 1, "{sessions}");
    let session = &sessions["rows"][0];
    assert_eq!((&session["user"], &session["phase"]), (&"bob".into(), &"live".into()));
    let session = admin_json(&server, &data, &["session", session["session"].as_str().unwrap()]);
    assert_eq!(session["following"][0]["sent_upto"], 3, "{session}");
    let page = print(&["users", "demo", "--limit", "1"]);
    assert!(page.contains("There is more: add --after ada"), "{page}");
    assert!(print(&["users", "demo", "--after", "ada"]).contains("bob"));

    for (arguments, code, says) in [
        (&["users", "de mo"][..], 64, "is no name"),
        (&["session", "0"], 70, "no such session"),
        (&["channel", "demo", "other"], 70, "no shard of this node has a channel demo/other"),
        (&["token", "demo", "ada", "--hours", "0"], 70, "good for 1 to"),
    ] {
        let at = ["--address", &server.address, "--data", data.to_str().unwrap()];
        let (ended, error) = Server::fail(&[&["admin"], arguments, &at].concat());
        assert!(error.contains(says), "{arguments:?}: {error}");
        assert_eq!(ended, Some(code), "{error}");
    }
}

#[tokio::test]
async fn nobody_without_the_secret_is_told_anything() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);
    let secret = std::fs::read_to_string(data.join("admin.key")).unwrap();
    let secret = secret.trim();
    let token = Server::token(&data, "ada");
    let longer = format!("Authorization: Bearer {secret}0\r\n");
    let of_a_user = format!("Authorization: Bearer {token}\r\n");

    for path in ["workspaces", "sessions", "shards", "tokens", "nothing", ""] {
        let path = format!("/v1/admin/{path}");
        let missing = get(&world, &server.address, &path).await;
        assert_eq!(missing.status, 401, "{path}: {missing:?}");
        assert!(missing.head.contains("WWW-Authenticate: Bearer"), "{}", missing.head);
        for wrong in ["Authorization: Bearer x\r\n", &longer, &of_a_user] {
            let answer = ask(&world, &server.address, &path, wrong).await;
            assert_eq!(answer.status, 403, "{path}: {answer:?}");
            assert!(!answer.body.contains(secret), "the secret is told");
        }
    }
    let figures = get(&world, &server.address, "/metrics").await.body;
    assert_eq!(sample(&figures, "seriatim_admin_denied_total"), 24.0);
    assert_eq!(sample(&figures, "seriatim_admin_requests_total"), 0.0);

    let right = format!("Authorization: Bearer {secret}\r\n");
    for (path, status) in [
        ("/v1/admin/workspaces", 200),
        ("/v1/admin/workspaces?limit=x", 400),
        ("/v1/admin/workspaces?after=%2e", 400),
        ("/v1/admin/workspaces?limits=1", 400),
        ("/v1/admin/workspaces?limit=1&limit=2", 400),
        ("/v1/admin/tokens", 405),
        ("/v1/admin/nothing", 404),
    ] {
        let answer = ask(&world, &server.address, path, &right).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }

    // Another secret in the file takes the first one's place.
    std::fs::write(data.join("admin.key"), "f".repeat(64)).unwrap();
    let mut status = 200;
    while status == 200 {
        status = ask(&world, &server.address, "/v1/admin/shards", &right).await.status;
    }
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_node_that_only_owns_shards_answers_operators_on_a_port_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("o1"));
    let flags = ["--shard", "0", "--messages", "127.0.0.1:0"];
    let owner = Server::node(&data, &flags, "--http", "operators");

    assert_eq!(get(&world, &owner.address, "/healthz").await.status, 200);
    let mut ready = 503;
    while ready == 503 {
        ready = get(&world, &owner.address, "/readyz").await.status;
    }
    assert_eq!(ready, 200);
    let figures = get(&world, &owner.address, "/metrics").await.body;
    assert_eq!(sample(&figures, "seriatim_store_open{shard=\"0\"}"), 1.0);
    for path in ["/", "/v1/ws", "/v1/poll"] {
        assert_eq!(get(&world, &owner.address, path).await.status, 404, "{path}");
    }
    let shards = admin_json(&owner, &data, &["shards"]);
    assert_eq!(
        (&shards["rows"][0]["shard"], &shards["links"]),
        (&0.into(), &serde_json::json!([]))
    );
    let at = ["--address", &owner.address, "--data", data.to_str().unwrap()];
    let (code, error) = Server::fail(&[&["admin", "sessions"], &at[..]].concat());
    assert_eq!(code, Some(70));
    assert!(error.contains("this node has no gateway"), "{error}");
}

#[tokio::test]
async fn operators_with_a_port_of_their_own_are_answered_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve_with(&data, &["--http", "127.0.0.1:0"]);
    let secret = std::fs::read_to_string(data.join("admin.key")).unwrap();
    let right = format!("Authorization: Bearer {}\r\n", secret.trim());
    let answer = ask(&world, &server.address, "/v1/admin/shards", &right).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    assert_eq!(get(&world, &server.address, "/metrics").await.status, 200);

    let other = directory.path().join("other").display().to_string();
    let open = ["serve", "--data", &other, "--listen", "127.0.0.1:0", "--http", "0.0.0.0:0"];
    let (code, error) = Server::fail(&open);
    assert_eq!(code, Some(64), "{error}");
    assert!(error.contains("--http 0.0.0.0:0 is open to the network"), "{error}");
}

#[tokio::test]
async fn a_drained_server_has_no_clients_and_takes_none_until_it_serves_again() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);
    let channel = ChannelId::new("general").unwrap();
    let mut ada = User::start(&world, "ada", &server.address, &data);
    ada.join(&world, &channel).await;
    let progress = admin_json(&server, &data, &["drain", "--undo"]);
    assert_eq!((&progress["draining"], &progress["connections"]), (&false.into(), &1.into()));

    let progress = admin_json(&server, &data, &["drain", "--wait", "--spread-s", "0"]);

    assert_eq!((&progress["draining"], &progress["sessions"]), (&true.into(), &0.into()));
    let ready = get(&world, &server.address, "/readyz").await;
    assert_eq!((ready.status, &*ready.body), (503, "not ready:\nthe node is being drained\n"));
    // Ada's client knows no other server, so it tries this one again and again.
    let goodbyes = "seriatim_goodbyes_total{code=\"draining\"}";
    loop {
        let figures = get(&world, &server.address, "/metrics").await.body;
        assert_eq!(sample(&figures, "seriatim_sessions"), 0.0);
        if sample(&figures, goodbyes) >= 3.0 {
            break;
        }
    }
    ada.send(&channel);

    admin(&server, &data, &["drain", "--undo"]);

    ada.settle(&world).await;
    ada.reach(&world, &channel, SeqNo(2)).await;
    assert_eq!(ada.seen().sessions, 2);
    assert_eq!(get(&world, &server.address, "/readyz").await.status, 200);
    let at = ["--address", &server.address, "--data", data.to_str().unwrap()];
    let (code, error) = Server::fail(&[&["admin", "drain", "--spread-s", "601"], &at[..]].concat());
    assert_eq!(code, Some(70));
    assert!(error.contains("spread_ms is at most 600000"), "{error}");
}

#[tokio::test]
async fn a_trace_tells_what_became_of_a_message() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let mut server = Server::serve(&data);
    let channel = ChannelId::new("general").unwrap();
    let mut ada = User::start(&world, "ada", &server.address, &data);
    let bob = User::start(&world, "bob", &server.address, &data);
    ada.join(&world, &channel).await;
    bob.join(&world, &channel).await;
    bob.reach(&world, &channel, SeqNo(2)).await;
    ada.send(&channel);
    ada.settle(&world).await;
    bob.reach(&world, &channel, SeqNo(3)).await;
    let trace = |address: &str, more: &[&str]| {
        let at = ["--address", address, "--data", data.to_str().unwrap()];
        Server::print(&[&["trace", "general", "3"], more, &at].concat())
    };
    let json = |address: &str| -> serde_json::Value {
        serde_json::from_str(&trace(address, &["--json"])).unwrap()
    };

    let told = json(&server.address);

    assert_eq!((&told["entry"]["by"], &told["owner"]["head"]), (&"ada".into(), &3.into()));
    let at = |value: &serde_json::Value| value.as_u64().unwrap_or_else(|| panic!("{told}"));
    let [asked, numbered, arrived] = [
        &told["gateway"]["requests"][0]["asked_at_ms"],
        &told["owner"]["times"]["numbered_at_ms"],
        &told["gateway"]["arrived_at_ms"],
    ]
    .map(at);
    // Each is rounded to a millisecond by itself.
    assert!(asked <= numbered + 1 && numbered <= arrived + 1, "{told}");
    assert!(at(&told["owner"]["times"]["durable_after_us"]) > 0, "{told}");
    assert!(at(&told["gateway"]["written_after_us"]) < 60_000_000, "{told}");
    let sessions = told["gateway"]["sessions"]["rows"].as_array().unwrap();
    let hows =
        sessions.iter().map(|row| (row["user"].as_str().unwrap(), row["how"].as_str().unwrap()));
    let mut hows: Vec<_> = hows.collect();
    hows.sort_unstable();
    assert_eq!(hows, [("ada", "live"), ("bob", "live")]);
    let text = trace(&server.address, &[]);
    for part in
        ["nonce ada-1 of ada", "received and numbered; durable", "asked for by session", "bob"]
    {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }

    // After a restart the log is all that is known.
    server.kill();
    server.start_again();
    let at = ["--address", &server.address, "--data", data.to_str().unwrap()];
    while Server::fail(&[&["admin", "shards"], &at[..]].concat()).0 != Some(0) {}
    let told = json(&server.address);
    assert_eq!(
        (&told["entry"]["by"], &told["owner"]["times"]),
        (&"ada".into(), &serde_json::Value::Null)
    );
    assert!(trace(&server.address, &[]).contains("its times are forgotten"));
}
