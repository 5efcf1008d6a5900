//! Clients that no one here wrote, driven by scripts written from `docs/protocol.md` alone: they
//! join, send, are killed, resume, and get exactly what they missed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use seriatim_engine::frame::LogFrame;
use seriatim_engine::ids::{ChannelId, SeqNo};
use seriatim_world::clock::sleep;

use crate::process::Server;
use crate::user::{User, world};

/// What a script sends in its first life.
const SENDS: u64 = 10;

/// What another user sends around the kill, and as much again once the client is dead: more than a
/// page, so that resuming takes several.
const OTHERS: usize = 150;

#[tokio::test]
async fn python_websockets_resumes_with_exactly_what_it_missed() {
    let python = variable("SERIATIM_TEST_PYTHON");
    let script = script("python_client.py");
    is_killed_and_resumes("py", &[python, script]).await;
}

/// Nothing but Python's own HTTP client, and long polling.
#[tokio::test]
async fn python_http_resumes_with_exactly_what_it_missed() {
    let python = variable("SERIATIM_TEST_PYTHON");
    let script = script("python_poll_client.py");
    is_killed_and_resumes("poll", &[python, script]).await;
}

#[tokio::test]
async fn node_ws_resumes_with_exactly_what_it_missed() {
    // The script finds its library through it.
    variable("SERIATIM_TEST_NODE_MODULES");
    is_killed_and_resumes("node", &["node".to_owned(), script("node_client.mjs")]).await;
}

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run ./test.sh, which prepares what this test needs and sets it")
    })
}

pub(crate) fn script(name: &str) -> String {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "clients"].iter().collect();
    folder.join(name).to_str().expect("the checkout's path is UTF-8").to_owned()
}

async fn is_killed_and_resumes(user: &str, program: &[String]) {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);
    let channel = ChannelId::new("general").unwrap();
    let mut ada = User::start(&world, "ada", &server.address, &data);
    ada.join(&world, &channel).await;
    for _ in 0..20 {
        ada.send(&channel);
    }
    ada.settle(&world).await;

    let client = Client { program, user, address: &server.address, data: &data };
    let mut child = client.start(&["--send", &SENDS.to_string()]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut shown = Vec::new();
    while shown.last().is_none_or(|last: &Value| last["type"] != "all_accepted") {
        let line = lines.next().expect("the script runs until it is killed").unwrap();
        shown.push(serde_json::from_str(&line).unwrap());
    }
    for _ in 0..OTHERS {
        ada.send(&channel);
    }
    // Some of them reach the script, then it dies amid the rest.
    sleep(&*world.clock, Duration::from_millis(3)).await;
    child.kill().unwrap();
    child.wait().unwrap();
    // The last line may be half written.
    shown.extend(lines.filter_map(|line| serde_json::from_str(&line.unwrap()).ok()));
    for _ in 0..OTHERS {
        ada.send(&channel);
    }
    ada.settle(&world).await;
    let head = SeqNo(20 + 1 + 1 + SENDS + 2 * OTHERS as u64);
    ada.reach(&world, &channel, head).await;
    let log: Vec<Value> = ada.seen().delivered[&channel]
        .iter()
        .map(|entry| serde_json::to_value(LogFrame::new(channel.clone(), entry)).unwrap())
        .collect();

    let last = seq_of(entries(&shown).last().unwrap());
    let (before, after) = log.split_at(last);
    let joined = before.len() - entries(&shown).len();
    assert_eq!(entries(&shown), before[joined..], "its first life saw its join and all after it");
    assert_accepted_as_logged(&shown, &log);
    assert!(after.len() >= OTHERS, "those were sent when it was dead");

    let second = client.start(&["--after", &last.to_string()]).wait_with_output().unwrap();
    assert!(second.status.success(), "{second:?}");
    let text = String::from_utf8(second.stdout).unwrap();
    let shown: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();

    assert_eq!(entries(&shown), after, "exactly what it missed, in order");
    let caught_up = &shown[after.len()];
    assert_eq!((&caught_up["type"], &caught_up["head"]), (&"caught_up".into(), &head.0.into()));
    assert_history_is_whole(&shown, head);
    let closed = shown.last().unwrap();
    assert_eq!((&closed["type"], &closed["code"]), (&"closed".into(), &1000.into()));
    println!("{user}: {} seen, then killed; {} missed and resumed", before.len(), after.len());
}

/// The entries among what a script showed.
fn entries(shown: &[Value]) -> Vec<Value> {
    let is_entry = |one: &&Value| one["type"] == "message" || one["type"] == "event";
    shown.iter().filter(is_entry).cloned().collect()
}

fn seq_of(shown: &Value) -> usize {
    shown["seq"].as_u64().and_then(|seq| seq.try_into().ok()).expect("it has a seq")
}

/// Every `accepted` names the seq at which the log has the message.
fn assert_accepted_as_logged(shown: &[Value], log: &[Value]) {
    let accepted: Vec<&Value> = shown.iter().filter(|one| one["type"] == "accepted").collect();
    assert_eq!(accepted.len() as u64, 1 + SENDS, "the join and every send");
    for one in accepted {
        let entry = &log[seq_of(one) - 1];
        let (number, at_ms) = (one["reply_to"].as_u64().unwrap() as i64 - 2, &entry["at_ms"]);
        assert_eq!((&one["duplicate"], &one["at_ms"]), (&false.into(), at_ms));
        let named = if number < 0 { "-join".to_owned() } else { format!("-{number}") };
        let nonce = entry["nonce"].as_str().expect("every entry has the nonce of its request");
        assert!(nonce.ends_with(&named), "{one} is not {entry}");
        assert_eq!(entry["kind"] == "joined", number < 0, "{one} is not {entry}");
    }
}

/// The pages that a script read hold every seq once, in order.
fn assert_history_is_whole(shown: &[Value], head: SeqNo) {
    let pages = shown.iter().filter(|one| one["type"] == "history");
    let seqs: Vec<u64> = pages
        .flat_map(|page| page["seqs"].as_array().unwrap())
        .map(|seq| seq.as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=head.0).collect::<Vec<u64>>());
}

struct Client<'a> {
    program: &'a [String],
    user: &'a str,
    address: &'a str,
    data: &'a Path,
}

impl Client<'_> {
    fn start(&self, arguments: &[&str]) -> std::process::Child {
        let (first, rest) = self.program.split_first().expect("a program");
        Command::new(first)
            .args(rest)
            .args(["--url", &format!("ws://{}/v1/ws", self.address)])
            .args(["--token", &Server::token(self.data, self.user), "--channel", "general"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("can't run {first}: {error}; run ./test.sh"))
    }
}
