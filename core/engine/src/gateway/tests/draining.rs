//! Who is sent elsewhere by a drain, and when they come back.
use super::*;

#[test]
fn draining_sends_everybody_elsewhere_spread_over_time() {
    let mut gateway = new();
    for number in 1..=20 {
        gateway.enter(ConnectionId(number), None, 0);
    }
    let spread = Duration::from_millis(700);
    let mut effects = gateway.feed(Input::Drain { spread });
    assert_eq!(gateway.session_count(), 0);
    // Who comes all the same is sent away, too.
    for number in 21..=40 {
        effects.extend(gateway.feed(Input::Connected { connection: ConnectionId(number) }));
    }
    assert_eq!(gateway.session_count(), 0, "a gateway that is drained took a session");
    let waits: Vec<u64> = (1..=40)
        .flat_map(|number| frames(&effects, ConnectionId(number)))
        .filter_map(|frame| match frame {
            ServerFrame::Goodbye { reconnect_after_ms, .. } => reconnect_after_ms,
            _ => None,
        })
        .collect();
    assert_eq!(waits.len(), 40);
    assert!(waits.iter().all(|wait| *wait < 700), "{waits:?}");
    assert!(waits.iter().collect::<BTreeSet<_>>().len() > 30, "{waits:?}");

    gateway.feed(Input::Serve);
    gateway.enter(ConnectionId(41), None, 0);
    assert_eq!(gateway.session_count(), 1, "a gateway that serves again takes sessions");
}
