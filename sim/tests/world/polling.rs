//! The shipped server with clients that poll, over a network that is cut: nothing is lost, and what
//! is abandoned ends.

use std::time::Duration;

use serde_json::{Value, json};
use seriatim_engine::ids::{UserId, WorkspaceId};
use seriatim_engine::limits::{POLL_IDLE_TIMEOUT, POLL_WAIT_MAX};
use seriatim_engine::time::WallTime;
use seriatim_engine::token::{Claims, TokenKey};
use seriatim_world::World;
use seriatim_world::clock::{sleep, timeout};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::lab::{Lab, Notes, wait_until};
use crate::slow_peers::{SECRET, serve};

/// How long a client waits for the answer to a request that does not wait itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// What each client sends.
const SENDS: u64 = 40;

fn hello(user: &str, after: u64) -> Value {
    let claims = Claims {
        workspace: WorkspaceId::new("demo").unwrap(),
        user: UserId::new(user).unwrap(),
        expires_at: WallTime(u64::from(u32::MAX) * 1_000),
    };
    let token = TokenKey::new(&SECRET).unwrap().sign(&claims);
    json!({ "type": "hello", "token": token, "resume": [{ "channel": "general", "after": after }] })
}

/// A request on a connection of its own; `None` when no answer came in time.
async fn post(world: &World, body: &Value, patience: Duration) -> Option<(u16, Value)> {
    let exchange = async {
        let mut stream = world.net.connect("server:80").await.ok()?;
        let body = body.to_string();
        let head = format!(
            "POST /v1/poll HTTP/1.1\r\nHost: server\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        // Refusals are for people.
        Some((status, serde_json::from_str(body).unwrap_or_else(|_| body.into())))
    };
    timeout(&*world.clock, patience, exchange).await.ok().flatten()
}

/// A client that polls, written from docs/protocol.md.
struct Poller {
    world: World,
    user: &'static str,
    name: Option<String>,
    batch: u64,
    /// Entries of the channel, in the order in which they came.
    entries: Vec<Value>,
    accepted: u64,
    opened: u64,
    repeated: u64,
}

impl Poller {
    fn new(world: &World, user: &'static str) -> Self {
        let world = world.clone();
        Self {
            world,
            user,
            name: None,
            batch: 0,
            entries: Vec::new(),
            accepted: 0,
            opened: 0,
            repeated: 0,
        }
    }

    fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry["seq"].as_u64().unwrap())
    }

    /// One request: opens a connection if there is none. Gives what the poll brought that was new.
    async fn poll(&mut self, frames: &[Value], wait: Duration) -> Vec<Value> {
        let mut all = Vec::new();
        if self.name.is_none() {
            self.batch = 0;
            all.push(hello(self.user, self.last()));
        }
        all.extend_from_slice(frames);
        let body = json!({
            "connection": self.name, "ack": self.batch, "frames": all,
            "wait_ms": u64::try_from(wait.as_millis()).unwrap(),
        });
        let Some((status, answer)) = post(&self.world, &body, wait + PATIENCE).await else {
            // Lost on its way there, or back: the same `ack` tells.
            self.repeated += 1;
            sleep(&*self.world.clock, Duration::from_millis(100)).await;
            return Vec::new();
        };
        if status != 200 {
            assert_eq!(status, 404, "{answer}");
            self.name = None;
            return Vec::new();
        }
        if self.name.is_none() {
            self.opened += 1;
            self.name = Some(answer["connection"].as_str().unwrap().to_owned());
        }
        let number = answer["batch"].as_u64().unwrap();
        if !answer["closed"].is_null() {
            self.name = None;
        }
        if number != self.batch + 1 {
            assert_eq!(number, self.batch, "{answer}");
            assert_eq!(answer["frames"], json!([]));
            return Vec::new();
        }
        self.batch = number;
        answer["frames"].as_array().unwrap().clone()
    }

    /// Sends messages one after the other, each until it is accepted, and takes what comes.
    async fn talk(&mut self) {
        let channel = "general";
        for number in 0..=SENDS {
            let request = if number == 0 {
                json!({ "type": "join", "id": 0, "channel": channel, "nonce": "join" })
            } else {
                let nonce = format!("{}-{number}", self.user);
                json!({ "type": "send", "id": number, "channel": channel, "nonce": nonce, "body": nonce })
            };
            let mut frames = vec![request.clone()];
            let mut done = false;
            let mut asked_at = self.world.clock.mono_now();
            while !done {
                for frame in self.poll(&frames, Duration::from_millis(500)).await {
                    done |= frame["type"] == "accepted" && frame["reply_to"] == number;
                    self.take(&frame);
                }
                let now = self.world.clock.mono_now();
                // Lost on its way there, perhaps: a new connection, or ten seconds, and again.
                frames = Vec::new();
                if self.name.is_none() || now - asked_at > Duration::from_secs(3) {
                    frames = vec![request.clone()];
                    asked_at = now;
                }
            }
            self.accepted += 1;
            // So that each cut falls among the sends.
            sleep(&*self.world.clock, Duration::from_millis(200)).await;
        }
    }

    fn take(&mut self, frame: &Value) {
        if frame["type"] == "message" || frame["type"] == "event" {
            self.entries.push(frame.clone());
        }
    }

    async fn reach(&mut self, head: u64) {
        while self.last() < head {
            for frame in self.poll(&[json!({ "type": "ping" })], Duration::from_millis(500)).await {
                self.take(&frame);
            }
        }
    }
}

#[test]
fn clients_that_poll_lose_nothing_when_the_network_is_cut() {
    let mut lab = Lab::exact();
    lab.host("server", serve);
    let talk = |user: &'static str| {
        move |world: World, notes: Notes| async move {
            wait_until(&world, 500).await;
            let mut poller = Poller::new(&world, user);
            poller.talk().await;
            // Both joins, and what both sent.
            poller.reach(2 * (1 + SENDS)).await;
            assert_eq!(poller.accepted, 1 + SENDS);
            let seqs: Vec<u64> =
                poller.entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
            let first = seqs[0];
            assert_eq!(seqs, (first..=2 * (1 + SENDS)).collect::<Vec<u64>>(), "{user}");
            notes.add(&world, format!("{user} has all of {}", 2 * (1 + SENDS)));
            let Poller { opened, repeated, .. } = poller;
            notes.add(&world, format!("{user} opened {opened}, repeated {repeated}"));
        }
    };
    lab.host("ada", talk("ada"));
    lab.host("bob", talk("bob"));

    let mut now = 0;
    // Answers are lost, then requests; the last cut outlasts a connection.
    let cuts = [("server", "ada", 700), ("server", "ada", 5_000), ("ada", "server", 90_000)];
    for (from, to, cut) in cuts {
        now += 1_900;
        lab.run_until(now);
        lab.plane.cut(lab.now(), from, to);
        now += cut;
        lab.run_until(now);
        lab.plane.heal(lab.now(), from, to);
        lab.plane.forget_between(lab.now(), from, to);
    }
    lab.run_until(now + 60_000);

    let texts = lab.notes.texts();
    let all = format!("has all of {}", 2 * (1 + SENDS));
    assert_eq!(texts.iter().filter(|text| text.ends_with(&all)).count(), 2, "{texts:?}");
    assert!(texts.contains(&"bob opened 1, repeated 0".to_owned()), "{texts:?}");
    let ada = texts.iter().find(|text| text.starts_with("ada opened")).unwrap();
    assert!(ada.starts_with("ada opened 2") && !ada.ends_with(" 0"), "the cuts cut nothing: {ada}");
    assert!(lab.hygiene.findings().is_empty(), "{:?}", lab.hygiene.findings());
}

#[test]
fn a_poll_waits_its_time_and_a_newer_one_takes_its_place() {
    let mut lab = Lab::exact();
    lab.host("server", serve);
    lab.host("ada", |world, notes| async move {
        wait_until(&world, 1_000).await;
        let mut poller = Poller::new(&world, "ada");
        let welcome = poller.poll(&[], Duration::from_secs(5)).await;
        assert_eq!(welcome[0]["type"], "welcome", "{welcome:?}");
        let name = poller.name.clone().unwrap();
        let waits = json!({ "connection": name, "ack": 1, "wait_ms": 1_000_000 });
        let (own, own_notes, older) = (world.clone(), notes.clone(), waits.clone());
        let first = async move {
            let answer = post(&own, &older, Duration::from_secs(60)).await.unwrap();
            own_notes.add(&own, format!("older {} {}", answer.0, answer.1["batch"]));
        };
        world.spawn.spawn("older", Box::pin(first));
        wait_until(&world, 5_000).await;
        let (status, answer) = post(&world, &waits, Duration::from_secs(60)).await.unwrap();
        assert_eq!((status, &answer["frames"]), (200, &json!([])), "{answer}");
        notes.add(&world, "newer");
        // The first batch is gone once it was acknowledged.
        for (ack, status) in [(0, 409), (1, 200), (2, 409), (7, 409)] {
            let poll = json!({ "connection": name, "ack": ack });
            let answer = post(&world, &poll, PATIENCE).await.unwrap();
            assert_eq!(answer.0, status, "{ack}: {}", answer.1);
        }
        for (body, status) in [(json!([]), 400), (json!({ "connection": "x" }), 404)] {
            assert_eq!(post(&world, &body, PATIENCE).await.unwrap().0, status, "{body}");
        }
        let close = json!({ "connection": name, "close": true });
        let (status, answer) = post(&world, &close, PATIENCE).await.unwrap();
        assert_eq!((status, &answer["closed"]["code"]), (200, &json!(1000)));
        assert_eq!(post(&world, &waits, PATIENCE).await.unwrap().0, 404);
        notes.add(&world, "done");
    });
    lab.run_until(40_000);

    let older = lab.notes.time_of("older 200 1").expect("the older poll is answered");
    assert!((5_000..5_200).contains(&older), "answered after {older} ms");
    let newer = lab.notes.time_of("newer").expect("the newer poll is answered");
    let wait_ms = u64::try_from(POLL_WAIT_MAX.as_millis()).unwrap();
    assert!((5_000 + wait_ms..5_200 + wait_ms).contains(&newer), "answered after {newer} ms");
    assert!(lab.notes.time_of("done").is_some(), "{:?}", lab.notes.texts());
    assert!(lab.hygiene.findings().is_empty(), "{:?}", lab.hygiene.findings());
}

#[test]
fn a_polled_session_ends_when_nobody_polls() {
    let mut lab = Lab::exact();
    lab.host("server", serve);
    for (host, after) in [("early", Duration::from_secs(60)), ("late", POLL_IDLE_TIMEOUT)] {
        lab.host(host, move |world, notes| async move {
            wait_until(&world, 1_000).await;
            let mut poller = Poller::new(&world, if host == "early" { "ada" } else { "bob" });
            poller.poll(&[], Duration::from_secs(5)).await;
            let name = poller.name.clone().unwrap();
            sleep(&*world.clock, after + Duration::from_secs(1)).await;
            let poll = json!({ "connection": name, "ack": 1 });
            let (status, answer) = post(&world, &poll, PATIENCE).await.unwrap();
            notes.add(&world, format!("{host} {status} {}", answer["frames"][0]["code"]));
        });
    }
    lab.run_until(100_000);

    let mut texts = lab.notes.texts();
    texts.sort();
    // The gateway had said goodbye after 45 s without a frame, as to any session.
    assert_eq!(texts, ["early 200 \"idle\"", "late 404 null"]);
    assert!(lab.hygiene.findings().is_empty(), "{:?}", lab.hygiene.findings());
}
