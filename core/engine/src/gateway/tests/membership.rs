//! How sessions come into channels and out of them.

use super::*;
use crate::link::EndedChannel;

fn left(until: u64) -> Input {
    let (user, channel) = (user("ada"), general().channel);
    let frame = FromOwner::Left { user, channel, until: SeqNo(until) };
    Input::Link { shard: SHARD, frame }
}

fn joined(seq: u64) -> Input {
    let (user, channel) = (user("ada"), general().channel);
    let frame = FromOwner::Joined { user, channel, seq: SeqNo(seq) };
    Input::Link { shard: SHARD, frame }
}

fn let_go(until: u64) -> ServerFrame {
    ServerFrame::Left { channel: general().channel, until: SeqNo(until) }
}

/// The owner's word on the channels of `hello` or of a link that came up: ada was in `general`.
fn ended(asked: &[Effect], until: u64) -> Input {
    let ended = vec![EndedChannel { channel: general().channel, until: SeqNo(until) }];
    let ticket = open_ticket(asked).expect("the owner is asked");
    let frame = FromOwner::Opened { ticket, channels: Vec::new(), ended };
    Input::Link { shard: SHARD, frame }
}

fn resumed(effects: &[Effect]) -> Vec<ChannelId> {
    let of = |effect: &Effect| match effect {
        Effect::ToOwner { frame: ToOwner::Open { resumed, .. }, .. } => Some(resumed.clone()),
        _ => None,
    };
    effects.iter().find_map(of).expect("the owner is asked")
}

#[test]
fn a_session_is_sent_the_end_of_its_membership_and_nothing_after_it() {
    let mut gateway = new();
    gateway.enter(ADA, None, 4);
    assert_eq!(frames(&gateway.feed(left(6)), ADA), []);
    let effects = gateway.feed(publish(entries(5..=8)));
    assert_eq!(seqs(&effects, ADA), [5, 6]);
    assert_eq!(frames(&effects, ADA).last(), Some(&let_go(6)));
    let unsubscribed = ToOwner::Unsubscribe { channel: general() };
    assert!(effects.contains(&Effect::ToOwner { shard: SHARD, frame: unsubscribed }));
    assert_eq!(gateway.feed(publish(entries(9..=9))), []);
}

#[test]
fn a_session_that_reads_slowly_gets_what_came_before_the_end_out_of_the_log() {
    let mut gateway = new();
    gateway.enter(ADA, None, 4);
    let asked = gateway.feed(publish(entries(6..=6)));
    let (ticket, after) = read(&asked).expect("5 is missing");
    assert_eq!(after, 4);
    gateway.feed(left(7));
    let effects = gateway.answer(ticket, entries(5..=9), 9);
    assert_eq!(seqs(&effects, ADA), [5, 6, 7]);
    assert_eq!(frames(&effects, ADA).last(), Some(&let_go(7)));
}

#[test]
fn who_joins_again_goes_on_whether_the_session_was_let_go_or_not() {
    let mut gateway = new();
    gateway.enter(ADA, None, 4);
    let asked = gateway.feed(publish(entries(6..=6)));
    let (ticket, _) = read(&asked).expect("5 is missing");
    gateway.feed(left(7));
    assert_eq!(frames(&gateway.feed(joined(8)), ADA), [], "it has the channel");
    assert_eq!(seqs(&gateway.answer(ticket, entries(5..=9), 9), ADA), [5, 6, 7, 8, 9]);

    gateway.feed(left(10));
    gateway.feed(publish(entries(10..=10)));
    let effects = gateway.feed(joined(12));
    let status = ChannelStatus {
        channel: general().channel,
        head: SeqNo(12),
        after: SeqNo(11),
        read: SeqNo(11),
        until: None,
        trimmed_upto: None,
    };
    assert_eq!(frames(&effects, ADA), [ServerFrame::Channel(status)], "it is given it anew");
}

#[test]
fn a_resumed_channel_that_was_left_meanwhile_is_served_to_its_end() {
    let mut gateway = new();
    gateway.feed(Input::Connected { connection: ADA });
    let asked = gateway.say(&hello("ada", Some(3)));
    assert_eq!(resumed(&asked), [general().channel]);
    let effects = gateway.feed(ended(&asked, 5));
    let [ServerFrame::Welcome { channels, .. }] = &frames(&effects, ADA)[..] else {
        panic!("no welcome: {effects:?}");
    };
    let (head, until) = (SeqNo(5), Some(SeqNo(5)));
    let status = ChannelStatus {
        channel: general().channel,
        head,
        after: SeqNo(3),
        read: head,
        until,
        trimmed_upto: None,
    };
    assert_eq!(*channels, [status], "nothing tells how far the channel is");
    let (ticket, _) = read(&effects).expect("two entries are owed");
    let effects = gateway.answer(ticket, entries(4..=9), 9);
    assert_eq!(seqs(&effects, ADA), [4, 5]);
    assert_eq!(frames(&effects, ADA).last(), Some(&let_go(5)));
}

#[test]
fn who_has_everything_up_to_the_end_is_let_go_at_once() {
    let mut gateway = new();
    gateway.feed(Input::Connected { connection: ADA });
    let asked = gateway.say(&hello("ada", Some(5)));
    let effects = gateway.feed(ended(&asked, 5));
    assert_eq!(frames(&effects, ADA).last(), Some(&let_go(5)));
    assert_eq!(read(&effects), None);
}

#[test]
fn a_membership_that_ended_while_the_link_was_down_ends_when_it_is_up() {
    let mut gateway = new();
    gateway.enter(ADA, None, 4);
    gateway.feed(Input::LinkDown { shard: SHARD });
    let asked = gateway.feed(Input::LinkUp { shard: SHARD });
    assert_eq!(resumed(&asked), [general().channel]);
    gateway.feed(ended(&asked, 5));
    let head = FromOwner::Head { channel: general(), head: SeqNo(8) };
    let (ticket, _) = read(&gateway.feed(Input::Link { shard: SHARD, frame: head })).unwrap();
    let effects = gateway.answer(ticket, entries(5..=8), 8);
    assert_eq!(seqs(&effects, ADA), [5]);
    assert_eq!(frames(&effects, ADA).last(), Some(&let_go(5)));
}

#[test]
fn only_a_direct_channel_may_be_created_without_a_name() {
    let mut gateway = new();
    gateway.enter(ADA, None, 4);
    let effects = gateway.say(r#"{"type":"create_channel","id":1,"nonce":"c","kind":"private"}"#);
    let [ServerFrame::Rejected { reply_to, code, message, .. }] = &frames(&effects, ADA)[..] else {
        panic!("not refused: {effects:?}");
    };
    assert_eq!((*reply_to, *code), (Some(1), RejectCode::BadFrame));
    assert!(message.contains("give `channel`"), "{message}");

    let direct =
        r#"{"type":"create_channel","id":2,"nonce":"d","kind":"direct","members":["bob"]}"#;
    let effects = gateway.say(direct);
    let [Effect::ToOwner { frame: ToOwner::Change { channel, .. }, .. }] = &effects[..] else {
        panic!("not asked: {effects:?}");
    };
    let members = [user("bob").user, user("ada").user];
    assert_eq!(channel.channel, crate::membership::direct_channel(&members));
}

#[test]
fn a_change_without_a_nonce_is_no_frame_and_the_answer_says_what_is_missing() {
    let mut gateway = new();
    gateway.enter(ADA, None, 4);
    let channel = r#""id":1,"channel":"general""#;
    for text in [
        format!(r#"{{"type":"join",{channel}}}"#),
        format!(r#"{{"type":"leave",{channel}}}"#),
        format!(r#"{{"type":"add_member",{channel},"user":"bob"}}"#),
        format!(r#"{{"type":"remove_member",{channel},"user":"bob"}}"#),
        format!(r#"{{"type":"create_channel",{channel},"kind":"private"}}"#),
    ] {
        let effects = gateway.say(&text);
        let [ServerFrame::Rejected { reply_to, code, message, .. }] = &frames(&effects, ADA)[..]
        else {
            panic!("{text} is not refused: {effects:?}");
        };
        assert_eq!((*reply_to, *code), (Some(1), RejectCode::BadFrame));
        assert!(message.contains("missing field `nonce`"), "{message}");
    }
}
