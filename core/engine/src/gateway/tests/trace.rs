//! Who was sent an entry, when and how.

use super::*;
use crate::admin::Window;
use crate::limits::TRACE_ROWS_MAX;
use crate::time::Clocks;

const BOB: ConnectionId = ConnectionId(2);
const EVE: ConnectionId = ConnectionId(3);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// At second 10 by the gateway's clock, second 110 by the wall's.
fn trace(gateway: &Gateway, seq: u64) -> GatewayTrace {
    let clocks = Clocks { mono: MonoTime(ms(10_000)), wall: WallTime(110_000) };
    gateway.trace(clocks, (&general(), SeqNo(seq)), &Window::new(None, None))
}

fn how(trace: &GatewayTrace, connection: ConnectionId) -> (How, Option<u64>) {
    let row = trace.sessions.rows.iter().find(|row| row.connection == connection).unwrap();
    (row.how, row.at_ms.map(|at| at.0))
}

/// Ada and bob follow from 3 on; eve resumes behind 1, and waits for her page. Gives its ticket.
fn three() -> (Gateway, Ticket) {
    let mut gateway = new();
    gateway.enter(ADA, None, 3);
    gateway.enter(BOB, None, 3);
    let effects = gateway.enter(EVE, Some(1), 3);
    (gateway, read(&effects).unwrap().0)
}

#[test]
fn a_trace_tells_who_was_sent_an_entry_live_and_who_caught_up_later() {
    let (mut gateway, page) = three();
    gateway.feed_at(ms(2_000), publish(entries([4])));
    gateway.feed_at(ms(2_005), Input::Flushed);
    let told = trace(&gateway, 4);
    assert_eq!((told.arrived_at_ms, told.written_after_us), (Some(WallTime(102_000)), Some(5_000)));
    assert_eq!(how(&told, ADA), (How::Live, Some(102_000)));
    assert_eq!(how(&told, EVE), (How::Behind, None));

    let frame = FromOwner::Page {
        ticket: page,
        entries: entries(2..=4),
        trimmed_upto: None,
        head: SeqNo(4),
    };
    gateway.feed_at(ms(3_000), Input::Link { shard: SHARD, frame });

    let told = trace(&gateway, 4);
    assert_eq!(how(&told, BOB), (How::Live, Some(102_000)));
    assert_eq!(how(&told, EVE), (How::Log, Some(103_000)));
    assert_eq!(told.sessions.rows[0].user, Some(user("ada").user));
    let told = trace(&gateway, 3);
    assert_eq!((how(&told, ADA), told.arrived_at_ms), ((How::Before, None), None));
    assert_eq!(how(&told, EVE), (How::Log, Some(103_000)));
    assert_eq!(how(&trace(&gateway, 5), ADA), (How::Behind, None));
}

#[test]
fn a_session_that_has_ended_is_still_told_of() {
    let (mut gateway, _) = three();
    gateway.feed_at(ms(2_000), publish(entries([4])));
    gateway.feed_at(ms(2_500), Input::Disconnected { connection: ADA });
    gateway.feed_at(ms(2_500), Input::Disconnected { connection: EVE });

    let told = trace(&gateway, 4);

    assert_eq!(told.sessions.rows.len(), 1);
    let [ada] = told.ended.as_slice() else { panic!("{:?}", told.ended) };
    assert_eq!((ada.connection, ada.how), (ADA, How::Live));
    assert_eq!((&ada.user, ada.at_ms), (&Some(user("ada").user), Some(WallTime(102_000))));
    assert_eq!(trace(&gateway, 3).ended, [], "they had not been sent it");
}

#[test]
fn the_request_is_told_of_with_its_session() {
    let mut gateway = new();
    gateway.enter(ADA, None, 3);
    let send = r#"{"type":"send","id":1,"channel":"general","nonce":"n","body":"hi"}"#;
    let text = Input::Text { connection: ADA, text: send.to_owned() };
    let effects = gateway.feed_at(ms(1_000), text);
    let ticket = effects.iter().find_map(|effect| match effect {
        Effect::ToOwner { frame: ToOwner::Submit { ticket, .. }, .. } => Some(*ticket),
        _ => None,
    });
    let (ticket, at) = (ticket.unwrap(), WallTime(0));
    let frame = FromOwner::Accepted { ticket, seq: SeqNo(4), at, duplicate: false };
    gateway.feed_at(ms(1_007), Input::Link { shard: SHARD, frame });

    let told = trace(&gateway, 4);

    let [request] = told.requests.as_slice() else { panic!("{told:?}") };
    assert_eq!((request.asked_at_ms, request.answered_after_us), (WallTime(101_000), 7_000));
    assert_eq!(request.session, told.sessions.rows[0].session);
}

#[test]
fn what_is_forgotten_is_told_without_a_time_and_never_wrongly() {
    let (mut gateway, page) = three();
    gateway.feed_at(ms(1_000), publish(entries([4])));
    let frame = FromOwner::Page {
        ticket: page,
        entries: entries(2..=4),
        trimmed_upto: None,
        head: SeqNo(4),
    };
    gateway.feed_at(ms(2_000), Input::Link { shard: SHARD, frame });
    // Pages of others push out eve's, but no announcement.
    for seq in 0..=TRACE_ROWS_MAX as u64 {
        let (elsewhere, pages) = (general(), (SeqNo(seq + 100), SeqNo(seq + 101)));
        gateway.trace.caught_up(&elsewhere, BOB, pages, MonoTime(ms(3_000)));
    }
    let told = trace(&gateway, 4);
    assert_eq!(how(&told, EVE), (How::Sent, None), "she was not sent it live");
    assert_eq!(how(&told, ADA), (How::Sent, None), "nobody can tell any more");

    for seq in 5..=5 + TRACE_ROWS_MAX as u64 {
        gateway.feed_at(ms(4_000), publish(entries([seq])));
        gateway.feed_at(ms(4_000), Input::Queue { connection: ADA, bytes: 0 });
    }
    assert_eq!(trace(&gateway, 4).arrived_at_ms, None);
    assert_eq!(gateway.counts().trace_rows.peak, TRACE_ROWS_MAX);
}
