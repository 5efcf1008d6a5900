//! What a gateway shows to operators.

use super::*;
use crate::admin::Window;

const BOB: ConnectionId = ConnectionId(2);

#[test]
fn sessions_are_shown_from_their_connection_on() {
    let mut gateway = new();
    gateway.enter(ADA, Some(3), 5);
    gateway.feed(Input::Connected { connection: BOB });
    let at = MonoTime(Duration::from_millis(1_500));
    let all = Window::new(None, None);
    let rows = gateway.report_sessions(at, &Whose::default(), &all).rows;
    let [ada, bob] = rows.as_slice() else { panic!("{rows:?}") };

    assert_eq!((ada.phase, ada.channels, ada.silent_ms), ("live", 1, 1_500));
    assert_eq!((ada.connection, ada.user.as_ref()), (ADA, Some(&user("ada").user)));
    assert_eq!(ada.token_expires_at_ms, Some(WallTime(1_000_000)));
    assert!(ada.queue_bytes > 0, "a welcome was queued");
    assert_eq!((bob.phase, &bob.user, bob.token_expires_at_ms), ("greeting", &None, None));

    let ada_only = Whose { workspace: Some(workspace()), user: Some(user("ada").user) };
    assert_eq!(gateway.report_sessions(at, &ada_only, &all).rows, rows[..1]);
    let elsewhere = Whose { workspace: WorkspaceId::new("v").ok(), user: None };
    assert_eq!(gateway.report_sessions(at, &elsewhere, &all).rows, []);

    let first = gateway.report_sessions(at, &Whose::default(), &Window::new(None, Some(1)));
    assert_eq!(first.rows, rows[..1]);
    let rest = Window::new(first.next, Some(1));
    let rest = gateway.report_sessions(at, &Whose::default(), &rest);
    assert_eq!((rest.rows.as_slice(), rest.next), (&rows[1..], None));
}

#[test]
fn a_session_is_shown_with_how_far_it_is_in_each_channel() {
    let mut gateway = new();
    gateway.enter(ADA, Some(3), 5);
    let name =
        gateway.report_sessions(MonoTime::default(), &Whose::default(), &Window::new(None, None));
    let name = &name.rows[0].session;

    let report = gateway.report_session(MonoTime::default(), name).unwrap();

    let [following] = report.following.as_slice() else { panic!("{report:?}") };
    assert_eq!((following.sent_upto, following.head), (SeqNo(3), SeqNo(5)));
    assert!(following.behind);
    assert_eq!(gateway.report_session(MonoTime::default(), "another"), None);
}
