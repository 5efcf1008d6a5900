//! The server is killed again and again while clients send: what it accepted is there afterwards,
//! once, in order, and every client was delivered everything.

use std::collections::BTreeMap;
use std::time::Duration;

use seriatim_engine::entry::{Content, Entry};
use seriatim_engine::frame::ServerFrame;
use seriatim_engine::ids::{ChannelId, Nonce, SeqNo};
use seriatim_engine::placement::scatter;
use seriatim_world::World;
use seriatim_world::clock::sleep;

use crate::process::Server;
use crate::strict_client::{Heard, Strict};
use crate::user::{User, assert_as_sent, assert_contiguous, until, world};

const KILLS: u64 = 60;

const USERS: [&str; 4] = ["ada", "bob", "cleo", "dan"];

/// Each user has at most so many sends open, and just before a kill exactly so many.
const OPEN_MAX: usize = 32;

#[tokio::test]
async fn what_was_accepted_survives_sixty_kills_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (world, data) = (world(directory.path()), directory.path().join("data"));
    let mut server = Server::serve(&data);
    let channels = ["general", "random"].map(|name| ChannelId::new(name).unwrap());
    let mut users = USERS.map(|name| User::start(&world, name, &server.address, &data));
    for (user, channel) in users.iter().flat_map(|user| channels.iter().map(move |c| (user, c))) {
        user.join(&world, channel).await;
    }

    let started = world.clock.mono_now();
    let mut met = 0;
    for round in 0..KILLS {
        let before = users.each_ref().map(accepted);
        let deadline = world.clock.mono_now() + Duration::from_secs(30);
        // In each life every user gets something done, or the next kill would meet idle ones.
        while users.each_ref().map(accepted).iter().zip(before).any(|(now, then)| *now < then + 5) {
            assert!(world.clock.mono_now() < deadline, "no progress after kill {round}");
            send_for(&world, &mut users, &channels, Duration::from_millis(1)).await;
        }
        let more = Duration::from_millis(scatter(round) % 200);
        send_for(&world, &mut users, &channels, more).await;
        // A burst, so that the kill meets sends at every stage.
        for user in &mut users {
            while user.seen().open.len() < OPEN_MAX {
                user.send(&channels[0]);
            }
        }
        sleep(&*world.clock, Duration::from_millis(scatter(round ^ 1) % 4)).await;
        met += users.iter().map(|user| user.seen().open.len()).sum::<usize>();
        server.kill();
        let down = Duration::from_millis(scatter(!round) % 60);
        send_for(&world, &mut users, &channels, down).await;
        server.start_again();
    }
    for user in &users {
        user.settle(&world).await;
    }
    let took = world.clock.mono_now() - started;
    server.kill();
    server.start_again();

    let logs = read_logs(&world, &server, &data, &channels).await;
    for (channel, log) in &logs {
        let head = log.last().unwrap().seq;
        assert_eq!(assert_contiguous(log) as u64, head.0, "seqs are 1 to the head");
        log.iter().for_each(assert_as_sent);
        for user in &users {
            user.reach(&world, channel, head).await;
            let seen = user.seen();
            let delivered = &seen.delivered[channel];
            let first = log.iter().position(|entry| entry.seq == delivered[0].seq).unwrap();
            assert_eq!(*delivered, log[first..], "{} was delivered something else", user.name);
        }
    }
    let placed = placed(&logs);
    for user in &users {
        let seen = user.seen();
        for (nonce, seq) in &seen.accepted {
            let key = (user.name.clone(), nonce.clone());
            assert_eq!(placed.get(&key), Some(seq), "{nonce} was accepted at {seq}");
        }
    }
    let accepted = users.iter().map(accepted).sum();
    assert_eq!(placed.len(), accepted, "a message in the log was never accepted");
    server.assert_sound();
    report(&users, met, accepted, took);
}

fn accepted(user: &User) -> usize {
    user.seen().accepted.len()
}

/// Keeps every user sending for `duration`.
async fn send_for(world: &World, users: &mut [User], channels: &[ChannelId], duration: Duration) {
    let end = world.clock.mono_now() + duration;
    loop {
        for user in users.iter_mut() {
            for channel in channels {
                // A server that lost what it had delivered turns the resuming client away.
                assert_eq!(user.seen().refused, Vec::<String>::new());
                if user.seen().open.len() < OPEN_MAX {
                    user.send(channel);
                }
            }
        }
        sleep(&*world.clock, Duration::from_millis(1)).await;
        if world.clock.mono_now() >= end {
            return;
        }
    }
}

/// All of every channel, by an independent client.
async fn read_logs(
    world: &World,
    server: &Server,
    data: &std::path::Path,
    channels: &[ChannelId],
) -> Vec<(ChannelId, Vec<Entry>)> {
    let mut connects = false;
    while !connects {
        connects = world.net.connect(&server.address).await.is_ok();
        until(world, "a moment", || true).await;
    }
    let token = Server::token(data, "ada");
    let (mut reader, welcome) = Strict::hello(world, &server.address, token).await;
    assert!(matches!(welcome, Heard::Frame(ServerFrame::Welcome { .. })), "{welcome:?}");
    let mut logs = Vec::new();
    for channel in channels {
        let log = reader.history(channel).await;
        logs.push((channel.clone(), log.into_iter().map(|frame| frame.into_entry().1).collect()));
    }
    logs
}

/// Where each sender's nonce is in the log; none may be there twice.
fn placed(logs: &[(ChannelId, Vec<Entry>)]) -> BTreeMap<(String, Nonce), SeqNo> {
    let mut placed = BTreeMap::new();
    for entry in logs.iter().flat_map(|(_, log)| log) {
        if let Content::Message { sender, nonce, .. } = &entry.content {
            let key = (sender.to_string(), nonce.clone());
            let earlier = placed.insert(key, entry.seq);
            assert_eq!(earlier, None, "{sender}'s {nonce} is in the log twice");
        }
    }
    placed
}

fn report(users: &[User], met: usize, accepted: usize, took: Duration) {
    let (mut unknown, mut duplicates, mut sessions) = (0, 0, 0);
    for user in users {
        let seen = user.seen();
        unknown += seen.unknown.len();
        duplicates += seen.duplicates;
        sessions += seen.sessions;
    }
    assert!(duplicates > 0, "no kill came between the disk and the reply: the test is too tame");
    println!(
        "{KILLS} kills in {:.1} s met {met} open sends; {accepted} messages accepted, {unknown} of \
         them after an unknown outcome, {duplicates} as duplicates; {sessions} sessions",
        took.as_secs_f64()
    );
}
