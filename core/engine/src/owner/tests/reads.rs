//! How far users have read: what counts, when it is told, and to whom.

use super::*;
use crate::limits::READ_COALESCE;

fn mark(who: &str, seq: u64) -> ToOwner {
    ToOwner::MarkRead { channel: channel(), user: user(who), seq: SeqNo(seq) }
}

fn cursor(who: &str, seq: u64) -> ReadCursor {
    ReadCursor { channel: channel(), user: user(who), seq: SeqNo(seq) }
}

/// ada's channel with three messages; her gateway has her open.
fn with_messages() -> Owner {
    let mut owner = with_ada();
    owner.ask(ToOwner::Open { ticket: Ticket(0), user: user_key("ada"), resumed: Vec::new() });
    for nonce in ["n1", "n2", "n3"] {
        owner.ask(submit(1, "ada", nonce));
    }
    owner.feed(Input::Stored { count: 3 });
    owner
}

fn tick(owner: &mut Owner) -> Vec<Effect> {
    let mut effects = Vec::new();
    let due = MonoTime::default() + READ_COALESCE;
    owner.handle(due, WallTime(7), Input::Tick, &mut effects);
    effects
}

fn told(who: &str, seq: u64) -> Effect {
    let (user, channel) = (user_key(who), channel().channel);
    let frame = FromOwner::Read { user, channel, seq: SeqNo(seq) };
    Effect::Send { links: vec![LINK], frame }
}

fn read_of(owner: &mut Owner, who: &str) -> Option<u64> {
    let open = ToOwner::Open { ticket: Ticket(8), user: user_key(who), resumed: Vec::new() };
    match owner.ask(open).as_slice() {
        [Effect::Send { frame: FromOwner::Opened { channels, .. }, .. }] => {
            channels.first().map(|channel| channel.read.0)
        }
        other => panic!("not opened: {other:?}"),
    }
}

#[test]
fn a_mark_is_told_once_it_is_durable_and_never_falls() {
    let mut owner = with_messages();
    assert_eq!(owner.ask(mark("ada", 2)), []);
    assert_eq!(owner.ask(mark("ada", 3)), []);
    assert_eq!(read_of(&mut owner, "ada"), Some(0), "nothing is durable");
    assert_eq!(tick(&mut owner), [Effect::NoteReads(vec![cursor("ada", 3)])]);
    assert_eq!(read_of(&mut owner, "ada"), Some(0), "still nothing is");
    assert_eq!(owner.feed(Input::ReadsNoted), [told("ada", 3)]);
    assert_eq!(read_of(&mut owner, "ada"), Some(3));
    assert_eq!(owner.ask(mark("ada", 2)), [told("ada", 3)], "it is known, and repeated");
    assert_eq!(tick(&mut owner), []);
}

#[test]
fn nobody_reads_beyond_the_head_or_outside_their_channels() {
    let mut owner = with_messages();
    assert_eq!(owner.ask(mark("eve", 2)), []);
    assert_eq!(owner.ask(mark("ada", 99)), []);
    assert_eq!(tick(&mut owner), [Effect::NoteReads(vec![cursor("ada", 4)])]);
}

#[test]
fn what_was_there_before_the_join_does_not_wait_to_be_read() {
    let mut owner = with_messages();
    owner.ask(join(1, "bob"));
    owner.feed(Input::Stored { count: 1 });
    assert_eq!(read_of(&mut owner, "bob"), Some(4));
}

#[test]
fn a_new_owner_goes_on_from_what_the_store_holds() {
    let seed = seed(9, roster_of("ada"));
    let reads = vec![cursor("ada", 6)];
    let mut owner = Owner::new([seed], Nonces::default()).with_reads(reads);
    assert_eq!(read_of(&mut owner, "ada"), Some(6));
    assert_eq!(owner.ask(mark("ada", 5)), [told("ada", 6)]);
}
