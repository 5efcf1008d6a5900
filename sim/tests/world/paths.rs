//! Do paths that are narrow, lossy, clogged or forgotten show what they do on Linux?

use seriatim_sim::net::LinkShape;
use tokio::io::AsyncWriteExt as _;

use crate::sockets::writing;

#[test]
fn a_narrow_path_is_shared_and_what_waits_on_it_comes_at_once_when_it_widens() {
    let mut lab = writing(&[(100, "0123456789"), (100, "0123456789")]);
    lab.run_until(50);
    let shape = LinkShape { bytes_per_s: 10, ..LinkShape::default() };
    lab.plane.slow(lab.now(), "client", "server", shape);
    lab.run_until(500);
    assert_eq!(lab.plane.path("client", "server").segments_slowed, 2);
    lab.plane.unslow(lab.now(), "client", "server", shape);
    lab.run_until(600);
    let read: Vec<u64> = lab.notes.all().iter().skip(1).map(|(at, _)| *at).collect();
    assert_eq!(read, [510]);
}

#[test]
fn lost_packets_come_with_their_retransmission_and_hold_up_what_follows() {
    let mut lab = writing(&[(100, "a"), (101, "b"), (102, "c"), (103, "d")]);
    lab.run_until(50);
    let shape = LinkShape { loss_percent: 80, ..LinkShape::default() };
    lab.plane.slow(lab.now(), "client", "server", shape);
    lab.run_until(30_000);
    let text: String = lab.notes.texts().concat().replace("server read ", "");
    assert_eq!(text, "acceptedabcd");
    let lost = lab.plane.path("client", "server").packets_lost;
    let last = lab.notes.all().last().map(|(at, _)| *at).unwrap();
    assert!(lost > 0 && last >= 300, "{lost} lost, the last came at {last}");
}

#[test]
fn a_clogged_path_gives_back_all_at_once_where_a_cut_waits_for_a_retransmission() {
    for (burst, expected) in [(true, 910), (false, 1_520)] {
        let mut lab = writing(&[(110, "a"), (800, "b")]);
        lab.run_until(100);
        lab.plane.cut(lab.now(), "client", "server");
        lab.run_until(900);
        if burst {
            lab.plane.unclog(lab.now(), "client", "server");
        } else {
            lab.plane.heal(lab.now(), "client", "server");
        }
        lab.run_until(3_000);
        assert_eq!(lab.notes.time_of("server read ab"), Some(expected));
    }
}

#[test]
fn a_forgotten_connection_carries_nothing_while_new_ones_work() {
    let mut lab = writing(&[(110, "a"), (800, "b")]);
    lab.run_until(100);
    assert_eq!(lab.plane.forget_between(lab.now(), "client", "server"), 1);
    lab.run_until(30_000);
    assert_eq!(lab.notes.texts(), ["accepted"]);
    lab.host("other", |world, notes| async move {
        let mut stream = world.net.connect("server:80").await.unwrap();
        stream.write_all(b"new").await.unwrap();
        notes.add(&world, "wrote");
        std::future::pending::<()>().await;
    });
    lab.run_until(31_000);
    assert_eq!(lab.notes.texts()[1..], ["wrote", "accepted", "server read new"]);
}
