//! Do simulated sockets behave as Linux's do, with and without faults?

use crate::lab::{Lab, note_all, note_stream, plain, wait_until, write_at_times};
use seriatim_sim::net::{LinkShape, NetConfig};
use seriatim_world::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn stay() {
    std::future::pending::<()>().await;
}

async fn connect(world: &World) -> Box<dyn seriatim_world::net::Stream> {
    world.net.connect("server:80").await.unwrap()
}

/// A server that notes everything, and a client that writes `texts` at their times.
pub(crate) fn writing(texts: &'static [(u64, &'static str)]) -> Lab {
    let mut lab = Lab::exact();
    lab.host("server", note_all);
    lab.host("client", move |world, _| async move {
        let mut stream = connect(&world).await;
        write_at_times(&world, &mut stream, texts).await;
        stay().await;
    });
    lab
}

/// A server that notes everything, and a client that notes the outcome of one connect.
fn connecting(tick_ms: u64) -> Lab {
    let mut lab = Lab::new(1, plain(), tick_ms);
    lab.host("server", note_all);
    lab.host("client", |world, notes| async move {
        match world.net.connect("server:80").await {
            Ok(_stream) => {
                notes.add(&world, "connected");
                stay().await;
            }
            Err(error) => notes.add(&world, format!("{:?}", error.kind())),
        }
    });
    lab
}

#[test]
fn bytes_arrive_after_their_latency_and_not_before() {
    let mut lab = writing(&[(50, "a"), (70, "b")]);
    lab.run_until(200);
    let expected = [(30, "accepted"), (60, "server read a"), (80, "server read b")];
    assert_eq!(lab.notes.all(), expected.map(|(at, text)| (at, text.to_owned())));
}

#[test]
fn a_port_without_a_listener_refuses_after_a_round_trip() {
    let mut lab = Lab::exact();
    lab.host("server", |_, _| stay());
    lab.host("client", |world, notes| async move {
        let error = world.net.connect("server:80").await.err().unwrap();
        notes.add(&world, format!("{:?}", error.kind()));
    });
    lab.run_until(100);
    assert_eq!(lab.notes.time_of("ConnectionRefused"), Some(20));
}

#[test]
fn a_connect_to_a_host_without_power_hangs_for_127_s_and_times_out() {
    let mut lab = connecting(10);
    lab.power_off("server");
    lab.run_until(126_900);
    assert_eq!(lab.notes.all(), []);
    lab.run_until(128_000);
    assert_eq!(lab.notes.time_of("TimedOut"), Some(127_000));
}

#[test]
fn a_connect_across_a_cut_succeeds_at_the_first_retransmission_after_the_heal() {
    for (from, to) in [("client", "server"), ("server", "client")] {
        let mut lab = connecting(1);
        lab.plane.cut(lab.now(), from, to);
        lab.run_until(2_000);
        lab.plane.heal(lab.now(), from, to);
        lab.run_until(4_000);
        assert_eq!(lab.notes.time_of("connected"), Some(3_020), "{from} to {to} was cut");
        assert_eq!(lab.notes.time_of("accepted"), Some(3_030));
    }
}

#[test]
fn a_connect_that_was_given_up_reaches_nobody() {
    let mut lab = Lab::exact();
    lab.host("server", note_all);
    lab.host("client", |world, notes| async move {
        let limit = std::time::Duration::from_millis(15);
        let outcome =
            seriatim_world::clock::timeout(&*world.clock, limit, world.net.connect("server:80"));
        assert!(outcome.await.is_err());
        notes.add(&world, "gave up");
    });
    lab.run_until(3_000);
    assert_eq!(lab.notes.texts(), ["gave up"]);
}

#[test]
fn data_across_a_cut_is_held_and_arrives_in_order_after_the_heal() {
    let mut lab = writing(&[(110, "a"), (120, "b"), (520, "c"), (800, "d")]);
    lab.run_until(100);
    lab.plane.cut_between(lab.now(), "client", "server");
    lab.run_until(500);
    assert_eq!(lab.plane.counters().bytes_held, 2);
    lab.plane.heal_between(lab.now(), "client", "server");
    lab.run_until(1_000);
    // Stalled since 110: sent again at 310 and 710. What follows waits behind it.
    let read: Vec<_> = lab.notes.all().split_off(1);
    let expected = [(720, "server read abc"), (810, "server read d")];
    assert_eq!(read, expected.map(|(at, text)| (at, text.to_owned())));
}

#[test]
fn data_in_flight_when_the_cut_comes_is_held_too() {
    let mut lab = writing(&[(100, "a")]);
    lab.run_until(105);
    lab.plane.cut(lab.now(), "client", "server");
    lab.run_until(150);
    lab.plane.heal(lab.now(), "client", "server");
    lab.run_until(1_000);
    assert_eq!(lab.notes.time_of("server read a"), Some(105 + 200 + 10));
}

#[test]
fn a_one_way_cut_lets_the_other_way_through_until_acknowledgements_are_missed() {
    let mut lab = Lab::exact();
    lab.host("server", |world, notes| async move {
        let mut listener = world.net.bind("server:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        write_at_times(&world, &mut stream, &[(110, "a"), (120, "b"), (400, "c")]).await;
        note_stream(&world, &notes, "server", stream).await;
    });
    lab.host("client", |world, notes| async move {
        let mut stream = connect(&world).await;
        write_at_times(&world, &mut stream, &[(105, "x")]).await;
        note_stream(&world, &notes, "client", stream).await;
    });
    lab.run_until(100);
    lab.plane.cut(lab.now(), "client", "server");
    lab.run_until(1_000);
    assert_eq!(lab.notes.texts(), ["client read a", "client read b"]);
    lab.plane.heal(lab.now(), "client", "server");
    lab.run_until(3_000);
    // Stalled since 105: again at 1505. The server's unacknowledged since 110: again at 1510.
    assert_eq!(lab.notes.time_of("server read x"), Some(1_515));
    assert!(lab.notes.time_of("client read c").unwrap() > 1_500);
}

#[test]
fn cuts_of_one_path_add_up() {
    let mut lab = writing(&[(110, "a")]);
    lab.run_until(100);
    lab.plane.cut(lab.now(), "client", "server");
    lab.plane.isolate(lab.now(), "client");
    lab.run_until(200);
    lab.plane.heal(lab.now(), "client", "server");
    lab.run_until(2_000);
    assert_eq!(lab.notes.time_of("server read a"), None);
    lab.plane.rejoin(lab.now(), "client");
    lab.run_until(5_000);
    assert_eq!(lab.notes.time_of("server read a"), Some(110 + 3_000 + 10));
}

#[test]
fn a_peer_silent_for_924_s_is_given_up() {
    let mut lab = Lab::new(1, plain(), 100);
    lab.host("server", note_all);
    lab.host("client", |world, notes| async move {
        let mut stream = connect(&world).await;
        write_at_times(&world, &mut stream, &[(2_000, "a")]).await;
        note_stream(&world, &notes, "client", stream).await;
    });
    lab.run_until(1_000);
    lab.plane.cut_between(lab.now(), "client", "server");
    lab.run_until(930_000);
    assert_eq!(lab.notes.time_of("client TimedOut"), Some(2_000 + 924_600));
    assert_eq!(lab.plane.counters().timeouts, 1);
}

#[test]
fn a_reset_is_told_once_at_both_ends() {
    let mut lab = Lab::exact();
    let both = |who: &'static str| {
        move |world: World, notes: crate::lab::Notes| async move {
            let mut stream = if who == "server" {
                let mut listener = world.net.bind("server:80").await.unwrap();
                listener.accept().await.unwrap().0
            } else {
                connect(&world).await
            };
            let mut buffer = [0; 8];
            let error = stream.read(&mut buffer).await.unwrap_err();
            notes.add(&world, format!("{who} {:?}", error.kind()));
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
            let error = stream.write_all(b"x").await.unwrap_err();
            notes.add(&world, format!("{who} {:?}", error.kind()));
        }
    };
    lab.host("server", both("server"));
    lab.host("client", both("client"));
    lab.run_until(100);
    assert_eq!(lab.plane.reset_between(lab.now(), "client", "server"), 1);
    lab.run_until(200);
    let mut texts = lab.notes.texts();
    texts.sort();
    let expected = ["client BrokenPipe", "client ConnectionReset"];
    assert_eq!(texts[..2], expected);
    assert_eq!(texts[2..], expected.map(|text| text.replace("client", "server")));
    assert_eq!(lab.plane.counters().resets, 2);
}

#[test]
fn bytes_received_before_a_reset_can_still_be_read() {
    let mut lab = Lab::exact();
    lab.host("server", |world, notes| async move {
        let mut listener = world.net.bind("server:80").await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        wait_until(&world, 500).await;
        note_stream(&world, &notes, "server", stream).await;
    });
    lab.host("client", |world, _| async move {
        let mut stream = connect(&world).await;
        write_at_times(&world, &mut stream, &[(100, "early"), (195, "late")]).await;
        stay().await;
    });
    lab.run_until(200);
    lab.plane.reset_host(lab.now(), "server");
    lab.run_until(1_000);
    assert_eq!(lab.notes.texts(), ["server read early", "server ConnectionReset"]);
    assert_eq!(lab.plane.counters().bytes_dropped, 4);
}

/// A server that accepts and reads nothing, and a client that writes until it is stopped.
fn flooding() -> Lab {
    let mut lab = Lab::exact();
    lab.host("server", |world, notes| async move {
        let mut listener = world.net.bind("server:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        wait_until(&world, 1_000).await;
        let mut buffer = vec![0; 30_000];
        stream.read_exact(&mut buffer).await.unwrap();
        notes.add(&world, "server drained");
        stay().await;
    });
    lab.host("client", |world, notes| async move {
        let mut stream = connect(&world).await;
        stream.write_all(&[7; 64 * 1024]).await.unwrap();
        notes.add(&world, "client filled");
        match stream.write_all(b"more").await {
            Ok(()) => notes.add(&world, "client wrote"),
            Err(error) => notes.add(&world, format!("client {:?}", error.kind())),
        }
        stay().await;
    });
    lab
}

#[test]
fn a_full_window_blocks_the_writer_until_the_reader_drains_a_third() {
    let mut lab = flooding();
    lab.run_until(3_000);
    assert_eq!(lab.notes.time_of("client filled"), Some(20));
    assert_eq!(lab.notes.time_of("server drained"), Some(1_000));
    assert_eq!(lab.notes.time_of("client wrote"), Some(1_010));
    assert_eq!(lab.plane.counters().writes_blocked, 1);
}

#[test]
fn a_reset_wakes_a_blocked_writer() {
    let mut lab = flooding();
    lab.run_until(500);
    lab.plane.reset_host(lab.now(), "client");
    lab.run_until(600);
    assert_eq!(lab.notes.time_of("client ConnectionReset"), Some(500));
}

#[test]
fn a_window_update_lost_to_a_cut_is_repeated_after_the_heal() {
    let mut lab = flooding();
    lab.run_until(900);
    lab.plane.cut(lab.now(), "server", "client");
    lab.run_until(2_000);
    assert_eq!(lab.notes.time_of("client wrote"), None);
    lab.plane.heal(lab.now(), "server", "client");
    lab.run_until(4_000);
    assert_eq!(lab.notes.time_of("client wrote"), Some(1_000 + 1_400 + 10));
}

#[test]
fn a_half_closed_stream_still_carries_the_other_direction() {
    let mut lab = Lab::exact();
    lab.host("server", |world, notes| async move {
        let mut listener = world.net.bind("server:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        stream.read_to_string(&mut request).await.unwrap();
        notes.add(&world, format!("server read {request}"));
        stream.write_all(b"reply").await.unwrap();
    });
    lab.host("client", |world, notes| async move {
        let mut stream = connect(&world).await;
        stream.write_all(b"request").await.unwrap();
        stream.shutdown().await.unwrap();
        let error = stream.write_all(b"more").await.unwrap_err();
        notes.add(&world, format!("client {:?}", error.kind()));
        note_stream(&world, &notes, "client", stream).await;
    });
    lab.run_until(500);
    let expected = ["client BrokenPipe", "server read request", "client read reply", "client end"];
    assert_eq!(lab.notes.texts(), expected);
    assert_eq!(lab.plane.connections_between("client", "server"), 0);
}

/// A server that reads `count` bytes of 4 and drops the stream at 100 ms.
fn dropping(count: usize) -> Lab {
    let mut lab = Lab::exact();
    lab.host("server", move |world, _| async move {
        let mut listener = world.net.bind("server:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut vec![0; count]).await.unwrap();
        wait_until(&world, 100).await;
        drop(stream);
        stay().await;
    });
    lab.host("client", |world, notes| async move {
        let mut stream = connect(&world).await;
        stream.write_all(b"four").await.unwrap();
        note_stream(&world, &notes, "client", stream).await;
    });
    lab
}

#[test]
fn dropping_a_stream_ends_it_for_the_peer() {
    let mut lab = dropping(4);
    lab.run_until(500);
    assert_eq!(lab.notes.time_of("client end"), Some(110));
}

#[test]
fn dropping_a_stream_with_unread_bytes_resets_it() {
    let mut lab = dropping(3);
    lab.run_until(500);
    assert_eq!(lab.notes.time_of("client ConnectionReset"), Some(110));
}

#[test]
fn a_write_to_a_peer_that_closed_succeeds_once_and_then_breaks() {
    let mut lab = Lab::exact();
    lab.host("server", |world, _| async move {
        let mut listener = world.net.bind("server:80").await.unwrap();
        drop(listener.accept().await.unwrap());
        stay().await;
    });
    lab.host("client", |world, notes| async move {
        let mut stream = connect(&world).await;
        wait_until(&world, 100).await;
        stream.write_all(b"first").await.unwrap();
        wait_until(&world, 119).await;
        stream.write_all(b"second").await.unwrap();
        wait_until(&world, 120).await;
        let error = stream.write_all(b"third").await.unwrap_err();
        // Linux reports EPIPE, not ECONNRESET, once it has seen the FIN.
        notes.add(&world, format!("client {:?}", error.kind()));
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    });
    lab.run_until(500);
    assert_eq!(lab.notes.texts(), ["client BrokenPipe"]);
}

#[test]
fn a_killed_process_ends_its_streams_and_refuses_until_it_is_back() {
    let mut lab = Lab::exact();
    lab.host("server", note_all);
    lab.host("client", |world, notes| async move {
        loop {
            match world.net.connect("server:80").await {
                Ok(stream) => note_stream(&world, &notes, "client", stream).await,
                Err(error) => {
                    notes.add(&world, format!("{:?}", error.kind()));
                    wait_until(&world, 300).await;
                }
            }
        }
    });
    lab.run_until(100);
    lab.kill("server");
    lab.run_until(200);
    assert_eq!(lab.notes.texts(), ["accepted", "client end", "ConnectionRefused"]);
    assert_eq!(lab.notes.time_of("client end"), Some(110));
    lab.boot("server");
    lab.run_until(500);
    assert_eq!(lab.notes.texts().last().unwrap(), "accepted");
    assert_eq!(lab.plane.connections_between("client", "server"), 1);
}

#[test]
fn a_process_killed_with_unread_bytes_resets_its_streams() {
    let mut lab = flooding();
    lab.run_until(500);
    lab.kill("server");
    lab.run_until(600);
    assert_eq!(lab.notes.time_of("client ConnectionReset"), Some(510));
}

#[test]
fn a_power_loss_is_silent_until_the_host_is_back_and_hears_from_its_peer() {
    let mut lab = Lab::exact();
    lab.host("server", note_all);
    lab.host("client", |world, notes| async move {
        let mut stream = connect(&world).await;
        write_at_times(&world, &mut stream, &[(200, "a"), (300, "b")]).await;
        note_stream(&world, &notes, "client", stream).await;
    });
    lab.run_until(100);
    lab.power_off("server");
    lab.run_until(1_000);
    assert_eq!(lab.notes.texts(), ["accepted"]);
    lab.boot("server");
    lab.run_until(3_000);
    // Stalled since 200: again at 1600; the answer is a reset.
    assert_eq!(lab.notes.time_of("client ConnectionReset"), Some(1_620));
}

#[test]
fn an_idle_peer_never_hears_of_a_power_loss() {
    let mut lab = Lab::exact();
    lab.host("server", note_all);
    lab.host("client", |world, notes| async move {
        let stream = connect(&world).await;
        note_stream(&world, &notes, "client", stream).await;
    });
    lab.run_until(100);
    lab.power_off("server");
    lab.run_until(200);
    lab.boot("server");
    lab.run_until(10_000);
    assert_eq!(lab.notes.texts(), ["accepted"]);
}

#[test]
fn what_was_sent_before_a_power_loss_still_arrives() {
    let mut lab = writing(&[(100, "a"), (104, "b")]);
    lab.run_until(105);
    lab.power_off("client");
    lab.run_until(1_000);
    assert_eq!(lab.notes.texts(), ["accepted", "server read a", "server read b"]);
}

#[test]
fn destructors_of_a_dead_process_send_nothing() {
    let mut lab = writing(&[(100, "a")]);
    lab.run_until(200);
    lab.power_off("client");
    lab.run_until(1_000);
    assert_eq!(lab.lines("client", "send", 150), [] as [String; 0]);
    assert_eq!(lab.notes.texts(), ["accepted", "server read a"]);

    let mut lab = writing(&[(100, "a")]);
    lab.run_until(200);
    lab.kill("client");
    lab.run_until(1_000);
    assert_eq!(lab.lines("client", "send", 150).len(), 1, "the kernel's FIN, and no other");
}

#[test]
fn a_full_backlog_swallows_connects_until_there_is_room() {
    let mut lab = Lab::new(1, NetConfig { backlog: 2, ..plain() }, 1);
    lab.host("server", |world, notes| async move {
        let mut listener = world.net.bind("server:80").await.unwrap();
        wait_until(&world, 500).await;
        let mut streams = Vec::new();
        loop {
            streams.push(listener.accept().await.unwrap());
            notes.add(&world, "accepted");
        }
    });
    lab.host("client", |world, notes| async move {
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(connect(&world).await);
            notes.add(&world, "connected");
        }
        stay().await;
    });
    lab.run_until(2_000);
    let times = |wanted: &str| -> Vec<u64> {
        lab.notes.all().into_iter().filter(|(_, text)| text == wanted).map(|(at, _)| at).collect()
    };
    assert_eq!(times("connected"), [20, 40, 1_060]);
    assert_eq!(times("accepted"), [500, 500, 1_070]);
    assert_eq!(lab.plane.counters().syns_lost, 1);
}

#[test]
fn closing_a_listener_resets_who_waits_in_its_backlog() {
    let mut lab = Lab::exact();
    lab.host("server", |world, _| async move {
        let listener = world.net.bind("server:80").await.unwrap();
        wait_until(&world, 100).await;
        drop(listener);
        stay().await;
    });
    lab.host("client", |world, notes| async move {
        let stream = connect(&world).await;
        note_stream(&world, &notes, "client", stream).await;
    });
    lab.run_until(500);
    assert_eq!(lab.notes.time_of("client ConnectionReset"), Some(110));
}

#[test]
fn addresses_are_checked_as_the_kernel_does() {
    let mut lab = Lab::exact();
    lab.host("other", |_, _| stay());
    lab.host("server", |world, notes| async move {
        let listener = world.net.bind("server:80").await.unwrap();
        let any = world.net.bind("0.0.0.0:0").await.unwrap();
        assert_eq!(listener.local_address(), "server:80");
        assert_eq!(any.local_address(), "server:32768");
        for address in ["0.0.0.0:80", "other:80", "server", "nobody:80"] {
            let error = world.net.bind(address).await.err().unwrap();
            notes.add(&world, format!("{:?}", error.kind()));
        }
        let error = world.net.connect("nobody:80").await.err().unwrap();
        notes.add(&world, format!("{:?}", error.kind()));
        world.net.connect("localhost:80").await.unwrap();
        notes.add(&world, "connected to itself");
    });
    lab.run_until(100);
    let expected = [
        "AddrInUse",
        "AddrNotAvailable",
        "InvalidInput",
        "NotFound",
        "NotFound",
        "connected to itself",
    ];
    assert_eq!(lab.notes.texts(), expected);
}

#[test]
fn slow_paths_take_their_time() {
    let mut lab = writing(&[(100, "0123456789"), (300, "0123456789")]);
    lab.run_until(50);
    let shape = LinkShape { extra_us: 40_000, ..LinkShape::default() };
    lab.plane.slow(lab.now(), "client", "server", shape);
    lab.run_until(200);
    lab.plane.unslow(lab.now(), "client", "server", shape);
    let shape = LinkShape { bytes_per_s: 100, ..LinkShape::default() };
    lab.plane.slow(lab.now(), "client", "server", shape);
    lab.run_until(1_000);
    let read: Vec<u64> = lab.notes.all().iter().skip(1).map(|(at, _)| *at).collect();
    assert_eq!(read, [150, 410]);
}

#[test]
fn a_frozen_process_reads_nothing_while_its_kernel_receives() {
    let mut lab = writing(&[(110, "a"), (120, "b")]);
    lab.run_until(100);
    lab.at("server").freeze(lab.now(), lab.now().plus(500_000));
    lab.run_until(1_000);
    assert_eq!(lab.notes.time_of("server read ab"), Some(600));
}

#[test]
fn short_reads_and_writes_lose_and_reorder_nothing() {
    let config = NetConfig { short_io: true, heavy_tail: true, ..NetConfig::default() };
    for seed in 0..5 {
        let mut lab = Lab::new(seed, config, 5);
        lab.host("server", |world, notes| async move {
            let mut listener = world.net.bind("server:80").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            let expected: Vec<u8> =
                (0..200_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
            assert!(all == expected);
            notes.add(&world, "all");
        });
        lab.host("client", |world, _| async move {
            let mut stream = connect(&world).await;
            let bytes: Vec<u8> =
                (0..200_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
            for part in bytes.chunks(1_000) {
                stream.write_all(part).await.unwrap();
            }
        });
        lab.run_until(60_000);
        assert_eq!(lab.notes.texts(), ["all"], "seed {seed}: {:?}", lab.hygiene.findings());
        assert!(lab.plane.counters().short_transfers > 20);
    }
}
