//! What those who watch a server are told: readiness, and figures.

use std::time::Duration;

use seriatim_engine::ids::{ChannelId, SeqNo};
use seriatim_world::World;

use crate::plain_http::{Answer, Plain};
use crate::process::Server;
use crate::user::{User, world};

pub(crate) async fn get(world: &World, address: &str, path: &str) -> Answer {
    Plain::connect(world, address).await.get(path).await
}

/// The value of the sample that starts so.
pub(crate) fn sample(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn figures_count_what_users_do() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve(&data);
    let channel = ChannelId::new("general").unwrap();
    let mut ada = User::start(&world, "ada", &server.address, &data);
    ada.join(&world, &channel).await;
    for _ in 0..30 {
        ada.send(&channel);
    }
    ada.settle(&world).await;
    ada.reach(&world, &channel, SeqNo(31)).await;

    let answer = get(&world, &server.address, "/metrics").await;

    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{}", answer.head);
    let figures = answer.body;
    for (name, expected) in [
        ("seriatim_ready", 1.0),
        ("seriatim_sessions", 1.0),
        ("seriatim_channels", 1.0),
        ("seriatim_handshakes_total", 1.0),
        ("seriatim_accept_seconds_count", 31.0),
        ("seriatim_entries_numbered_total{shard=\"0\"}", 31.0),
        ("seriatim_entries_durable_total{shard=\"0\"}", 31.0),
        ("seriatim_store_batch_entries_sum{shard=\"0\"}", 31.0),
        ("seriatim_durable_seconds_count{shard=\"0\"}", 31.0),
        ("seriatim_store_open{shard=\"0\"}", 1.0),
        ("seriatim_link_up{shard=\"0\"}", 1.0),
        ("seriatim_limit_hits_total{limit=\"SESSIONS_MAX\"}", 0.0),
    ] {
        assert_eq!(sample(&figures, name), expected, "{name}");
    }
    let sent = |from| sample(&figures, &format!("seriatim_deliveries_total{{from=\"{from}\"}}"));
    assert_eq!(sent("live") + sent("log"), 31.0, "one session was sent each entry once");
    assert_eq!(sample(&figures, "seriatim_deliver_seconds_count"), sent("live"));
    // A message's frame has its body and more; the session was sent other frames, too.
    assert!(sample(&figures, "seriatim_queued_bytes_total") > 31.0 * 100.0);
    // The join may have come out of the log: its channel was not subscribed when it was announced.
    assert!(sample(&figures, "seriatim_entries_published_total") >= 30.0);
    let batches = sample(&figures, "seriatim_store_commit_seconds_count{shard=\"0\"}");
    assert!((2.0..=31.0).contains(&batches), "{batches} batches of 31 entries");
    let syncs = sample(&figures, "seriatim_fsync_seconds_count{shard=\"0\"}");
    assert!(syncs >= batches, "{syncs} syncs for {batches} batches");
    assert!(sample(&figures, "seriatim_accept_seconds_sum") > 0.0);
}

#[tokio::test]
async fn a_user_above_the_rate_is_slowed_down_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let server = Server::serve_with(&data, &["--user-rate", "100:10"]);
    let channel = ChannelId::new("general").unwrap();
    let mut ada = User::start(&world, "ada", &server.address, &data);
    ada.join(&world, &channel).await;
    let began_at = world.clock.mono_now();
    for _ in 0..60 {
        ada.send(&channel);
    }
    ada.settle(&world).await;
    ada.reach(&world, &channel, SeqNo(61)).await;

    let took = world.clock.mono_now() - began_at;
    assert!(took >= Duration::from_millis(490), "60 messages at 100/s after 10 took {took:?}");
    assert_eq!(ada.seen().last(&channel), SeqNo(61), "a retry made a second message");
    let figures = get(&world, &server.address, "/metrics").await.body;
    let refused = sample(&figures, "seriatim_rejections_total{code=\"rate_limited\"}");
    assert!(refused >= 50.0, "{refused}");
    assert_eq!(sample(&figures, "seriatim_limit_hits_total{limit=\"USER_RATE_MAX\"}"), refused);
}

#[tokio::test]
async fn a_node_that_lacks_something_is_not_ready_and_says_what() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let (mut owner, gateway, _) = Server::owner_and_gateway(directory.path());
    let ready = |expected| {
        let (world, address) = (world.clone(), gateway.address.clone());
        async move {
            let deadline = world.clock.mono_now() + Duration::from_secs(30);
            loop {
                let answer = get(&world, &address, "/readyz").await;
                if answer.status == expected {
                    break answer.body;
                }
                assert!(world.clock.mono_now() < deadline, "never {expected}: {answer:?}");
            }
        }
    };
    assert_eq!(ready(200).await, "ready\n");

    owner.kill();
    assert_eq!(ready(503).await, "not ready:\nthe link to the owner of shard 0 is down\n");

    owner.start_again();
    assert_eq!(ready(200).await, "ready\n");
}
