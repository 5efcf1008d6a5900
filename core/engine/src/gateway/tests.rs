//! Tests of the gateway machine, through `handle` only.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of effect")]

mod draining;
mod expiry;
mod history;
mod limits;
mod membership;
mod notes;
mod presence;
mod reads;
mod report;
mod since;
mod trace;
mod trimmed;
mod unreadable;

use std::time::Duration;

use super::*;
use crate::entry::{Content, Entry};
use crate::frame::{ChannelStatus, LogFrame};
use crate::ids::{Nonce, UserId};
use crate::levels::Limit;
use crate::limits::{
    ADMISSION_WAIT_MAX, CATCH_UP_READS_MAX, HELLO_TIMEOUT, SESSION_IDLE_TIMEOUT, SESSION_PAGES_MAX,
    SESSION_QUEUE_BYTES_MAX,
};
use crate::link::OpenedChannel;
use crate::token::{Claims, TokenKey};
use crate::websocket::{Decoder, Message, Role};

const SHARD: ShardId = ShardId(0);
const ADA: ConnectionId = ConnectionId(1);

fn key() -> TokenKey {
    TokenKey::new(&[7; 32]).unwrap()
}

fn workspace() -> WorkspaceId {
    WorkspaceId::new("w").unwrap()
}

fn general() -> ChannelKey {
    ChannelKey { workspace: workspace(), channel: ChannelId::new("general").unwrap() }
}

fn user(name: &str) -> UserKey {
    UserKey { workspace: workspace(), user: UserId::new(name).unwrap() }
}

fn entry(seq: u64, body: &str) -> Entry {
    let content = Content::Message {
        sender: UserId::new("bob").unwrap(),
        nonce: Nonce::new(&format!("n{seq}")).unwrap(),
        body: body.into(),
    };
    Entry { seq: SeqNo(seq), at: WallTime(0), content }
}

fn entries(seqs: impl IntoIterator<Item = u64>) -> Vec<Entry> {
    seqs.into_iter().map(|seq| entry(seq, "hi")).collect()
}

fn hello(name: &str, resume: Option<u64>) -> String {
    let UserKey { workspace, user } = user(name);
    let token = key().sign(&Claims { workspace, user, expires_at: WallTime(1_000_000) });
    let resume = match resume {
        Some(after) => format!(r#"[{{"channel":"general","after":{after}}}]"#),
        None => "[]".to_owned(),
    };
    format!(r#"{{"type":"hello","token":"{token}","resume":{resume}}}"#)
}

fn publish(entries: Vec<Entry>) -> Input {
    Input::Link { shard: SHARD, frame: FromOwner::Entries { channel: general(), entries } }
}

/// The number of durations up to `us`.
fn upto(durations: &crate::histogram::Durations, us: u64) -> u64 {
    durations.cumulative().find(|(bound, _)| *bound == us).unwrap().1
}

impl Gateway {
    fn feed_at(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.handle(MonoTime(now), WallTime(0), input, &mut effects);
        effects
    }

    fn feed(&mut self, input: Input) -> Vec<Effect> {
        self.feed_at(Duration::ZERO, input)
    }

    fn say(&mut self, text: &str) -> Vec<Effect> {
        self.feed(Input::Text { connection: ADA, text: text.to_owned() })
    }

    fn enter(&mut self, connection: ConnectionId, resume: Option<u64>, head: u64) -> Vec<Effect> {
        self.feed(Input::Connected { connection });
        let asked = self.feed(Input::Text { connection, text: hello("ada", resume) });
        let channels = vec![OpenedChannel {
            channel: general().channel,
            joined: SeqNo(1),
            read: SeqNo(0),
            head: SeqNo(head),
            trimmed_upto: None,
        }];
        let ticket = open_ticket(&asked).expect("hello asks the owner");
        self.feed(Input::Link {
            shard: SHARD,
            frame: FromOwner::Opened { ticket, channels, ended: Vec::new() },
        })
    }

    fn answer(&mut self, ticket: Ticket, entries: Vec<Entry>, head: u64) -> Vec<Effect> {
        self.answer_trimmed(ticket, None, entries, head)
    }

    fn answer_trimmed(
        &mut self,
        ticket: Ticket,
        trimmed_upto: Option<u64>,
        entries: Vec<Entry>,
        head: u64,
    ) -> Vec<Effect> {
        let (trimmed_upto, head) = (trimmed_upto.map(SeqNo), SeqNo(head));
        let frame = FromOwner::Page { ticket, entries, trimmed_upto, head };
        self.feed(Input::Link { shard: SHARD, frame })
    }
}

fn new() -> Gateway {
    limited(RateLimits::default())
}

fn limited(rates: RateLimits) -> Gateway {
    let config = GatewayConfig { shards: 1, token_keys: key().into(), rates, boot: 1 };
    let mut gateway = Gateway::new(config);
    gateway.feed(Input::LinkUp { shard: SHARD });
    gateway
}

fn open_ticket(effects: &[Effect]) -> Option<Ticket> {
    effects.iter().find_map(|effect| match effect {
        Effect::ToOwner { frame: ToOwner::Open { ticket, .. }, .. } => Some(*ticket),
        _ => None,
    })
}

fn read(effects: &[Effect]) -> Option<(Ticket, u64)> {
    effects.iter().find_map(|effect| match effect {
        Effect::ToOwner { frame: ToOwner::Read { ticket, bound, .. }, .. } => match bound {
            HistoryBound::After(after) => Some((*ticket, after.0)),
            HistoryBound::Before(_) | HistoryBound::Since(_) => None,
        },
        _ => None,
    })
}

/// The frames sent to `connection`.
fn frames(effects: &[Effect], connection: ConnectionId) -> Vec<ServerFrame> {
    let mut decoder = Decoder::new(Role::Client, 1 << 20);
    let mut frames = Vec::new();
    for effect in effects {
        let mut bytes = match effect {
            Effect::Send { connection: to, frame } if *to == connection => frame.as_ref(),
            Effect::Broadcast { connections, frames } if connections.contains(&connection) => {
                frames.as_ref()
            }
            _ => continue,
        };
        while !bytes.is_empty() {
            match decoder.decode(&mut bytes).unwrap() {
                Some(Message::Text(text)) => {
                    frames.push(ServerFrame::parse(text.as_bytes()).unwrap());
                }
                other => panic!("not a text frame: {other:?}"),
            }
        }
    }
    frames
}

fn seqs(effects: &[Effect], connection: ConnectionId) -> Vec<u64> {
    frames(effects, connection)
        .into_iter()
        .filter_map(|frame| match frame {
            ServerFrame::Log(LogFrame::Message { seq, .. } | LogFrame::Event { seq, .. }) => {
                Some(seq.0)
            }
            _ => None,
        })
        .collect()
}

fn goodbye_code(effects: &[Effect]) -> Option<GoodbyeCode> {
    frames(effects, ADA).into_iter().find_map(|frame| match frame {
        ServerFrame::Goodbye { code, .. } => Some(code),
        _ => None,
    })
}

#[test]
fn a_fresh_session_starts_at_the_head() {
    let mut gateway = new();
    let effects = gateway.enter(ADA, None, 5);
    let Some(ServerFrame::Welcome { channels, .. }) = frames(&effects, ADA).into_iter().next()
    else {
        panic!("no welcome");
    };
    let channel = general().channel;
    let status = ChannelStatus {
        channel,
        head: SeqNo(5),
        after: SeqNo(5),
        read: SeqNo(0),
        until: None,
        trimmed_upto: None,
    };
    assert_eq!(channels, [status]);
    assert_eq!(read(&effects), None);
    assert_eq!(seqs(&gateway.feed(publish(entries([6, 7]))), ADA), [6, 7]);
}

#[test]
fn a_resumed_session_gets_exactly_what_it_missed_and_then_hears_so() {
    let mut gateway = new();
    let effects = gateway.enter(ADA, Some(2), 5);
    let (ticket, after) = read(&effects).unwrap();
    assert_eq!(after, 2);

    // Entry 6 is published before the page arrives: it is too early and comes from the log.
    assert!(seqs(&gateway.feed(publish(entries([6]))), ADA).is_empty());
    let effects = gateway.answer(ticket, entries([3, 4, 5]), 5);
    assert_eq!(seqs(&effects, ADA), [3, 4, 5]);
    let (ticket, after) = read(&effects).unwrap();
    assert_eq!(after, 5);
    let effects = gateway.answer(ticket, entries([6]), 6);
    assert_eq!(seqs(&effects, ADA), [6]);
    let caught_up = ServerFrame::CaughtUp { channel: general().channel, head: SeqNo(6) };
    assert_eq!(frames(&effects, ADA).last(), Some(&caught_up));
}

#[test]
fn what_was_published_and_read_is_sent_once() {
    let mut gateway = new();
    let effects = gateway.enter(ADA, Some(4), 5);
    let (ticket, _) = read(&effects).unwrap();
    assert_eq!(seqs(&gateway.feed(publish(entries([5]))), ADA), [5]);
    assert!(seqs(&gateway.answer(ticket, entries([5]), 5), ADA).is_empty());
}

#[test]
fn a_gap_in_what_is_published_is_filled_from_the_log() {
    let mut gateway = new();
    gateway.enter(ADA, None, 5);
    let effects = gateway.feed(publish(entries([8])));
    assert!(seqs(&effects, ADA).is_empty());
    let (ticket, after) = read(&effects).unwrap();
    assert_eq!(after, 5);
    assert_eq!(seqs(&gateway.answer(ticket, entries([6, 7, 8]), 8), ADA), [6, 7, 8]);
}

#[test]
fn sessions_that_miss_the_same_share_one_read() {
    let mut gateway = new();
    gateway.enter(ADA, None, 5);
    gateway.enter(ConnectionId(2), None, 5);
    let effects = gateway.feed(publish(entries([7])));
    let reads = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::ToOwner { frame: ToOwner::Read { .. }, .. }));
    assert_eq!(reads.count(), 1);
    let (ticket, _) = read(&effects).unwrap();
    let effects = gateway.answer(ticket, entries([6, 7]), 7);
    assert_eq!(seqs(&effects, ADA), [6, 7]);
    assert_eq!(seqs(&effects, ConnectionId(2)), [6, 7]);
}

#[test]
fn a_resume_position_of_another_log_is_refused() {
    let mut gateway = new();
    assert_eq!(goodbye_code(&gateway.enter(ADA, Some(6), 5)), Some(GoodbyeCode::ResumeAhead));
    assert_eq!(gateway.session_count(), 0);
}

#[test]
fn a_link_that_comes_back_finds_what_was_missed() {
    let mut gateway = new();
    gateway.enter(ADA, None, 5);
    gateway.feed(Input::LinkDown { shard: SHARD });
    let effects = gateway.feed(Input::LinkUp { shard: SHARD });
    assert!(effects.contains(&Effect::ToOwner {
        shard: SHARD,
        frame: ToOwner::Subscribe { channel: general() }
    }));
    let head = FromOwner::Head { channel: general(), head: SeqNo(7) };
    let effects = gateway.feed(Input::Link { shard: SHARD, frame: head });
    let (ticket, after) = read(&effects).unwrap();
    assert_eq!(after, 5);
    assert_eq!(seqs(&gateway.answer(ticket, entries([6, 7]), 7), ADA), [6, 7]);
}

#[test]
fn a_request_whose_link_breaks_is_unknown_not_failed() {
    let mut gateway = new();
    gateway.enter(ADA, None, 5);
    let send = r#"{"type":"send","id":9,"channel":"general","nonce":"n","body":"hi"}"#;
    assert!(frames(&gateway.say(send), ADA).is_empty());
    let effects = gateway.feed(Input::LinkDown { shard: SHARD });
    let frames = frames(&effects, ADA);
    assert!(
        matches!(
            frames.as_slice(),
            [ServerFrame::Rejected {
                reply_to: Some(9),
                code: RejectCode::Unavailable,
                retry_after_ms: Some(_),
                ..
            }]
        ),
        "{frames:?}"
    );
}

#[test]
fn a_slow_session_leaves_live_delivery_and_comes_back_through_the_log() {
    let mut gateway = new();
    gateway.enter(ADA, None, 0);
    let body = "x".repeat(SESSION_QUEUE_BYTES_MAX / 3);
    let big: Vec<Entry> = (1..=6).map(|seq| entry(seq, &body)).collect();
    let effects = gateway.feed(publish(big.clone()));
    let sent = seqs(&effects, ADA).len() as u64;
    assert!((3..6).contains(&sent), "{sent} of 6 were queued");
    assert!(effects.contains(&Effect::Measure { connection: ADA }));
    assert_eq!(read(&effects), None, "no page is read for a session that can't take it");
    assert_eq!(gateway.counts().hits.of(Limit::SessionQueueBytes), 1);

    let effects = gateway.feed(Input::Queue { connection: ADA, bytes: 0 });
    let (ticket, after) = read(&effects).unwrap();
    assert_eq!(after, sent);
    let rest: Vec<Entry> = big.into_iter().skip(usize::try_from(sent).unwrap()).collect();
    let effects = gateway.answer(ticket, rest, 6);
    assert_eq!(seqs(&effects, ADA), (sent + 1..=6).collect::<Vec<_>>());
    assert!(matches!(frames(&effects, ADA).last(), Some(ServerFrame::CaughtUp { .. })));
}

#[test]
fn a_join_during_the_session_brings_the_channel_from_the_join_on() {
    let mut gateway = new();
    gateway.feed(Input::Connected { connection: ADA });
    let asked = gateway.say(&hello("ada", None));
    let ticket = open_ticket(&asked).unwrap();
    let opened = FromOwner::Opened { ticket, channels: Vec::new(), ended: Vec::new() };
    gateway.feed(Input::Link { shard: SHARD, frame: opened });
    let joined = FromOwner::Joined { user: user("ada"), channel: general().channel, seq: SeqNo(4) };
    let effects = gateway.feed(Input::Link { shard: SHARD, frame: joined });
    let status = ChannelStatus {
        channel: general().channel,
        head: SeqNo(4),
        after: SeqNo(3),
        read: SeqNo(3),
        until: None,
        trimmed_upto: None,
    };
    assert_eq!(frames(&effects, ADA), [ServerFrame::Channel(status)]);
    let (ticket, after) = read(&effects).unwrap();
    assert_eq!(after, 3);
    assert_eq!(seqs(&gateway.answer(ticket, entries([4]), 4), ADA), [4]);
}

#[test]
fn a_token_that_does_not_verify_ends_the_session_for_good() {
    let mut gateway = new();
    gateway.feed(Input::Connected { connection: ADA });
    let effects = gateway.say(r#"{"type":"hello","token":"forged"}"#);
    assert_eq!(goodbye_code(&effects), Some(GoodbyeCode::Unauthorized));
    assert!(effects.contains(&Effect::Close { connection: ADA }));
}

#[test]
fn a_bad_frame_is_rejected_and_the_session_goes_on() {
    let mut gateway = new();
    gateway.enter(ADA, None, 0);
    let effects = gateway.say(r#"{"type":"send","id":3}"#);
    assert!(matches!(
        frames(&effects, ADA).as_slice(),
        [ServerFrame::Rejected { reply_to: Some(3), code: RejectCode::BadFrame, .. }]
    ));
    assert_eq!(frames(&gateway.say(r#"{"type":"ping"}"#), ADA), [ServerFrame::Pong]);
}

/// What a reply says: its code and when to come again.
fn refusal(effects: &[Effect]) -> Option<(RejectCode, u64)> {
    frames(effects, ADA).into_iter().find_map(|frame| match frame {
        ServerFrame::Rejected { code, retry_after_ms, .. } => Some((code, retry_after_ms?)),
        _ => None,
    })
}

const SEND: &str = r#"{"type":"send","id":9,"channel":"general","nonce":"n","body":"hi"}"#;

#[test]
fn who_asks_too_often_is_told_when_to_come_again_and_then_let_through() {
    let rates = RateLimits { user: Rate { per_s: 10, burst: 2 }, ..RateLimits::default() };
    let mut gateway = limited(rates);
    gateway.enter(ADA, None, 0);
    let mut say = |ms| {
        let text = Input::Text { connection: ADA, text: SEND.to_owned() };
        gateway.feed_at(Duration::from_millis(ms), text)
    };
    assert_eq!((refusal(&say(0)), refusal(&say(0))), (None, None));
    let (code, retry_after_ms) = refusal(&say(40)).expect("the burst is used up");
    assert_eq!((code, retry_after_ms), (RejectCode::RateLimited, 61));
    assert_eq!(refusal(&say(40 + retry_after_ms)), None);
    assert_eq!(gateway.counts().hits.of(Limit::UserRate), 1);
    assert_eq!(gateway.counts().rejected.iter().collect::<Vec<_>>(), [("rate_limited", 1)]);
}

#[test]
fn requests_are_turned_away_while_the_owner_leaves_one_unanswered_too_long() {
    let mut gateway = new();
    gateway.enter(ADA, None, 0);
    let mut say = |now| {
        let text = Input::Text { connection: ADA, text: SEND.to_owned() };
        gateway.feed_at(now, text)
    };
    assert_eq!(refusal(&say(Duration::ZERO)), None);
    assert_eq!(refusal(&say(ADMISSION_WAIT_MAX - Duration::from_millis(1))), None);
    let (code, retry_after_ms) = refusal(&say(ADMISSION_WAIT_MAX)).expect("the owner is behind");
    assert_eq!((code, retry_after_ms), (RejectCode::Busy, 2_001));

    for ticket in [Ticket(2), Ticket(3)] {
        let (seq, at, duplicate) = (SeqNo(1), WallTime(0), false);
        let frame = FromOwner::Accepted { ticket, seq, at, duplicate };
        gateway.feed(Input::Link { shard: SHARD, frame });
    }
    let text = Input::Text { connection: ADA, text: SEND.to_owned() };
    assert_eq!(refusal(&gateway.feed_at(2 * ADMISSION_WAIT_MAX, text)), None);
    assert_eq!(gateway.counts().hits.of(Limit::AdmissionWait), 1);
    assert_eq!(gateway.counts().shard_requests.peak, 2);
}

#[test]
fn requests_before_hello_end_the_session() {
    let mut gateway = new();
    gateway.feed(Input::Connected { connection: ADA });
    let effects = gateway.say(r#"{"type":"join","id":1,"channel":"general","nonce":"j"}"#);
    assert_eq!(goodbye_code(&effects), Some(GoodbyeCode::Protocol));
}

#[test]
fn silence_ends_a_session_before_and_after_hello() {
    let mut gateway = new();
    gateway.feed(Input::Connected { connection: ADA });
    let effects = gateway.feed_at(HELLO_TIMEOUT, Input::Tick);
    assert_eq!(goodbye_code(&effects), Some(GoodbyeCode::Protocol));

    let mut gateway = new();
    gateway.enter(ADA, None, 0);
    gateway.feed_at(HELLO_TIMEOUT, Input::Tick);
    assert_eq!(gateway.next_deadline(), Some(MonoTime(SESSION_IDLE_TIMEOUT)));
    let effects = gateway.feed_at(SESSION_IDLE_TIMEOUT, Input::Tick);
    assert_eq!(goodbye_code(&effects), Some(GoodbyeCode::Idle));
    assert_eq!(gateway.session_count(), 0);
}

#[test]
fn the_last_session_of_a_channel_takes_the_subscription_with_it() {
    let mut gateway = new();
    gateway.enter(ADA, None, 0);
    gateway.enter(ConnectionId(2), None, 0);
    let last = gateway.feed(Input::Disconnected { connection: ADA });
    assert!(matches!(*last, [Effect::Note { .. }]), "{last:?}");
    let effects = gateway.feed(Input::Disconnected { connection: ConnectionId(2) });
    let unsubscribe = ToOwner::Unsubscribe { channel: general() };
    assert_eq!(
        effects[1..],
        [
            Effect::ToOwner { shard: SHARD, frame: unsubscribe },
            Effect::ToOwner { shard: SHARD, frame: ToOwner::Close { user: user("ada") } },
        ]
    );
}

fn reads(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::ToOwner { frame: ToOwner::Read { .. }, .. }))
        .count()
}

#[test]
fn a_crowd_that_resumes_has_a_few_pages_on_their_way_at_a_time() {
    const CROWD: u64 = 2 * CATCH_UP_READS_MAX as u64;
    let mut gateway = new();
    let mut effects = Vec::new();
    for number in 1..=CROWD {
        effects.extend(gateway.enter(ConnectionId(number), Some(number), 2 * CROWD));
    }
    assert_eq!(reads(&effects), CATCH_UP_READS_MAX);

    let (ticket, after) = read(&effects).unwrap();
    let effects = gateway.answer(ticket, entries(after + 1..=after + 1), 2 * CROWD);
    assert_eq!(seqs(&effects, ConnectionId(after)), [after + 1]);
    // The page that has waited longest is next, not the following one of the session just served.
    let next = read(&effects).map(|(_, after)| after);
    assert_eq!((reads(&effects), next), (1, Some(CATCH_UP_READS_MAX as u64 + 1)));

    // Nobody reads for a session that is gone before its turn.
    for number in CATCH_UP_READS_MAX as u64 + 1..=CROWD {
        gateway.feed(Input::Disconnected { connection: ConnectionId(number) });
    }
    gateway.feed(Input::Disconnected { connection: ConnectionId(after) });
    // The second session's; a session takes two tickets.
    let effects = gateway.answer(Ticket(ticket.0 + 2), entries([after + 2]), 2 * CROWD);
    assert_eq!(seqs(&effects, ConnectionId(after + 1)), [after + 2]);
    // What it needs next is on its way for the third session, and the queue is empty.
    assert_eq!(reads(&effects), 0);
}

#[test]
fn a_session_that_vanishes_while_it_is_opened_leaves_nothing_to_wait_for() {
    let mut gateway = new();
    for number in 1..=100 {
        let connection = ConnectionId(number);
        gateway.feed(Input::Connected { connection });
        gateway.feed(Input::Text { connection, text: hello("ada", None) });
        gateway.feed(Input::Disconnected { connection });
    }
    gateway.feed(Input::Tick);
    assert_eq!(gateway.counts().tickets.now, 0);
}

#[test]
fn entries_that_are_published_together_are_sent_as_the_same_bytes_to_all() {
    let mut gateway = new();
    for number in 1..=3 {
        gateway.enter(ConnectionId(number), None, 5);
    }
    // The fourth has entry 6 already, and is sent the rest alone.
    gateway.enter(ConnectionId(4), None, 6);
    let effects = gateway.feed(publish(entries([6, 7, 8])));
    let broadcasts: Vec<&Vec<ConnectionId>> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Broadcast { connections, .. } => Some(connections),
            _ => None,
        })
        .collect();
    assert_eq!(broadcasts, [&vec![ConnectionId(1), ConnectionId(2), ConnectionId(3)]]);
    assert_eq!(seqs(&effects, ConnectionId(3)), [6, 7, 8]);
    assert_eq!(seqs(&effects, ConnectionId(4)), [7, 8]);
}

#[test]
fn deliveries_are_counted_for_each_session_and_timed_for_each_entry() {
    let (mut gateway, bob) = (new(), ConnectionId(2));
    gateway.enter(ADA, Some(1), 1);
    // Bob is behind, and has the second of the next entries when they are announced again.
    gateway.enter(bob, Some(1), 1);
    assert!(!gateway.has_announced());
    gateway.feed(publish(entries(2..=4)));
    gateway.feed(publish(entries(3..=5)));
    gateway.feed(publish(entries(3..=5)));
    assert_eq!(gateway.counts().delivered_live, 2 * 4);
    assert!(gateway.has_announced());

    let mut effects = Vec::new();
    gateway.handle(MonoTime::default(), WallTime(3), Input::Flushed, &mut effects);
    assert!(effects.is_empty() && !gateway.has_announced());
    let deliver = &gateway.counts().deliver;
    assert_eq!((deliver.count(), upto(deliver, 2_500), upto(deliver, 5_000)), (6, 0, 6));

    let eve = ConnectionId(3);
    let (ticket, _) = read(&gateway.enter(eve, Some(0), 5)).unwrap();
    gateway.answer(ticket, entries(1..=5), 5);
    assert_eq!(gateway.counts().delivered_from_log, 5);
    assert!(!gateway.has_announced(), "what comes out of the log is not timed");
}
