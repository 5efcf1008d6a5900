//! What a gateway makes of heartbeats, subscriptions and typing.

use super::*;
use crate::frame::PresenceState::{self, Active, Away, Offline};
use crate::limits::{
    PRESENCE_BACKGROUND_TTL, PRESENCE_COALESCE, PRESENCE_WATCHED_MAX,
    SESSION_IDLE_BACKGROUND_TIMEOUT, TYPING_INTERVAL,
};
use crate::link::Told;
use crate::presence::{Beat, Watched};

const AWAY: &str = r#"{"type":"heartbeat","state":"away"}"#;
const WATCH_BOB: &str = r#"{"type":"presence_subscribe","id":1,"users":["bob"]}"#;
const TYPING: &str = r#"{"type":"typing","channel":"general"}"#;

fn beats(effects: &[Effect]) -> Vec<Beat> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::ToOwner { frame: ToOwner::Beats { beats }, .. } => Some(beats.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

fn watched(effects: &[Effect]) -> Option<Vec<Watched>> {
    effects.iter().find_map(|effect| match effect {
        Effect::ToOwner { frame: ToOwner::Watch { users, .. }, .. } => Some(users.clone()),
        _ => None,
    })
}

fn bob_is(state: PresenceState) -> Input {
    let told = vec![Told { user: user("bob"), state, connections: vec![ADA, ConnectionId(77)] }];
    Input::Link { shard: SHARD, frame: FromOwner::Presence { told } }
}

fn told(effects: &[Effect]) -> Vec<PresenceState> {
    frames(effects, ADA)
        .into_iter()
        .filter_map(|frame| match frame {
            ServerFrame::Presence { state, .. } => Some(state),
            _ => None,
        })
        .collect()
}

fn entered() -> Gateway {
    let mut gateway = new();
    gateway.enter(ADA, None, 0);
    gateway
}

#[test]
fn signs_of_life_are_collected_and_sent_with_their_age() {
    let mut gateway = entered();
    gateway.enter(ConnectionId(2), None, 0);
    assert_eq!(gateway.presence.next_deadline(), None, "nobody has sent a heartbeat");
    assert_eq!(frames(&gateway.say(AWAY), ADA), [ServerFrame::Pong]);
    gateway.say(r#"{"type":"ping"}"#);
    gateway.feed(Input::Text { connection: ConnectionId(2), text: AWAY.to_owned() });
    let due = MonoTime(PRESENCE_COALESCE);
    assert_eq!(gateway.next_deadline(), Some(due));
    let sent = beats(&gateway.feed_at(PRESENCE_COALESCE, Input::Tick));
    let shown: Vec<_> = sent.iter().map(|beat| (beat.number, beat.state, beat.age_ms)).collect();
    assert_eq!(shown, [(1, Away, 1_000), (1, Away, 1_000)]);
    assert_ne!(sent[0].session, sent[1].session);

    let text = r#"{"type":"ping"}"#.to_owned();
    gateway.feed_at(Duration::from_secs(9), Input::Text { connection: ADA, text });
    let again = beats(&gateway.feed_at(Duration::from_secs(10), Input::Tick));
    assert_eq!(again, [Beat { number: 2, ..sent[0].clone() }], "any frame is a sign of life");
}

#[test]
fn the_last_sign_of_a_session_that_ended_waits_for_its_link() {
    let mut gateway = entered();
    gateway.say(AWAY);
    gateway.feed(Input::LinkDown { shard: SHARD });
    gateway.feed(Input::Disconnected { connection: ADA });
    assert_eq!(beats(&gateway.feed_at(Duration::from_secs(1), Input::Tick)), []);
    let up = Input::LinkUp { shard: SHARD };
    let sent = beats(&gateway.feed_at(Duration::from_secs(5), up));
    let shown: Vec<_> = sent.iter().map(|beat| (beat.state, beat.age_ms)).collect();
    assert_eq!(shown, [(Away, 5_000)], "however a session ends, it counts until its time is over");
    assert_eq!(beats(&gateway.feed_at(Duration::from_secs(9), Input::Tick)), []);
}

#[test]
fn a_last_sign_that_counts_no_longer_is_not_sent() {
    let mut gateway = entered();
    gateway.say(AWAY);
    gateway.feed(Input::LinkDown { shard: SHARD });
    gateway.feed(Input::Disconnected { connection: ADA });
    let up = Input::LinkUp { shard: SHARD };
    assert_eq!(beats(&gateway.feed_at(PRESENCE_BACKGROUND_TTL, up)), []);
}

#[test]
fn a_link_that_comes_back_is_told_of_sessions_first_and_then_of_what_they_know() {
    let mut gateway = entered();
    gateway.say(AWAY);
    assert_eq!(watched(&gateway.say(WATCH_BOB)).unwrap()[0].told, None);
    assert_eq!(told(&gateway.feed(bob_is(Active))), [Active]);
    gateway.feed(Input::LinkDown { shard: SHARD });
    let up = gateway.feed(Input::LinkUp { shard: SHARD });
    assert_eq!((beats(&up).len(), watched(&up).unwrap()[0].told), (1, Some(Active)));
    let place = |kind: fn(&ToOwner) -> bool| {
        up.iter().position(|effect| match effect {
            Effect::ToOwner { frame, .. } => kind(frame),
            _ => false,
        })
    };
    let beats = place(|frame| matches!(frame, ToOwner::Beats { .. }));
    assert!(beats < place(|frame| matches!(frame, ToOwner::Watch { .. })));
}

#[test]
fn a_session_hears_of_changes_in_those_it_watches() {
    let mut gateway = entered();
    assert_eq!(told(&gateway.feed(bob_is(Active))), [], "it did not ask");
    gateway.say(WATCH_BOB);
    assert_eq!(told(&gateway.feed(bob_is(Active))), [Active]);
    assert_eq!(told(&gateway.feed(bob_is(Active))), [], "it knows");
    let nobody = gateway.say(r#"{"type":"presence_subscribe","id":2,"users":[]}"#);
    assert_eq!(watched(&nobody), Some(Vec::new()));
    assert_eq!(told(&gateway.feed(bob_is(Offline))), []);
}

#[test]
fn a_slow_session_hears_the_newest_state_when_it_has_read() {
    let mut gateway = entered();
    gateway.say(WATCH_BOB);
    for seq in 1..=4 {
        gateway.feed(publish(vec![entry(seq, &"x".repeat(12_000))]));
    }
    assert_eq!(told(&gateway.feed(bob_is(Active))), []);
    assert_eq!(told(&gateway.feed(bob_is(Away))), []);
    let measured = gateway.feed(Input::Queue { connection: ADA, bytes: 0 });
    assert_eq!(told(&measured), [Away]);
}

#[test]
fn more_users_than_the_limit_can_not_be_watched() {
    let mut gateway = entered();
    gateway.say(WATCH_BOB);
    let users = vec!["\"bob\""; PRESENCE_WATCHED_MAX + 1].join(",");
    let text = format!(r#"{{"type":"presence_subscribe","id":9,"users":[{users}]}}"#);
    let refused = frames(&gateway.say(&text), ADA);
    assert!(matches!(
        refused[..],
        [ServerFrame::Rejected { reply_to: Some(9), code: RejectCode::BadFrame, .. }]
    ));
    assert_eq!(told(&gateway.feed(bob_is(Active))), [Active], "the earlier list stays");
}

#[test]
fn a_session_in_the_background_may_be_silent_for_longer() {
    let mut gateway = entered();
    gateway.say(r#"{"type":"heartbeat","state":"away","background":true}"#);
    for seconds in [45, 90, 135, 179] {
        let looked = gateway.feed_at(Duration::from_secs(seconds), Input::Tick);
        assert_eq!(goodbye_code(&looked), None);
    }
    let silent = gateway.feed_at(SESSION_IDLE_BACKGROUND_TIMEOUT, Input::Tick);
    assert_eq!(goodbye_code(&silent), Some(GoodbyeCode::Idle));
}

fn typings(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::ToOwner { frame: ToOwner::Typing { .. }, .. }))
        .count()
}

#[test]
fn typing_goes_to_the_owner_seldom_and_from_members_only() {
    let mut gateway = entered();
    let say = |gateway: &mut Gateway, after: Duration, text: &str| {
        typings(&gateway.feed_at(after, Input::Text { connection: ADA, text: text.to_owned() }))
    };
    assert_eq!(say(&mut gateway, Duration::ZERO, TYPING), 1);
    assert_eq!(say(&mut gateway, TYPING_INTERVAL / 2, TYPING), 0);
    assert_eq!(gateway.typing_dropped(), 1);
    assert_eq!(say(&mut gateway, TYPING_INTERVAL, TYPING), 1);
    assert_eq!(say(&mut gateway, TYPING_INTERVAL, r#"{"type":"typing","channel":"x"}"#), 0);
}

#[test]
fn typing_is_relayed_to_others_and_not_to_the_slow() {
    let mut gateway = entered();
    let typed = |name: &str| {
        let frame = FromOwner::Typing { channel: general(), user: user(name).user };
        Input::Link { shard: SHARD, frame }
    };
    assert_eq!(frames(&gateway.feed(typed("bob")), ADA).len(), 1);
    assert_eq!(frames(&gateway.feed(typed("ada")), ADA).len(), 0, "it is their own");
    for seq in 1..=4 {
        gateway.feed(publish(vec![entry(seq, &"x".repeat(12_000))]));
    }
    assert_eq!(frames(&gateway.feed(typed("bob")), ADA).len(), 0);
    assert_eq!(gateway.typing_dropped(), 1);
}
