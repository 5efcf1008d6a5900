//! Tests of the client machine, through `handle` only.

use super::*;
use crate::entry::{ChannelKind, Content, Wish};
use crate::frame::{GoodbyeCode, LogFrame, Resume};
use crate::ids::WorkspaceId;
use crate::limits::{
    CLIENT_BACKOFF_MAX, CLIENT_BACKOFF_MIN, CLIENT_CONNECT_TIMEOUT, CLIENT_OUTSTANDING_MAX,
    CLIENT_SILENCE_BACKGROUND_MAX, CLIENT_SILENCE_MAX,
};

pub(super) fn at(ms: u64) -> MonoTime {
    MonoTime(Duration::from_millis(ms))
}

pub(super) fn channel() -> ChannelId {
    ChannelId::new("general").unwrap()
}

fn nonce(text: &str) -> Nonce {
    Nonce::new(text).unwrap()
}

fn send(text: &str) -> Input {
    Input::Command(Command::Send { channel: channel(), nonce: nonce(text), body: "hi".into() })
}

pub(super) fn welcome(after: u64) -> ServerFrame {
    let after = SeqNo(after);
    ServerFrame::Welcome {
        session: "s".to_owned(),
        user: UserId::new("ada").unwrap(),
        workspace: WorkspaceId::new("w").unwrap(),
        heartbeat_ms: 15_000,
        channels: vec![ChannelStatus {
            channel: channel(),
            head: after,
            after,
            read: after,
            until: None,
            trimmed_upto: None,
        }],
    }
}

pub(super) fn message(seq: u64) -> ServerFrame {
    let content = Content::Message {
        sender: UserId::new("bob").unwrap(),
        nonce: Nonce::new("n").unwrap(),
        body: "hi".into(),
    };
    let entry = Entry { seq: SeqNo(seq), at: WallTime(0), content };
    ServerFrame::Log(LogFrame::new(channel(), &entry))
}

fn unavailable(reply_to: u64) -> ServerFrame {
    ServerFrame::Rejected {
        reply_to: Some(reply_to),
        code: RejectCode::Unavailable,
        message: String::new(),
        retry_after_ms: Some(500),
    }
}

impl Client {
    pub(super) fn feed(&mut self, now: MonoTime, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.handle(now, input, &mut effects);
        effects
    }
}

pub(super) fn new() -> Client {
    let config = ClientConfig {
        token: "t".to_owned(),
        name: "test".to_owned(),
        gateways: 3,
        first_gateway: 1,
        seed: 7,
    };
    Client::new(at(0), config)
}

/// A client whose session serves the channel from after 10.
pub(super) fn live() -> Client {
    let mut client = new();
    assert_eq!(client.feed(at(0), Input::Tick), [Effect::Connect { gateway: 1 }]);
    client.feed(at(0), Input::Connected);
    client.feed(at(0), Input::Frame(welcome(10)));
    client
}

fn sent_nonces(effects: &[Effect]) -> Vec<&str> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(ClientFrame::Send { nonce, .. }) => Some(nonce.as_str()),
            Effect::Send(_)
            | Effect::Connect { .. }
            | Effect::Disconnect
            | Effect::RenewToken
            | Effect::Emit(_) => None,
        })
        .collect()
}

/// The nonces of the sends that the application is told of.
fn told_sent(effects: &[Effect]) -> Vec<&str> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Emit(ClientEvent::Sent { nonce, .. }) => Some(nonce.as_str()),
            Effect::Emit(_)
            | Effect::Send(_)
            | Effect::Connect { .. }
            | Effect::Disconnect
            | Effect::RenewToken => None,
        })
        .collect()
}

fn delivered(effects: &[Effect]) -> Vec<u64> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Emit(ClientEvent::Delivered { entry, .. }) => Some(entry.seq.0),
            Effect::Emit(_)
            | Effect::Send(_)
            | Effect::Connect { .. }
            | Effect::Disconnect
            | Effect::RenewToken => None,
        })
        .collect()
}

#[test]
fn a_send_without_a_reply_goes_out_again_on_the_next_session_in_order() {
    let mut client = live();
    assert_eq!(sent_nonces(&client.feed(at(1), send("a"))), ["a"]);
    assert_eq!(sent_nonces(&client.feed(at(2), send("b"))), ["b"]);
    client.feed(at(3), Input::Disconnected);
    let due = client.next_deadline().unwrap();
    assert!(matches!(client.feed(due, Input::Tick).as_slice(), [Effect::Connect { .. }]));
    client.feed(due, Input::Connected);
    assert_eq!(sent_nonces(&client.feed(due, Input::Frame(welcome(10)))), ["a", "b"]);
}

#[test]
fn the_application_is_told_of_each_time_that_a_send_goes_out() {
    let mut client = new();
    assert_eq!(told_sent(&client.feed(at(0), send("early"))), [""; 0]);
    client.feed(at(0), Input::Tick);
    client.feed(at(0), Input::Connected);
    assert_eq!(told_sent(&client.feed(at(0), Input::Frame(welcome(10)))), ["early"]);
    assert_eq!(told_sent(&client.feed(at(1), send("a"))), ["a"]);
    client.feed(at(2), Input::Frame(unavailable(1)));
    assert_eq!(told_sent(&client.feed(at(502), Input::Tick)), ["early"]);
    assert_eq!(told_sent(&client.feed(at(503), change("j", Change::Join))), [""; 0]);
}

#[test]
fn an_unknown_outcome_is_tried_again_with_the_same_nonce() {
    let mut client = live();
    client.feed(at(0), send("a"));
    assert_eq!(client.feed(at(1), Input::Frame(unavailable(1))), []);
    assert_eq!(client.next_deadline(), Some(at(501)));
    assert_eq!(sent_nonces(&client.feed(at(501), Input::Tick)), ["a"]);
    assert_eq!(client.outstanding(), 1);
}

#[test]
fn a_send_that_came_too_soon_goes_out_again_when_the_server_says_with_the_same_nonce() {
    let mut client = live();
    client.feed(at(0), send("a"));
    let refusal = ServerFrame::Rejected {
        reply_to: Some(1),
        code: RejectCode::RateLimited,
        message: String::new(),
        retry_after_ms: Some(7_000),
    };
    assert_eq!(client.feed(at(1), Input::Frame(refusal)), []);
    assert_eq!(sent_nonces(&client.feed(at(7_000), Input::Tick)), [""; 0]);
    assert_eq!(sent_nonces(&client.feed(at(7_001), Input::Tick)), ["a"]);
}

#[test]
fn a_refusal_is_final() {
    let mut client = live();
    client.feed(at(0), send("a"));
    let refusal = ServerFrame::Rejected {
        reply_to: Some(1),
        code: RejectCode::NotMember,
        message: String::new(),
        retry_after_ms: None,
    };
    let effects = client.feed(at(1), Input::Frame(refusal));
    assert!(matches!(effects.as_slice(), [Effect::Emit(ClientEvent::Rejected { .. })]));
    assert_eq!(client.outstanding(), 0);
}

#[test]
fn a_change_without_a_reply_goes_out_again_on_the_next_session_with_its_nonce() {
    let mut client = live();
    let leave = client.feed(at(0), change("l", Change::Leave));
    let said = ClientFrame::Leave { id: 1, channel: channel(), nonce: nonce("l") };
    assert_eq!(sent_frames(&leave), [&said]);
    client.feed(at(3), Input::Disconnected);
    let due = client.next_deadline().unwrap();
    client.feed(due, Input::Tick);
    client.feed(due, Input::Connected);
    let effects = client.feed(due, Input::Frame(welcome(10)));
    assert_eq!(sent_frames(&effects).last(), Some(&&said));
    let asked = Asked { nonce: nonce("l"), wish: Wish::Leave };
    let effects = client.feed(due, accepted(1, 11));
    assert!(matches!(
        effects.as_slice(),
        [Effect::Emit(ClientEvent::Accepted { asked: told, .. })] if *told == asked
    ));
}

#[test]
fn the_next_session_resumes_after_what_was_delivered_not_after_what_arrived() {
    let mut client = live();
    assert_eq!(delivered(&client.feed(at(1), Input::Frame(message(11)))), [11]);
    let effects = client.feed(at(2), Input::Frame(message(13)));
    assert!(delivered(&effects).is_empty());
    assert!(effects.iter().any(|effect| matches!(
        effect,
        Effect::Send(ClientFrame::History { after: Some(SeqNo(11)), .. })
    )));
    client.feed(at(3), Input::Disconnected);
    let due = client.next_deadline().unwrap();
    client.feed(due, Input::Tick);
    let effects = client.feed(due, Input::Connected);
    let [Effect::Send(ClientFrame::Hello { resume, .. })] = effects.as_slice() else {
        panic!("no hello: {effects:?}");
    };
    assert_eq!(resume.as_slice(), [Resume::after(channel(), SeqNo(11))]);
}

#[test]
fn a_page_refused_for_a_while_is_asked_for_again() {
    let mut client = live();
    let history = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Send(ClientFrame::History { id, after, .. }) => Some((*id, (*after)?)),
            Effect::Send(_)
            | Effect::Connect { .. }
            | Effect::Disconnect
            | Effect::RenewToken
            | Effect::Emit(_) => None,
        })
    };
    let effects = client.feed(at(1), Input::Frame(message(13)));
    let (id, after) = history(&effects).unwrap();
    assert_eq!(after, SeqNo(10));
    client.feed(at(2), Input::Frame(unavailable(id)));
    assert_eq!(client.next_deadline(), Some(at(502)));
    assert!(history(&client.feed(at(502), Input::Tick)).is_some());
}

#[test]
fn repeats_are_not_delivered_twice() {
    let mut client = live();
    client.feed(at(1), Input::Frame(message(11)));
    assert!(delivered(&client.feed(at(2), Input::Frame(message(11)))).is_empty());
}

#[test]
fn a_silent_connection_is_sent_a_heartbeat_then_given_up() {
    let mut client = live();
    let ping = client.next_deadline().unwrap();
    assert_eq!(ping, MonoTime(HEARTBEAT));
    assert_eq!(client.feed(ping, Input::Tick), beat(PresenceState::Active, false));
    let silent = client.next_deadline().unwrap();
    assert_eq!(silent, MonoTime(CLIENT_SILENCE_MAX));
    assert_eq!(client.feed(silent, Input::Tick).first(), Some(&Effect::Disconnect));
}

fn beat(state: PresenceState, background: bool) -> Vec<Effect> {
    vec![
        Effect::Send(ClientFrame::Heartbeat { state, background }),
        Effect::Emit(ClientEvent::Heartbeat { state, background }),
    ]
}

#[test]
fn what_the_application_said_of_presence_is_said_again_on_the_next_session() {
    let mut client = live();
    let away = Command::SetPresence { state: PresenceState::Away, background: true };
    assert_eq!(client.feed(at(1), Input::Command(away)), beat(PresenceState::Away, true));
    let users = vec![UserId::new("bob").unwrap()];
    let watch = Command::WatchPresence { users: users.clone() };
    let first = client.feed(at(2), Input::Command(watch));
    let watching = Effect::Emit(ClientEvent::Watching { users: users.clone() });
    assert!(matches!(&first[..], [Effect::Send(ClientFrame::PresenceSubscribe { .. }), watched]
            if *watched == watching));

    client.feed(at(3), Input::Disconnected);
    let due = client.next_deadline().unwrap();
    client.feed(due, Input::Tick);
    client.feed(due, Input::Connected);
    let effects = client.feed(due, Input::Frame(welcome(10)));
    let again = effects.iter().filter_map(|effect| match effect {
        Effect::Send(frame) => Some(frame),
        Effect::Connect { .. } | Effect::Disconnect | Effect::RenewToken | Effect::Emit(_) => None,
    });
    let heartbeat = ClientFrame::Heartbeat { state: PresenceState::Away, background: true };
    let subscribe = ClientFrame::PresenceSubscribe { id: 2, users };
    assert_eq!(Vec::from_iter(again), [&heartbeat, &subscribe]);
}

#[test]
fn a_throttled_client_is_patient_and_stays_so_when_it_is_shown_again() {
    let mut client = live();
    let set = |background| {
        Input::Command(Command::SetPresence { state: PresenceState::Active, background })
    };
    client.feed(at(0), set(true));
    let minute = at(60_000);
    assert_eq!(client.feed(minute, Input::Tick), beat(PresenceState::Active, true));
    assert_eq!(client.feed(minute, set(false)), beat(PresenceState::Active, false));
    assert_eq!(client.next_deadline(), Some(minute + HEARTBEAT));

    client.feed(minute, set(true));
    let silent = minute + CLIENT_SILENCE_BACKGROUND_MAX;
    assert_eq!(client.feed(silent, Input::Tick).first(), Some(&Effect::Disconnect));
}

#[test]
fn a_client_that_went_offline_comes_back_only_when_told() {
    let mut client = live();
    let away = client.feed(at(1), Input::Command(Command::GoOffline));
    assert_eq!(away.first(), Some(&Effect::Disconnect));
    assert_eq!(client.next_deadline(), None);
    client.feed(at(2), send("n1"));
    client.feed(at(2), Input::Command(Command::Reconnect));
    assert_eq!(client.next_deadline(), None);
    client.feed(at(3), Input::Command(Command::GoOnline));
    assert_eq!(client.next_deadline(), Some(at(3)));
    assert!(matches!(client.feed(at(3), Input::Tick)[..], [Effect::Connect { .. }]));
}

#[test]
fn a_gateway_that_fails_twice_is_left_for_the_next() {
    let mut client = new();
    let mut gateways = Vec::new();
    for _ in 0..4 {
        let due = client.next_deadline().unwrap();
        for effect in client.feed(due, Input::Tick) {
            if let Effect::Connect { gateway } = effect {
                gateways.push(gateway);
            }
        }
        client.feed(due, Input::Disconnected);
    }
    assert_eq!(gateways, [1, 1, 2, 0]);
}

#[test]
fn a_client_keeps_so_many_sends_and_refuses_more() {
    let mut client = new();
    for number in 0..CLIENT_OUTSTANDING_MAX {
        assert_eq!(client.feed(at(0), send(&format!("n{number}"))), []);
    }
    let effects = client.feed(at(0), send("late"));
    assert!(matches!(
        effects[..],
        [Effect::Emit(ClientEvent::Rejected { code: RejectCode::Busy, .. })]
    ));
    client.feed(at(0), Input::Tick);
    client.feed(at(0), Input::Connected);
    let sent = client.feed(at(0), Input::Frame(welcome(10)));
    assert_eq!(sent_nonces(&sent).len(), CLIENT_OUTSTANDING_MAX);
}

#[test]
fn a_connection_that_takes_too_long_is_given_up() {
    let mut client = new();
    client.feed(at(0), Input::Tick);
    client.feed(at(0), Input::Connected);
    let soon = MonoTime(CLIENT_CONNECT_TIMEOUT - Duration::from_millis(1));
    assert_eq!(client.feed(soon, Input::Tick), []);
    let effects = client.feed(MonoTime(CLIENT_CONNECT_TIMEOUT), Input::Tick);
    assert_eq!(effects.first(), Some(&Effect::Disconnect));
}

#[test]
fn backing_off_grows_to_its_limit_and_differs_between_clients() {
    let waits = |seed| {
        let mut client = new();
        client.config.seed = seed;
        let mut waits = Vec::new();
        for _ in 0..12 {
            let due = client.next_deadline().unwrap();
            client.feed(due, Input::Tick);
            client.feed(due, Input::Disconnected);
            waits.push(client.next_deadline().unwrap() - due);
        }
        waits
    };
    assert!(waits(1).iter().all(|wait| *wait <= CLIENT_BACKOFF_MAX));
    assert!(waits(1).iter().any(|wait| *wait > CLIENT_BACKOFF_MIN * 4));
    assert_ne!(waits(1), waits(2));
}

#[test]
fn a_goodbye_without_a_way_back_ends_the_client() {
    let mut client = live();
    let goodbye = ServerFrame::Goodbye {
        code: GoodbyeCode::Unauthorized,
        message: "expired".to_owned(),
        reconnect_after_ms: None,
    };
    assert!(client.feed(at(1), Input::Frame(goodbye)).contains(&Effect::RenewToken));
    let effects = client.feed(at(2), Input::Token(None));
    let ended = ClientEvent::Ended { message: "expired".to_owned() };
    assert_eq!(effects, [Effect::Emit(ended)]);
    assert_eq!(client.next_deadline(), None);
}

fn change(text: &str, change: Change) -> Input {
    Input::Command(Command::Change { channel: channel(), nonce: nonce(text), change })
}

fn sent_frames(effects: &[Effect]) -> Vec<&ClientFrame> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send(frame) => Some(frame),
        Effect::Connect { .. } | Effect::Disconnect | Effect::RenewToken | Effect::Emit(_) => None,
    });
    sent.collect()
}

fn accepted(reply_to: u64, seq: u64) -> Input {
    Input::Frame(ServerFrame::Accepted {
        reply_to,
        channel: channel(),
        seq: SeqNo(seq),
        at_ms: WallTime(0),
        duplicate: false,
    })
}

#[test]
fn a_change_waits_for_an_earlier_one_of_its_channel_and_for_no_other() {
    let mut client = live();
    let join = client.feed(at(0), change("j", Change::Join));
    assert_eq!(
        sent_frames(&join),
        [&ClientFrame::Join { id: 1, channel: channel(), nonce: nonce("j") }]
    );
    assert_eq!(client.feed(at(0), change("l", Change::Leave)), []);
    assert_eq!(sent_nonces(&client.feed(at(0), send("a"))), ["a"]);
    let elsewhere = ChannelId::new("elsewhere").unwrap();
    let (kind, members) = (ChannelKind::Private, Vec::new());
    let create = Change::Create { kind, members };
    let create = Command::Change { channel: elsewhere, nonce: nonce("c"), change: create };
    let create = Input::Command(create);
    assert_eq!(sent_frames(&client.feed(at(0), create)).len(), 1);

    // Retries keep the order.
    let again = client.feed(at(10_000), Input::Tick);
    let ids: Vec<bool> = sent_frames(&again)
        .iter()
        .map(|frame| matches!(frame, ClientFrame::Leave { .. }))
        .collect();
    assert_eq!(ids, [false; 3], "{again:?}");
    let leave = client.feed(at(10_001), accepted(1, 11));
    assert_eq!(
        sent_frames(&leave),
        [&ClientFrame::Leave { id: 2, channel: channel(), nonce: nonce("l") }]
    );
}

#[test]
fn a_change_that_is_put_off_keeps_later_ones_waiting_and_one_that_is_refused_does_not() {
    let mut client = live();
    client.feed(at(0), change("j", Change::Join));
    client.feed(at(0), change("l", Change::Leave));
    client.feed(at(1), Input::Frame(unavailable(1)));
    let again = client.feed(at(501), Input::Tick);
    assert_eq!(
        sent_frames(&again),
        [&ClientFrame::Join { id: 1, channel: channel(), nonce: nonce("j") }]
    );
    let refusal = ServerFrame::Rejected {
        reply_to: Some(1),
        code: RejectCode::Forbidden,
        message: String::new(),
        retry_after_ms: None,
    };
    let leave = client.feed(at(502), Input::Frame(refusal));
    assert_eq!(
        sent_frames(&leave),
        [&ClientFrame::Leave { id: 2, channel: channel(), nonce: nonce("l") }]
    );
}

#[test]
fn a_channel_that_is_left_is_forgotten_once_everything_up_to_its_end_was_delivered() {
    let left = || Input::Frame(ServerFrame::Left { channel: channel(), until: SeqNo(12) });
    let mut client = live();
    client.feed(at(0), Input::Frame(message(11)));
    assert!(
        client.feed(at(0), left()).contains(&Effect::Disconnect),
        "it gets the rest by resuming"
    );
    assert_eq!(client.positions().count(), 1);

    client.feed(at(1), Input::Tick);
    client.feed(at(1), Input::Connected);
    client.feed(at(1), Input::Frame(welcome(11)));
    client.feed(at(1), Input::Frame(message(12)));
    let gone = ClientEvent::Left { channel: channel(), until: SeqNo(12) };
    assert_eq!(client.feed(at(1), left()), [Effect::Emit(gone)]);
    assert_eq!(client.positions().count(), 0, "it is not resumed");
}

fn told_off(code: GoodbyeCode) -> Input {
    let message = "no".to_owned();
    Input::Frame(ServerFrame::Goodbye { code, message, reconnect_after_ms: None })
}

#[test]
fn an_expired_token_is_renewed_and_the_session_resumed() {
    let mut client = live();
    client.feed(at(1), Input::Frame(message(11)));
    assert!(client.feed(at(1), told_off(GoodbyeCode::TokenExpired)).contains(&Effect::RenewToken));
    assert_eq!(client.next_deadline(), None, "it waits for the token, however long");
    client.feed(at(50_000), Input::Tick);

    assert_eq!(client.feed(at(60_000), Input::Token(Some("fresh".to_owned()))), []);
    assert_eq!(client.feed(at(60_000), Input::Tick), [Effect::Connect { gateway: 1 }]);
    let effects = client.feed(at(60_000), Input::Connected);

    let [Effect::Send(ClientFrame::Hello { token, resume, .. })] = effects.as_slice() else {
        panic!("no hello: {effects:?}");
    };
    assert_eq!(token, "fresh");
    assert_eq!(*resume, [Resume::after(channel(), SeqNo(11))]);
}

#[test]
fn a_fresh_token_that_is_refused_ends_the_client() {
    let mut client = live();
    client.feed(at(1), told_off(GoodbyeCode::Unauthorized));
    client.feed(at(2), Input::Token(Some("fresh".to_owned())));
    client.feed(at(2), Input::Tick);
    client.feed(at(2), Input::Connected);

    let effects = client.feed(at(3), told_off(GoodbyeCode::Unauthorized));

    assert!(!effects.contains(&Effect::RenewToken), "it would ask for ever");
    assert!(effects.contains(&Effect::Emit(ClientEvent::Ended { message: "no".to_owned() })));
    assert_eq!(client.next_deadline(), None);
}

#[test]
fn a_token_that_comes_while_the_client_stays_away_is_used_when_it_is_back() {
    let mut client = live();
    client.feed(at(1), told_off(GoodbyeCode::TokenExpired));
    client.feed(at(2), Input::Command(Command::GoOffline));
    client.feed(at(3), Input::Token(Some("fresh".to_owned())));
    assert_eq!(client.next_deadline(), None);

    client.feed(at(4), Input::Command(Command::GoOnline));
    client.feed(at(4), Input::Tick);
    let effects = client.feed(at(4), Input::Connected);

    assert!(
        matches!(&*effects, [Effect::Send(ClientFrame::Hello { token, .. })] if token == "fresh"),
        "{effects:?}"
    );
}
