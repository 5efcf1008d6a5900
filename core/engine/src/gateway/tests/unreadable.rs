//! Pages that can't be had: who waits for them is told, and goes on where they were once they can.

use super::*;
use crate::limits::PAGE_REST_MIN;

const BOB: ConnectionId = ConnectionId(2);

fn refuse(ticket: Ticket, code: RejectCode) -> Input {
    let message = "the entries of channel general after 2 can't be read".to_owned();
    Input::Link { shard: SHARD, frame: FromOwner::Rejected { ticket, code, message } }
}

fn unreadable(effects: &[Effect], connection: ConnectionId) -> Option<(String, u64)> {
    match frames(effects, connection).as_slice() {
        [
            ServerFrame::Rejected {
                reply_to: None,
                code: RejectCode::Unreadable,
                message,
                retry_after_ms: Some(after_ms),
            },
        ] => Some((message.clone(), *after_ms)),
        _ => None,
    }
}

#[test]
fn sessions_behind_are_told_and_served_once_the_page_can_be_read() {
    let mut gateway = new();
    let (ticket, after) = read(&gateway.enter(ADA, Some(2), 4)).expect("ada is behind");
    gateway.enter(BOB, Some(2), 4);
    assert_eq!(after, 2);
    let effects = gateway.feed(refuse(ticket, RejectCode::Unreadable));
    let told = ("the entries of channel general after 2 can't be read".to_owned(), 500);
    assert_eq!(unreadable(&effects, ADA), Some(told.clone()));
    assert_eq!(unreadable(&effects, BOB), Some(told));
    assert_eq!(read(&effects), None, "it rests");
    assert_eq!(gateway.next_deadline(), Some(MonoTime(PAGE_REST_MIN)));
    // What is published meanwhile is not for them yet, and asks for nothing.
    let effects = gateway.feed(publish(entries(5..=5)));
    assert_eq!((seqs(&effects, ADA), read(&effects)), (vec![], None));

    let effects = gateway.feed_at(PAGE_REST_MIN, Input::Tick);
    let (ticket, after) = read(&effects).expect("it is asked for again");
    assert_eq!(after, 2);
    let effects = gateway.feed_at(PAGE_REST_MIN, refuse(ticket, RejectCode::Unreadable));
    assert_eq!(unreadable(&effects, ADA).map(|told| told.1), Some(1_000), "twice as long");
    let effects = gateway.feed_at(3 * PAGE_REST_MIN, Input::Tick);
    let (ticket, _) = read(&effects).expect("and again");
    let effects = gateway.answer(ticket, entries(3..=5), 5);
    for connection in [ADA, BOB] {
        assert_eq!(seqs(&effects, connection), [3, 4, 5], "no gap");
    }
}

#[test]
fn a_page_refused_for_want_of_room_is_asked_for_again_without_a_word() {
    let mut gateway = new();
    let (ticket, _) = read(&gateway.enter(ADA, Some(2), 4)).expect("ada is behind");
    assert_eq!(gateway.feed(refuse(ticket, RejectCode::Busy)), []);
    assert!(read(&gateway.feed_at(PAGE_REST_MIN, Input::Tick)).is_some());
}

#[test]
fn a_request_for_history_is_refused_with_a_time_to_come_back() {
    let mut gateway = new();
    gateway.enter(ADA, None, 4);
    let asked = gateway.say(r#"{"type":"history","id":7,"channel":"general","after":2}"#);
    let (ticket, _) = read(&asked).unwrap();
    let effects = gateway.feed(refuse(ticket, RejectCode::Unreadable));
    match frames(&effects, ADA).as_slice() {
        [ServerFrame::Rejected { reply_to: Some(7), code, retry_after_ms: Some(_), .. }] => {
            assert_eq!(*code, RejectCode::Unreadable);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(gateway.feed_at(PAGE_REST_MIN, Input::Tick), [], "that is the client's to do");
}

fn locate(effects: &[Effect]) -> Option<Ticket> {
    effects.iter().find_map(|effect| match effect {
        Effect::ToOwner { frame: ToOwner::Locate { ticket, .. }, .. } => Some(*ticket),
        _ => None,
    })
}

#[test]
fn a_session_whose_times_cant_be_looked_up_is_sent_away_for_a_while() {
    let mut gateway = new();
    gateway.feed(Input::Connected { connection: ADA });
    let point = r#""resume":[{"channel":"general","since_ms":5}]"#;
    let asked = gateway.say(&hello("ada", None).replace(r#""resume":[]"#, point));
    let effects = gateway.feed(refuse(locate(&asked).unwrap(), RejectCode::Unreadable));
    match frames(&effects, ADA).as_slice() {
        [ServerFrame::Goodbye { code, message, reconnect_after_ms: Some(_) }] => {
            assert_eq!(*code, GoodbyeCode::Unavailable);
            assert!(message.contains("channel general"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(gateway.session_count(), 0);
    // One that went by itself is not told.
    gateway.feed(Input::Connected { connection: ADA });
    let asked = gateway.say(&hello("ada", None).replace(r#""resume":[]"#, point));
    gateway.feed(Input::Disconnected { connection: ADA });
    assert_eq!(gateway.feed(refuse(locate(&asked).unwrap(), RejectCode::Unreadable)), []);
}
