//! Peers that keep the shipped server waiting: each is given its time and no more, and none keeps
//! others out.

use seriatim_engine::gateway::RateLimits;
use seriatim_engine::handshake::AllowedOrigins;
use seriatim_engine::ids::{NodeId, ShardId};
use seriatim_engine::limits::{HANDSHAKES_MAX, HTTP_IDLE_TIMEOUT};
use seriatim_engine::token::TokenKey;
use seriatim_node::{
    GatewayRole, LinkAddress, MessagesRole, Metrics, NodeConfig, Operations, OwnerConfig,
};
use seriatim_world::World;
use seriatim_world::log_store::LogStoreOptions;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

use crate::lab::{Lab, Notes, note_stream, plain, wait_until, write_at_times};

/// What tokens are signed with.
pub(crate) const SECRET: [u8; 32] = [7; 32];

/// A node with every role, listening on `server:80`.
pub(crate) async fn serve(world: World, _: Notes) {
    let shard = ShardId(0);
    let config = NodeConfig {
        node: NodeId::new("all").unwrap(),
        gateway: Some(GatewayRole {
            listen: "0.0.0.0:80".to_owned(),
            owners: vec![OwnerConfig { shard, link: LinkAddress::Local }],
            token_keys: watch::channel(TokenKey::new(&SECRET).unwrap().into()).1,
            rates: RateLimits::default(),
            origins: AllowedOrigins::default(),
        }),
        messages: Some(MessagesRole {
            listen: None,
            shards: vec![shard],
            store: LogStoreOptions::default(),
        }),
        operations: Operations::default(),
        metrics: Metrics::default(),
    };
    let forever = Box::pin(std::future::pending());
    seriatim_node::run(world, config, |_| {}, forever).await.unwrap();
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: server\r\n\r\n";

#[test]
fn a_head_that_drips_is_given_ten_seconds() {
    let mut lab = Lab::exact();
    lab.host("server", serve);
    lab.host("peer", |world, notes| async move {
        wait_until(&world, 100).await;
        let mut stream = world.net.connect("server:80").await.unwrap();
        let (head, tail) = HEALTH.split_at(20);
        write_at_times(&world, &mut stream, &[(1_000, head), (9_900, tail)]).await;
        note_stream(&world, &notes, "in time", stream).await;
    });
    lab.host("slow", |world, notes| async move {
        wait_until(&world, 100).await;
        let mut stream = world.net.connect("server:80").await.unwrap();
        for byte in HEALTH.as_bytes().chunks(1) {
            // The server's end shows as a failed write, sooner or later.
            if stream.write_all(byte).await.is_err() {
                break;
            }
            let now = u64::try_from(world.clock.mono_now().0.as_millis()).unwrap();
            wait_until(&world, now + 500).await;
        }
        notes.add(&world, "cut off");
    });

    lab.run_until(20_000);

    let texts = lab.notes.texts();
    assert!(texts.iter().any(|text| text.starts_with("in time read HTTP/1.1 200")), "{texts:?}");
    let cut_off = lab.notes.time_of("cut off").expect("a dripping head is cut off");
    assert!((10_000..12_000).contains(&cut_off), "cut off after {cut_off} ms");
}

#[test]
fn an_idle_plain_connection_and_a_dripping_body_are_closed() {
    let mut lab = Lab::exact();
    lab.host("server", serve);
    lab.host("idle", |world, notes| async move {
        wait_until(&world, 100).await;
        let mut stream = world.net.connect("server:80").await.unwrap();
        stream.write_all(HEALTH.as_bytes()).await.unwrap();
        note_stream(&world, &notes, "idle", stream).await;
    });
    lab.host("drip", |world, notes| async move {
        wait_until(&world, 100).await;
        let mut stream = world.net.connect("server:80").await.unwrap();
        let post = "POST /healthz HTTP/1.1\r\nHost: server\r\nContent-Length: 9\r\n\r\n";
        write_at_times(&world, &mut stream, &[(200, post), (5_000, "a"), (9_000, "b")]).await;
        note_stream(&world, &notes, "drip", stream).await;
    });

    lab.run_until(70_000);

    let idle_ms = u64::try_from(HTTP_IDLE_TIMEOUT.as_millis()).unwrap();
    let idle = lab.notes.time_of("idle end").expect("an idle connection is closed");
    assert!((idle_ms..idle_ms + 500).contains(&idle), "closed after {idle} ms");
    let drip = lab.notes.time_of("drip end").expect("a dripping body is cut off");
    assert!((10_000..11_000).contains(&drip), "cut off after {drip} ms");
}

#[test]
fn handshakes_beyond_the_limit_wait_until_others_have_had_their_time() {
    let mut lab = Lab::new(1, plain(), 10);
    lab.host("server", serve);
    for mute in ["mute-1", "mute-2"] {
        lab.host(mute, |world, _| async move {
            wait_until(&world, 100).await;
            for _ in 0..HANDSHAKES_MAX / 2 {
                let own = world.clone();
                let hold = async move {
                    let _stream = own.net.connect("server:80").await;
                    std::future::pending().await
                };
                world.spawn.spawn("mute", Box::pin(hold));
            }
            std::future::pending().await
        });
    }
    lab.host("late", |world, notes| async move {
        wait_until(&world, 1_000).await;
        let mut stream = world.net.connect("server:80").await.unwrap();
        stream.write_all(HEALTH.as_bytes()).await.unwrap();
        note_stream(&world, &notes, "late", stream).await;
    });
    lab.run_until(15_000);

    let notes = lab.notes.all();
    let (at, _) = notes.iter().find(|(_, text)| text.starts_with("late read")).expect("an answer");
    assert!(*at > 10_000, "answered after {at} ms, when {HANDSHAKES_MAX} handshakes were open");
}
