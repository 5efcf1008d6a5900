//! What clients can fill, and what they are told when it is full.

use super::*;
use crate::limits::{
    BODY_BYTES_MAX, SESSION_REQUESTS_MAX, SHARD_PAGES_MAX, SHARD_REQUEST_BYTES_MAX,
};

#[test]
fn pages_for_requests_are_bounded_for_all_sessions_of_a_shard_together() {
    let mut gateway = new();
    let history = r#"{"type":"history","id":1,"channel":"general"}"#;
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
