//! What clients can fill, and what they are told when it is full.

use super::*;
use crate::limits::{
    BODY_BYTES_MAX, NAME_BYTES_MAX, NONCE_BYTES_MAX, PRESENCE_BATCH_MAX, PRESENCE_PARTING_MAX,
    RESUME_CHANNELS_MAX, RUN_BYTES_MAX, SESSION_REQUESTS_MAX, SESSIONS_MAX, SHARD_PAGES_MAX,
    SHARD_REQUEST_BYTES_MAX,
};

#[test]
fn pages_for_requests_are_bounded_for_all_sessions_of_a_shard_together() {
    let mut gateway = new();
    let history = r#"{"type":"history","id":1,"channel":"general","after":0}"#;
    let mut asked = Vec::new();
    for number in 1..=SHARD_PAGES_MAX as u64 / SESSION_PAGES_MAX as u64 {
        let connection = ConnectionId(number);
        gateway.enter(connection, None, 5);
        for _ in 0..SESSION_PAGES_MAX {
            let text = Input::Text { connection, text: history.to_owned() };
            asked.extend(read(&gateway.feed(text)));
        }
    }
    assert_eq!(asked.len(), SHARD_PAGES_MAX);
    let late = ConnectionId(SHARD_PAGES_MAX as u64);
    gateway.enter(late, None, 5);
    let mut say = || gateway.feed(Input::Text { connection: late, text: history.to_owned() });
    let refused = frames(&say(), late);
    assert!(matches!(
        refused[..],
        [ServerFrame::Rejected { code: RejectCode::Busy, retry_after_ms: Some(_), .. }]
    ));
    gateway.answer(asked[0].0, entries([1]), 5);
    let text = Input::Text { connection: late, text: history.to_owned() };
    assert!(read(&gateway.feed(text)).is_some());
    assert_eq!(gateway.counts().hits.of(Limit::ShardPages), 1);
    assert_eq!(gateway.counts().shard_pages.peak, SHARD_PAGES_MAX);
}

#[test]
fn requests_for_a_shard_are_bounded_in_bytes_for_all_sessions_together() {
    let mut gateway = new();
    let body = "x".repeat(BODY_BYTES_MAX);
    let text =
        format!(r#"{{"type":"send","id":9,"channel":"general","nonce":"n","body":"{body}"}}"#);
    let (mut forwarded, mut connection) = (0, ADA);
    let refused = loop {
        gateway.enter(connection, None, 0);
        let say = |_| gateway.feed(Input::Text { connection, text: text.clone() });
        let answers: Vec<Vec<Effect>> = (0..SESSION_REQUESTS_MAX).map(say).collect();
        if let Some(answer) = answers.iter().find(|effects| !frames(effects, connection).is_empty())
        {
            break frames(answer, connection);
        }
        forwarded += answers.len();
        connection = ConnectionId(connection.0 + 1);
    };
    assert!(matches!(refused[..], [ServerFrame::Rejected { code: RejectCode::Busy, .. }]));
    assert!(forwarded * text.len() <= SHARD_REQUEST_BYTES_MAX, "{forwarded}");
    assert!(gateway.counts().hits.of(Limit::ShardRequestBytes) > 0);
}

fn told_busy(effects: &[Effect], connection: ConnectionId) -> bool {
    matches!(
        frames(effects, connection)[..],
        [ServerFrame::Rejected { code: RejectCode::Busy, retry_after_ms: Some(_), .. }]
    )
}

#[test]
fn a_session_has_so_many_requests_open_and_no_more() {
    let mut gateway = new();
    gateway.enter(ADA, None, 0);
    for _ in 0..SESSION_REQUESTS_MAX {
        assert_eq!(frames(&gateway.say(SEND), ADA), []);
    }
    assert!(told_busy(&gateway.say(SEND), ADA));
    assert_eq!(gateway.counts().hits.of(Limit::SessionRequests), 1);
    assert_eq!(gateway.counts().session_requests.peak, SESSION_REQUESTS_MAX);
}

#[test]
fn a_full_gateway_sends_the_next_session_elsewhere() {
    let mut gateway = new();
    for number in 0..SESSIONS_MAX as u64 {
        let effects = gateway.feed(Input::Connected { connection: ConnectionId(number + 2) });
        assert_eq!(effects, []);
    }
    let effects = gateway.feed(Input::Connected { connection: ADA });
    assert!(effects.contains(&Effect::Close { connection: ADA }));
    assert!(matches!(
        frames(&effects, ADA)[..],
        [ServerFrame::Goodbye {
            code: GoodbyeCode::Unavailable,
            reconnect_after_ms: Some(1..),
            ..
        }]
    ));
    assert_eq!(gateway.session_count(), SESSIONS_MAX);
    assert_eq!(gateway.counts().hits.of(Limit::Sessions), 1);
}

#[test]
fn hello_resumes_so_many_channels_and_no_more() {
    let resuming = |count: usize| {
        let point = |number| format!(r#"{{"channel":"c{number}","after":1}}"#);
        let points: Vec<String> = (0..count).map(point).collect();
        hello("ada", None).replace("[]", &format!("[{}]", points.join(",")))
    };
    let mut gateway = new();
    gateway.feed(Input::Connected { connection: ADA });
    assert!(open_ticket(&gateway.say(&resuming(RESUME_CHANNELS_MAX))).is_some());

    let mut gateway = new();
    gateway.feed(Input::Connected { connection: ADA });
    let effects = gateway.say(&resuming(RESUME_CHANNELS_MAX + 1));
    assert_eq!(
        (goodbye_code(&effects), open_ticket(&effects)),
        (Some(GoodbyeCode::Protocol), None)
    );
    assert_eq!(gateway.counts().hits.of(Limit::ResumeChannels), 1);
}

#[test]
fn a_workspace_that_asks_too_often_is_slowed_down_as_one() {
    let workspace = Rate { per_s: 10, burst: 3 };
    let mut gateway = limited(RateLimits { workspace, ..RateLimits::default() });
    gateway.enter(ADA, None, 0);
    for _ in 0..3 {
        assert_eq!(refusal(&gateway.say(SEND)), None);
    }
    assert_eq!(refusal(&gateway.say(SEND)).map(|refusal| refusal.0), Some(RejectCode::RateLimited));
    assert_eq!(gateway.counts().hits.of(Limit::WorkspaceRate), 1);
}

#[test]
fn names_and_nonces_of_the_greatest_length_are_taken_and_longer_ones_are_not() {
    let mut gateway = new();
    gateway.enter(ADA, None, 0);
    let send = |channel: usize, nonce: usize| {
        let (channel, nonce) = ("c".repeat(channel), "n".repeat(nonce));
        SEND.replace("general", &channel).replace(r#""n""#, &format!(r#""{nonce}""#))
    };
    let mut is_bad = |text: &str| {
        let answer = frames(&gateway.say(text), ADA);
        matches!(answer[..], [ServerFrame::Rejected { code: RejectCode::BadFrame, .. }])
    };
    assert!(!is_bad(&send(NAME_BYTES_MAX, NONCE_BYTES_MAX)));
    assert!(is_bad(&send(NAME_BYTES_MAX + 1, NONCE_BYTES_MAX)));
    assert!(is_bad(&send(NAME_BYTES_MAX, NONCE_BYTES_MAX + 1)));
}

#[test]
fn frames_that_are_due_together_are_joined_up_to_a_bound() {
    let mut gateway = new();
    gateway.enter(ADA, None, 0);
    let body = "x".repeat(1_000);
    let runs: Vec<usize> = gateway
        .feed(publish((1..=50).map(|seq| entry(seq, &body)).collect()))
        .iter()
        .filter_map(|effect| match effect {
            Effect::Broadcast { frames, .. } => Some(frames.len()),
            _ => None,
        })
        .collect();
    assert!(runs.len() > 1, "{runs:?}");
    assert!(runs.iter().all(|bytes| *bytes < RUN_BYTES_MAX + 2 * body.len()), "{runs:?}");
}

#[test]
fn last_signs_of_life_are_kept_up_to_a_bound_and_sent_in_several_frames() {
    const AWAY: &str = r#"{"type":"heartbeat","state":"away"}"#;
    let beats = |effects: &[Effect]| -> Vec<usize> {
        let of = |effect: &Effect| match effect {
            Effect::ToOwner { frame: ToOwner::Beats { beats }, .. } => Some(beats.len()),
            _ => None,
        };
        effects.iter().filter_map(of).collect()
    };
    let mut gateway = new();
    let crowd = (1..=PRESENCE_BATCH_MAX.max(PRESENCE_PARTING_MAX) as u64 + 1).map(ConnectionId);
    for connection in crowd.clone() {
        gateway.enter(connection, None, 0);
        gateway.feed(Input::Text { connection, text: AWAY.to_owned() });
    }
    let now = Duration::from_secs(1);
    assert_eq!(beats(&gateway.feed_at(now, Input::Tick)), [PRESENCE_BATCH_MAX, 1]);

    for connection in crowd.clone() {
        gateway.feed_at(now, Input::Text { connection, text: AWAY.to_owned() });
    }
    gateway.feed_at(now, Input::LinkDown { shard: SHARD });
    for connection in crowd {
        gateway.feed_at(now, Input::Disconnected { connection });
    }
    let sent = beats(&gateway.feed_at(now, Input::LinkUp { shard: SHARD }));
    assert_eq!(sent.iter().sum::<usize>(), PRESENCE_PARTING_MAX);
}
