//! A gateway and an owner in processes of their own, joined by a link.

use seriatim_engine::ids::{ChannelId, SeqNo};

use crate::process::Server;
use crate::user::{User, assert_as_sent, assert_contiguous, until, world};

#[tokio::test]
async fn gateway_and_owner_work_as_two_processes_and_survive_the_owners_kill() {
    let directory = tempfile::tempdir().unwrap();
    let world = world(directory.path());
    let (mut owner, gateway, gateway_data) = Server::owner_and_gateway(directory.path());
    let channel = ChannelId::new("general").unwrap();
    let mut ada = User::start(&world, "ada", &gateway.address, &gateway_data);
    let bob = User::start(&world, "bob", &gateway.address, &gateway_data);
    ada.join(&world, &channel).await;
    bob.join(&world, &channel).await;
    for _ in 0..50 {
        ada.send(&channel);
    }
    ada.settle(&world).await;
    bob.reach(&world, &channel, SeqNo(52)).await;

    for _ in 0..50 {
        ada.send(&channel);
    }
    // Some are on their way.
    until(&world, "the first accept", || ada.seen().open.len() < 50).await;
    owner.kill();
    for _ in 0..50 {
        ada.send(&channel);
    }
    owner.start_again();
    ada.settle(&world).await;

    let head = SeqNo(152);
    for user in [&ada, &bob] {
        user.reach(&world, &channel, head).await;
        let seen = user.seen();
        let delivered = &seen.delivered[&channel];
        assert_contiguous(delivered);
        delivered.iter().for_each(assert_as_sent);
        assert_eq!(seen.last(&channel), head, "a retry made a second message");
        assert_eq!(seen.sessions, 1, "the gateway kept its sessions while the owner was away");
    }
}
