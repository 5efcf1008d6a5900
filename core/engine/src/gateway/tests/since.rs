//! Resuming by time: the owner is asked what the times stand for before the session opens.

use super::*;
use crate::limits::SHARD_LOCATES_MAX;

fn greet(gateway: &mut Gateway, resume: &str) -> Vec<Effect> {
    gateway.feed(Input::Connected { connection: ADA });
    let hello = hello("ada", None).replace(r#""resume":[]"#, &format!(r#""resume":[{resume}]"#));
    gateway.say(&hello)
}

/// The ticket of the question where to go on, and the times in it.
fn locate(effects: &[Effect]) -> Option<(Ticket, Vec<u64>)> {
    effects.iter().find_map(|effect| match effect {
        Effect::ToOwner { frame: ToOwner::Locate { ticket, points, .. }, .. } => {
            Some((*ticket, points.iter().map(|(_, at)| at.0).collect()))
        }
        _ => None,
    })
}

fn located(gateway: &mut Gateway, ticket: Ticket, after: u64) -> Vec<Effect> {
    let points = vec![(general().channel, SeqNo(after))];
    gateway.feed(Input::Link { shard: SHARD, frame: FromOwner::Located { ticket, points } })
}

#[test]
fn a_session_that_resumes_by_time_is_sent_all_from_the_position_it_stands_for() {
    let mut gateway = new();
    let asked = greet(&mut gateway, r#"{"channel":"general","since_ms":5}"#);
    assert_eq!(open_ticket(&asked), None, "not before its positions are known");
    let (ticket, times) = locate(&asked).expect("the owner is asked");
    assert_eq!(times, [5]);
    let asked = located(&mut gateway, ticket, 3);
    let ticket = open_ticket(&asked).expect("now it opens");
    let channels = vec![OpenedChannel {
        channel: general().channel,
        joined: SeqNo(1),
        read: SeqNo(0),
        head: SeqNo(5),
        trimmed_upto: None,
    }];
    let frame = FromOwner::Opened { ticket, channels, ended: Vec::new() };
    let effects = gateway.feed(Input::Link { shard: SHARD, frame });
    match frames(&effects, ADA).as_slice() {
        [ServerFrame::Welcome { channels, .. }] => assert_eq!(channels[0].after, SeqNo(3)),
        frames => panic!("no welcome: {frames:?}"),
    }
    let (ticket, after) = read(&effects).expect("it is behind");
    assert_eq!(after, 3);
    let sent = frames(&gateway.answer(ticket, entries(4..=5), 5), ADA);
    assert!(matches!(sent.last(), Some(ServerFrame::CaughtUp { .. })), "{sent:?}");
    assert_eq!(sent.len(), 3);
}

#[test]
fn a_link_that_went_down_is_asked_again_for_the_positions() {
    let mut gateway = new();
    let asked = greet(&mut gateway, r#"{"channel":"general","since_ms":5}"#);
    let (ticket, _) = locate(&asked).unwrap();
    gateway.feed(Input::LinkDown { shard: SHARD });
    let asked = gateway.feed(Input::LinkUp { shard: SHARD });
    let (again, _) = locate(&asked).expect("asked anew");
    assert_eq!(located(&mut gateway, ticket, 1), [], "an answer to the link that was");
    assert!(open_ticket(&located(&mut gateway, again, 3)).is_some());
}

#[test]
fn a_point_to_resume_from_is_a_position_or_a_time() {
    for point in [r#"{"channel":"general"}"#, r#"{"channel":"general","after":1,"since_ms":5}"#] {
        let mut gateway = new();
        let effects = greet(&mut gateway, point);
        match frames(&effects, ADA).as_slice() {
            [ServerFrame::Goodbye { code: GoodbyeCode::Protocol, message, .. }] => {
                assert!(message.contains("general"), "{message}");
            }
            frames => panic!("not refused: {frames:?}"),
        }
    }
}

#[test]
fn sessions_that_wait_to_resume_by_time_are_bounded_also_when_they_end() {
    let mut gateway = new();
    let hello = hello("ada", None)
        .replace(r#""resume":[]"#, r#""resume":[{"channel":"general","since_ms":5}]"#);
    let come = |gateway: &mut Gateway, number: usize| {
        let connection = ConnectionId(number as u64 + 2);
        gateway.feed(Input::Connected { connection });
        (connection, gateway.feed(Input::Text { connection, text: hello.clone() }))
    };
    let mut asked = Vec::new();
    for number in 0..SHARD_LOCATES_MAX {
        let (connection, effects) = come(&mut gateway, number);
        asked.extend(locate(&effects).map(|(ticket, _)| ticket));
        // The owner looks for it all the same.
        gateway.feed(Input::Disconnected { connection });
    }
    assert_eq!(asked.len(), SHARD_LOCATES_MAX);
    let (late, effects) = come(&mut gateway, SHARD_LOCATES_MAX);
    assert_eq!((locate(&effects), open_ticket(&effects)), (None, None));
    assert!(matches!(
        frames(&effects, late)[..],
        [ServerFrame::Goodbye { code: GoodbyeCode::Unavailable, reconnect_after_ms: Some(_), .. }]
    ));
    assert_eq!(gateway.counts().hits.of(Limit::ShardLocates), 1);
    assert_eq!(gateway.counts().shard_locates.peak, SHARD_LOCATES_MAX);

    assert_eq!(located(&mut gateway, asked[0], 3), [], "for nobody, and there is room again");
    assert!(locate(&come(&mut gateway, SHARD_LOCATES_MAX + 1).1).is_some());
    gateway.feed(Input::LinkDown { shard: SHARD });
    gateway.feed(Input::LinkUp { shard: SHARD });
    for number in 2..=SHARD_LOCATES_MAX {
        let (_, effects) = come(&mut gateway, SHARD_LOCATES_MAX + number);
        assert!(locate(&effects).is_some(), "{number}: with a link go its questions");
    }
}
