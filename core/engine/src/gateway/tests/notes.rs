//! What the log is told of sessions.

use super::*;
use crate::limits::LOGGED_CLIENT_CHARS_MAX;

/// What the log is told.
fn notes(effects: Vec<Effect>) -> Vec<Note> {
    let notes = effects.into_iter().filter_map(|effect| match effect {
        Effect::Note { connection: ADA, note } => Some(note),
        _ => None,
    });
    notes.collect()
}

#[test]
fn the_log_tells_who_came_and_why_they_went_and_no_secret() {
    let mut gateway = new();
    gateway.feed(Input::Connected { connection: ADA });
    let client = "x".repeat(LOGGED_CLIENT_CHARS_MAX - 1);
    let name = format!(r#""client":"{client}\nforged line"}}"#);
    let opened = notes(gateway.say(&hello("ada", None).replace('}', &format!(",{name}"))));
    let session = gateway.session_name(ADA);
    let [Note::Opened { session: named, user: who, client: shown }] = &*opened else {
        panic!("{opened:?}")
    };
    assert_eq!((named, who), (&session, &user("ada")));
    assert_eq!(*shown, format!("{client}\\n"), "cut behind the line break, which is escaped");

    let why = Why::Goodbye("protocol");
    let ended = Note::Ended { session: session.clone(), user: Some(user("ada")), why };
    assert_eq!(notes(gateway.say(&hello("ada", None))), [ended]);
    assert_eq!(notes(gateway.feed(Input::Disconnected { connection: ADA })), [], "told already");

    gateway.feed(Input::Connected { connection: ADA });
    let why = Why::Goodbye("unauthorized");
    let ended = Note::Ended { session, user: None, why };
    assert_eq!(notes(gateway.say(r#"{"type":"hello","token":"secret"}"#)), [ended]);
}
