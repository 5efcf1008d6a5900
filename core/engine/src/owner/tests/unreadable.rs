//! What the store can't read: its reader is refused and may come again, and all else goes on.

use super::*;

const OTHER: LinkId = LinkId(2);

fn page(ticket: u64, reader: Option<&str>, bound: HistoryBound) -> ToOwner {
    let (reader, entries_max) = (reader.map(user), 10);
    ToOwner::Read { ticket: Ticket(ticket), channel: channel(), reader, bound, entries_max }
}

fn reading(effects: &[Effect]) -> ReadId {
    match effects {
        [Effect::Read { read, .. } | Effect::Seek { read, .. }] => *read,
        _ => panic!("no read: {effects:?}"),
    }
}

/// The link and the ticket that are refused, with which message.
fn refused(effects: &[Effect]) -> (LinkId, u64, String) {
    match effects {
        [Effect::Send { links, frame: FromOwner::Rejected { ticket, code, message } }, ..] => {
            assert_eq!(*code, RejectCode::Unreadable);
            (links[0], ticket.0, message.clone())
        }
        _ => panic!("nobody is refused: {effects:?}"),
    }
}

#[test]
fn a_failed_read_is_refused_to_its_reader_and_named() {
    let mut owner = with_ada();
    let read = reading(&owner.ask(page(4, Some("ada"), HistoryBound::Before(SeqNo(9)))));
    let frame = page(5, None, HistoryBound::After(SeqNo(0)));
    let of_other = reading(&owner.feed(Input::Frame { link: OTHER, frame }));
    let (why, failed) = (Unreadable::Failed, Unreadable::Damaged);
    let (link, ticket, message) = refused(&owner.feed(Input::ReadFailed { read, why }));
    assert_eq!((link, ticket), (LINK, 4));
    let first = "the entries of channel general before #9 can't be read: the server's disk failed";
    assert_eq!(message, first);
    let effects = owner.feed(Input::ReadFailed { read: of_other, why: failed });
    let (link, ticket, message) = refused(&effects);
    assert_eq!((link, ticket), (OTHER, 5));
    assert!(message.contains("channel general after #0 can't be read"), "{message}");
    assert!(message.ends_with("is damaged"), "{message}");
    assert_eq!((owner.counts().reads_failed, owner.counts().reads_damaged), (1, 1));

    // Neither the places of the link nor the channel are held.
    assert_eq!(owner.counts().link_reads.peak, 1);
    reading(&owner.ask(page(6, Some("ada"), HistoryBound::After(SeqNo(0)))));
    assert_eq!(owner.counts().link_reads.now, 1);
    assert_eq!(appended(&owner.ask(submit(7, "ada", "n"))), [2]);
    assert_eq!(owner.feed(Input::Stored { count: 1 }), [accepted(7, 2, false)]);
}

#[test]
fn who_left_meanwhile_is_told_that_and_nothing_of_the_log() {
    let mut owner = with_ada();
    let read = reading(&owner.ask(page(4, Some("ada"), HistoryBound::After(SeqNo(0)))));
    owner.ask(change(5, "ada", Change::Leave));
    owner.feed(Input::Stored { count: 1 });
    let effects = owner.feed(Input::ReadFailed { read, why: Unreadable::Damaged });
    assert_eq!(rejected_code(&effects), Some(RejectCode::NotMember));
}

#[test]
fn a_read_that_fails_after_its_link_is_nobodys() {
    let mut owner = with_ada();
    let read = reading(&owner.ask(page(4, None, HistoryBound::After(SeqNo(0)))));
    owner.feed(Input::LinkDown { link: LINK });
    assert_eq!(owner.feed(Input::ReadFailed { read, why: Unreadable::Failed }), []);
    assert_eq!(owner.counts().reads_failed, 1);
}

#[test]
fn a_time_that_cant_be_looked_up_is_refused_and_the_next_session_has_its_turn() {
    let mut owner = with_ada();
    let locate = |ticket| {
        let points = vec![(channel().channel, WallTime(5))];
        ToOwner::Locate { ticket: Ticket(ticket), user: user_key("ada"), points }
    };
    let read = reading(&owner.ask(locate(1)));
    assert_eq!(owner.ask(locate(2)), []);
    let why = Unreadable::Damaged;
    let effects = owner.feed(Input::SeekFailed { read, channel: channel(), why });
    let (_, ticket, message) = refused(&effects);
    assert_eq!(ticket, 1);
    assert!(message.contains("channel general since "), "{message}");
    let next = reading(&effects[1..]);
    assert_ne!(next, read);
    assert_eq!(owner.feed(Input::SeekFailed { read, channel: channel(), why }), [], "it was told");
    assert_eq!(owner.counts().reads_damaged, 2);
}
