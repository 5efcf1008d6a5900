//! Every way out of membership, and what only looks like one.

use seriatim_engine::entry::{Asked, ChannelKind, Content, Entry, Wish};
use seriatim_engine::ids::{ChannelKey, Nonce};

use super::super::fixture::*;
use super::*;

fn found(history: History) -> Vec<String> {
    judged(Membership::new(roster()), history)
}

/// Of a change that gets its nonce with its number.
fn later() -> Nonce {
    Nonce::new("later").unwrap()
}

/// Another request of the same wording.
fn anew(wish: Wish) -> Asked {
    Asked { nonce: Nonce::new("anew").unwrap(), wish }
}

fn created(kind: ChannelKind, members: &[u32]) -> Content {
    let members = members.iter().copied().map(user).collect();
    Content::Created { by: user(0), nonce: later(), kind, members }
}

fn added(index: u32, by: u32) -> Content {
    Content::Added { user: user(index), by: user(by), nonce: later() }
}

fn left(index: u32) -> Content {
    Content::Left { user: user(index), nonce: later() }
}

fn removed(index: u32, by: u32) -> Content {
    Content::Removed { user: user(index), by: user(by), nonce: later() }
}

fn joins(index: u32) -> Content {
    Content::Joined { user: user(index), nonce: later() }
}

fn says(index: u32, nonce: &str) -> Content {
    message(0, index, nonce, "x").content
}

fn client_of(name: &UserId) -> ClientIndex {
    let named = |(_, user): &(ClientIndex, &seriatim_engine::ids::UserKey)| user.user == *name;
    roster().iter().find(named).map(|(client, _)| client).unwrap()
}

/// Somebody asks for it.
fn asks(content: &Content) -> What {
    let (by, asked) = content.asked();
    change_invoked(client_of(by).0, asked)
}

/// Asked for, seen by client 0 and accepted.
fn logged(seq: u64, content: Content) -> Vec<What> {
    let entry = entry(seq, content);
    let (by, asked) = entry.content.asked();
    let accepted = acceptance(client_of(by).0, asked, seq, false);
    vec![asks(&entry.content), received(0, "a", entry), accepted]
}

/// After the healthy history's #4, these entries from #5 on.
fn then(contents: impl IntoIterator<Item = Content>) -> History {
    let events = (5..).zip(contents).flat_map(|(seq, content)| logged(seq, content));
    healthy().without(&What::FaultsOver).before(&What::Converged, events)
}

/// A log of its own, from #1 on, that nobody was served.
fn only(contents: impl IntoIterator<Item = Content>) -> History {
    let entries = (1..).zip(contents).map(|(seq, content)| entry(seq, content));
    let mut events: Vec<What> =
        entries.flat_map(|entry| [asks(&entry.content), stored(entry)]).collect();
    events.push(What::RunEnded);
    History(events)
}

fn let_go(client: u32, session: &str, until: u64) -> What {
    let (client, channel) = (ClientIndex(client), channel());
    What::SessionLeft { client, session: session.into(), channel, until: SeqNo(until) }
}

fn refused(client: u32, asked: Asked, code: &str) -> What {
    let (client, channel) = (ClientIndex(client), channel());
    What::Rejected { client, channel, asked, code: code.to_owned() }
}

#[test]
fn coming_and_going_as_it_may_be_holds() {
    assert_eq!(found(healthy()), [""; 0]);
    let contents = [left(1), joins(1), says(1, "m"), added(2, 1), removed(2, 0), joins(2)];
    assert_eq!(found(then(contents)), [""; 0]);
    let private = [created(ChannelKind::Private, &[0, 1]), added(2, 1), removed(0, 2), left(1)];
    assert_eq!(found(only(private)), [""; 0]);
    assert_eq!(found(only([created(ChannelKind::Direct, &[0, 1]), says(1, "m")])), [""; 0]);
}

#[test]
fn who_posts_is_a_member_there() {
    assert_eq!(found(then([says(2, "m")])), ["u2 posts at #5, a stranger"]);
    let former = found(then([left(1), says(1, "m"), joins(1), says(1, "n")]));
    assert_eq!(former, ["u1 posts at #6, a member up to #5 only"]);
}

#[test]
fn a_change_is_made_where_it_may_be_by_whom_it_may() {
    let private = || created(ChannelKind::Private, &[0, 1]);
    let direct = || created(ChannelKind::Direct, &[0, 1]);
    let public = || created(ChannelKind::Public, &[0, 1, 2]);
    let cases = [
        (vec![joins(0), joins(0)], "u0 joins at #2, a member since #1 already"),
        (vec![private(), added(1, 0)], "u1 is added at #2, a member since #1 already"),
        (vec![private(), joins(2)], "u2 joins at #2 what is not public"),
        (vec![direct(), joins(2)], "u2 joins at #2 what is not public"),
        (vec![private(), added(2, 2)], "u2 adds somebody at #2, a stranger"),
        (vec![private(), left(2)], "u2 leaves at #2, a stranger"),
        (vec![private(), left(1), left(1)], "u1 leaves at #3, a member up to #2 only"),
        (vec![private(), removed(2, 1)], "u2 is removed at #2, a stranger"),
        (vec![private(), removed(1, 2)], "u2 removes somebody at #2, a stranger"),
        (vec![public(), removed(2, 1)], "u1 removes u2 at #2 from a public channel of another"),
        (vec![direct(), left(1)], "#2 changes the members of a direct channel"),
        (vec![direct(), added(2, 1)], "#2 changes the members of a direct channel"),
        (vec![direct(), removed(1, 0)], "#2 changes the members of a direct channel"),
        (vec![joins(1), created(ChannelKind::Public, &[0])], "u0 creates at #2 what there is"),
        (vec![created(ChannelKind::Private, &[1])], "u0 creates #1 for others only"),
    ];
    for (contents, expected) in cases {
        assert_eq!(found(only(contents)), [expected]);
    }
}

#[test]
fn a_change_that_was_answered_is_not_made_again() {
    let again = |before: Vec<What>, content: Content| {
        let mut events = logged(5, left(1));
        events.extend(logged(6, joins(1)));
        events.extend(before);
        events.push(received(0, "a", Entry { content, ..entry(7, left(1)) }));
        healthy().before(&What::FaultsOver, events).without(&What::FaultsOver)
    };
    let same = again(vec![], entry(5, left(1)).content);
    assert_eq!(found(same), ["#7, leave by u1, was answered and is made again"]);
    let other = entry(7, left(1)).content;
    assert_eq!(found(again(vec![asks(&other)], other)), [""; 0]);
}

#[test]
fn nothing_is_given_after_the_end_of_a_membership() {
    let history = then([left(1), says(0, "m")]);
    let message = entry(6, says(0, "m"));
    let late = [received(1, "c", message.clone()), delivered(1, message)];
    let end = [received(1, "c", entry(5, left(1)))];
    assert_eq!(found(then([left(1), says(0, "m")]).before(&What::Converged, end)), [""; 0]);
    let found = found(history.before(&What::Converged, late));
    assert_eq!(found, ["client 1 is given #6, u1 is in up to #5"]);
}

#[test]
fn what_was_given_between_two_stays_is_excused_by_the_second_if_it_was_asked_for() {
    let message = entry(6, says(0, "m"));
    let late = received(1, "c", message);
    let back = || entry(7, joins(1));
    let base = || then([left(1), says(0, "m")]);
    let asks = || asks(&back().content);
    let asked = [asks(), late.clone(), received(0, "a", back())];
    assert_eq!(found(base().before(&What::Converged, asked)), [""; 0]);
    let unasked = [late, asks(), received(0, "a", back())];
    let expected = ["client 1 is given #6 before u1 is in"];
    assert_eq!(found(base().before(&What::Converged, unasked)), expected);
}

#[test]
fn a_stranger_hears_neither_of_entries_nor_of_the_channel() {
    let over = || What::FaultsOver;
    let entry = found(healthy().before(&over(), [received(2, "z", hello())]));
    assert_eq!(entry, ["client 2 is given #3 before u2 is in"]);
    let served = found(healthy().before(&over(), [opened(2, "y", &[4])]));
    assert_eq!(served, ["client 2 is given #4 before u2 is in"]);
}

#[test]
fn what_is_given_before_its_place_in_the_log_is_known_is_judged_when_it_is() {
    let message = || entry(6, says(0, "m"));
    // Nobody saw the leave at #5, but the log has it.
    let history = || {
        let asked = [asks(&entry(5, left(1)).content), received(1, "c", message())];
        healthy().without(&What::FaultsOver).before(&What::Converged, asked)
    };
    let audit = |at_5| [stored(entry(5, at_5)), stored(message())];
    let well = history().before(&What::AuditDone, audit(says(0, "l")));
    assert_eq!(found(well), [""; 0]);
    let found = found(history().before(&What::AuditDone, audit(left(1))));
    assert_eq!(found, ["client 1 is given #6, u1 is in up to #5"]);
}

#[test]
fn who_is_there_at_the_end_knows_what_they_are_in() {
    let out = logged(5, left(1));
    let untold = found(healthy().before(&What::FaultsOver, out.clone()));
    assert_eq!(untold, ["client 1 was not told that u1 is out since #5"]);
    let mut told = out.clone();
    told.push(let_go(1, "c", 5));
    assert_eq!(found(healthy().before(&What::FaultsOver, told)), [""; 0]);
    let mut absent = out;
    absent.push(closed(1, "c"));
    assert_eq!(found(healthy().before(&What::FaultsOver, absent)), [""; 0]);

    let unserved = found(healthy().before(&What::FaultsOver, logged(5, added(2, 0))));
    assert_eq!(unserved, ["client 2 is not served though u2 is in since #5"]);
    let forgotten = found(healthy().before(&What::Converged, [opened(1, "d", &[])]));
    assert_eq!(forgotten, ["client 1 is not served though u1 is in since #2"]);
}

#[test]
fn the_end_that_is_told_is_the_one_that_the_log_has() {
    let mut events = logged(5, left(1));
    events.push(let_go(1, "c", 4));
    let found = found(healthy().before(&What::FaultsOver, events));
    assert_eq!(found, ["u1 is told to be out since #4 and isn't"]);
}

#[test]
fn an_acceptance_names_ones_own_change_or_one_that_still_holds() {
    let join = anew(Wish::Join);
    let theft = [change_invoked(1, join.clone()), acceptance(1, join, 1, false)];
    let theft = found(healthy().before(&What::FaultsOver, theft));
    assert_eq!(theft, ["u1 is told that #1 is its own join"]);

    let again = |wish: Wish, seq| {
        let asked = anew(wish);
        let events = [change_invoked(1, asked.clone()), acceptance(1, asked, seq, true)];
        found(then([left(1), joins(1)]).before(&What::Converged, events))
    };
    assert_eq!(again(Wish::Join, 6), [""; 0]);
    let expected = "u1 is told that its join is done since #2: it was undone";
    assert_eq!(again(Wish::Join, 2), [expected]);
    let expected = "u1 is told that its leave is done since #5: it was undone";
    assert_eq!(again(Wish::Leave, 5), [expected]);
}

#[test]
fn a_member_is_not_refused_as_a_stranger() {
    let refusal = |client| {
        let asked = Asked { nonce: Nonce::new("r").unwrap(), wish: Wish::Send };
        [invoked(client, "r", "x"), refused(client, asked, "not_member")]
    };
    let found_with =
        |history: History, client| found(history.before(&What::Converged, refusal(client)));
    let expected = ["u1 is refused as a stranger, a member since #2"];
    assert_eq!(found_with(healthy(), 1), expected);
    assert_eq!(found_with(healthy(), 2), [""; 0]);
    let untold = || then([left(1)]);
    assert_eq!(found_with(untold(), 1), [""; 0], "out before");
    // The end is asked for when the refusal is there.
    let early = untold().before(&asks(&entry(5, left(1)).content), refusal(1));
    assert_eq!(found(early), expected);
}

#[test]
fn what_is_public_is_open_to_all() {
    let join = anew(Wish::Join);
    let refusal = [change_invoked(2, join.clone()), refused(2, join, "forbidden")];
    let public = found(healthy().before(&What::FaultsOver, refusal.clone()));
    assert_eq!(public, ["u2 may not join a public channel"]);
    let private = only([created(ChannelKind::Private, &[0, 1])]);
    assert_eq!(found(private.before(&What::RunEnded, refusal)), [""; 0]);
}

#[test]
fn a_channel_of_another_workspace_is_nobodys_business() {
    let workspace = seriatim_engine::ids::WorkspaceId::new("w2").unwrap();
    let elsewhere = ChannelKey { workspace, ..channel() };
    let joined = What::Stored { node: "n".into(), channel: elsewhere.clone(), entry: joined(1, 1) };
    let (client, entry) = (ClientIndex(1), super::super::fixture::joined(1, 1));
    let leak = What::Delivered { client, channel: elsewhere, entry };
    let found = found(healthy().before(&What::FaultsOver, [joined, leak]));
    assert_eq!(found, ["client 1 is given #1 before u1 is in"]);
}
