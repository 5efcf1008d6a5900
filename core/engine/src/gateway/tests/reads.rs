//! Read positions between sessions and owner.

use super::*;

const TABLET: ConnectionId = ConnectionId(7);

fn read_told(seq: u64) -> Input {
    let (user, channel) = (user("ada"), general().channel);
    Input::Link { shard: SHARD, frame: FromOwner::Read { user, channel, seq: SeqNo(seq) } }
}

fn marks(effects: &[Effect]) -> Vec<u64> {
    let of = |effect: &Effect| match effect {
        Effect::ToOwner { frame: ToOwner::MarkRead { seq, .. }, .. } => Some(seq.0),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn a_mark_goes_to_the_owner_and_the_position_to_every_session_of_the_user() {
    let mut gateway = new();
    gateway.enter(ADA, None, 4);
    gateway.enter(TABLET, None, 4);
    let effects = gateway.say(r#"{"type":"read","channel":"general","seq":3}"#);
    assert_eq!(marks(&effects), [3]);
    assert_eq!(effects.len(), 1, "it is not answered: {effects:?}");
    let effects = gateway.feed(read_told(3));
    let frame = ServerFrame::Read { channel: general().channel, seq: SeqNo(3) };
    for connection in [ADA, TABLET] {
        assert_eq!(frames(&effects, connection), std::slice::from_ref(&frame));
    }
}

#[test]
fn a_mark_outside_the_sessions_channels_goes_no_further() {
    let mut gateway = new();
    gateway.enter(ADA, None, 4);
    assert_eq!(gateway.say(r#"{"type":"read","channel":"secret","seq":3}"#), []);
}

#[test]
fn marks_count_against_the_users_rate() {
    let mut gateway = new();
    gateway.enter(ADA, None, 4);
    let burst = crate::limits::USER_BURST_MAX;
    let mut passed = 0;
    for seq in 0..=burst {
        let text = format!(r#"{{"type":"read","channel":"general","seq":{seq}}}"#);
        passed += marks(&gateway.say(&text)).len();
    }
    assert_eq!(passed, burst as usize);
    assert_eq!(gateway.counts().hits.of(Limit::UserRate), 1);
}

#[test]
fn a_session_hears_after_a_cut_link_what_was_read_meanwhile() {
    let mut gateway = new();
    gateway.enter(ADA, None, 4);
    gateway.feed(Input::LinkDown { shard: SHARD });
    let asked = gateway.feed(Input::LinkUp { shard: SHARD });
    let ticket = open_ticket(&asked).expect("the owner is asked again");
    let channel = general().channel;
    let opened = OpenedChannel {
        channel: channel.clone(),
        joined: SeqNo(1),
        read: SeqNo(2),
        head: SeqNo(4),
        trimmed_upto: None,
    };
    let (channels, ended) = (vec![opened], Vec::new());
    let frame = FromOwner::Opened { ticket, channels, ended };
    let effects = gateway.feed(Input::Link { shard: SHARD, frame });
    assert_eq!(frames(&effects, ADA), [ServerFrame::Read { channel, seq: SeqNo(2) }]);
}
