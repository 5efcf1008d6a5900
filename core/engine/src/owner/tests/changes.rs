//! Who may change who is in a channel, what it leads to, and when it is told.

use super::*;
use crate::entry::ChannelKind;
use crate::limits::{CHANNELS_OF_USER_MAX, CREATED_MEMBERS_MAX, REFUSALS_MAX};
use crate::membership::direct_channel;

fn create(kind: ChannelKind, members: &[&str]) -> Change {
    Change::Create { kind, members: members.iter().map(|name| user(name)).collect() }
}

fn add(name: &str) -> Change {
    Change::Add { user: user(name) }
}

fn remove(name: &str) -> Change {
    Change::Remove { user: user(name) }
}

/// An owner whose channel is of `kind`; ada made it with bob as a member.
fn with_kind(kind: ChannelKind) -> Owner {
    let mut owner = Owner::default();
    assert_eq!(appended(&owner.ask(change(0, "ada", create(kind, &["bob"])))), [1]);
    owner.feed(Input::Stored { count: 1 });
    owner
}

fn private() -> Owner {
    with_kind(ChannelKind::Private)
}

fn code(owner: &mut Owner, by: &str, wanted: Change) -> Option<RejectCode> {
    rejected_code(&owner.ask(change(9, by, wanted)))
}

/// What gateways are told about users, in the order in which it is sent.
fn told(effects: &[Effect]) -> Vec<String> {
    let mut told = Vec::new();
    for effect in effects {
        let Effect::Send { frame, .. } = effect else { continue };
        if let FromOwner::Joined { user, seq, .. } = frame {
            told.push(format!("{} from {seq}", user.user));
        } else if let FromOwner::Left { user, until, .. } = frame {
            told.push(format!("{} until {until}", user.user));
        } else if let FromOwner::Entries { entries, .. } = frame {
            told.push(format!("{} entries", entries.len()));
        }
    }
    told
}

fn page(owner: &mut Owner, reader: Option<&str>, stored: Vec<Entry>) -> Vec<Effect> {
    let reader = reader.map(user);
    let (ticket, bound, entries_max) = (Ticket(7), HistoryBound::After(SeqNo(0)), 10);
    let ask = ToOwner::Read { ticket, channel: channel(), reader, bound, entries_max };
    match owner.ask(ask).as_slice() {
        [Effect::Read { read, .. }] => owner.feed(read_done(*read, stored)),
        refused => panic!("no read: {refused:?}"),
    }
}

#[test]
fn who_leaves_is_told_before_the_entries_that_end_it_and_not_before_it_is_durable() {
    let mut owner = private();
    owner.ask(ToOwner::Subscribe { channel: channel() });
    owner.ask(ToOwner::Open { ticket: Ticket(1), user: user_key("bob"), resumed: Vec::new() });
    let effects = owner.ask(change(1, "bob", Change::Leave));
    assert_eq!((appended(&effects), effects.len()), (vec![2], 1), "nothing is told yet");
    owner.ask(submit(2, "ada", "n"));
    let effects = owner.feed(Input::Stored { count: 2 });
    assert_eq!(told(&effects), ["bob until 2", "2 entries"]);
    assert_eq!(effects.first(), Some(&accepted(1, 2, false)));
}

#[test]
fn what_is_numbered_counts_for_the_next_request_before_it_is_durable() {
    let mut owner = private();
    owner.ask(change(1, "bob", Change::Leave));
    assert_eq!(rejected_code(&owner.ask(submit(2, "bob", "n"))), Some(RejectCode::NotMember));
    assert_eq!(appended(&owner.ask(change(3, "ada", add("bob")))), [3]);
    assert_eq!(appended(&owner.ask(submit(4, "bob", "l"))), [4]);
    assert_eq!(appended(&owner.ask(change(5, "ada", remove("bob")))), [5]);
    owner.feed(Input::Stored { count: 2 });
    assert_eq!(rejected_code(&owner.ask(submit(6, "bob", "m"))), Some(RejectCode::NotMember));
    owner.feed(Input::Stored { count: 2 });
    assert_eq!(rejected_code(&owner.ask(submit(7, "bob", "m"))), Some(RejectCode::NotMember));
}

#[test]
fn a_change_that_is_asked_for_again_gets_its_first_seq() {
    let mut owner = private();
    assert_eq!(appended(&owner.ask(change(1, "bob", Change::Leave))), [2]);
    assert_eq!(owner.ask(change(2, "bob", Change::Leave)), []);
    let effects = owner.feed(Input::Stored { count: 1 });
    assert_eq!(effects, [accepted(1, 2, false), accepted(2, 2, true)]);
    assert_eq!(owner.ask(change(3, "bob", Change::Leave)), [accepted(3, 2, true)]);
    assert_eq!(owner.ask(change(4, "ada", remove("bob"))), [accepted(4, 2, true)]);

    assert_eq!(appended(&owner.ask(change(5, "ada", add("bob")))), [3]);
    owner.feed(Input::Stored { count: 1 });
    assert_eq!(owner.ask(change(6, "ada", add("bob"))), [accepted(6, 3, true)]);
    assert_eq!(owner.ask(change(7, "bob", Change::Join)), [accepted(7, 3, true)]);
    let created = create(ChannelKind::Private, &["bob"]);
    assert_eq!(owner.ask(change(8, "ada", created)), [accepted(8, 1, true)]);
}

#[test]
fn a_retry_of_a_send_is_not_refused_because_its_sender_has_left() {
    let mut owner = private();
    owner.ask(submit(1, "bob", "n"));
    owner.ask(change(2, "bob", Change::Leave));
    owner.feed(Input::Stored { count: 2 });
    assert_eq!(owner.ask(submit(3, "bob", "n")), [accepted(3, 2, true)]);
}

#[test]
fn a_send_that_was_refused_is_not_numbered_when_an_earlier_attempt_arrives_late() {
    let mut owner = private();
    assert_eq!(rejected_code(&owner.ask(submit(1, "eve", "n"))), Some(RejectCode::NotMember));
    owner.ask(change(2, "ada", add("eve")));
    assert_eq!(rejected_code(&owner.ask(submit(3, "eve", "n"))), Some(RejectCode::NotMember));
    owner.feed(Input::Stored { count: 1 });
    assert_eq!(rejected_code(&owner.ask(submit(4, "eve", "n"))), Some(RejectCode::NotMember));
    assert_eq!(appended(&owner.ask(submit(5, "eve", "m"))), [3], "another message");
}

#[test]
fn a_send_of_a_stranger_is_put_off_while_there_is_no_room_to_remember_that_it_was_refused() {
    let mut owner = private();
    for number in 0..REFUSALS_MAX {
        let refused = owner.ask(submit(1, "eve", &format!("n{number}")));
        assert_eq!(rejected_code(&refused), Some(RejectCode::NotMember));
    }
    assert_eq!(rejected_code(&owner.ask(submit(2, "eve", "n"))), Some(RejectCode::Busy));
    assert_eq!(owner.counts().hits.of(Limit::Refusals), 1);
    assert_eq!(owner.counts().refusals.peak, REFUSALS_MAX);
    assert_eq!(rejected_code(&owner.ask(submit(3, "eve", "n0"))), Some(RejectCode::NotMember));
}

#[test]
fn a_retry_of_a_change_is_not_refused_because_its_sender_was_removed_since() {
    let mut owner = private();
    owner.ask(change(1, "bob", add("eve")));
    owner.ask(change(2, "ada", remove("bob")));
    owner.ask(change(3, "ada", add("joe")));
    owner.feed(Input::Stored { count: 3 });
    assert_eq!(owner.ask(change(4, "bob", add("eve"))), [accepted(4, 2, true)]);
    let unseen = code(&mut owner, "bob", add("joe"));
    assert_eq!(unseen, Some(RejectCode::NotMember), "that was after their time");
    assert_eq!(code(&mut owner, "bob", add("ann")), Some(RejectCode::NotMember));
}

#[test]
fn a_private_channel_is_changed_by_its_members_and_by_nobody_else() {
    let mut owner = private();
    assert_eq!(code(&mut owner, "eve", Change::Join), Some(RejectCode::Forbidden));
    assert_eq!(code(&mut owner, "eve", add("eve")), Some(RejectCode::NotMember));
    assert_eq!(code(&mut owner, "eve", remove("bob")), Some(RejectCode::NotMember));
    assert_eq!(code(&mut owner, "eve", Change::Leave), Some(RejectCode::NotMember));
    assert_eq!(code(&mut owner, "bob", remove("eve")), Some(RejectCode::BadMembers));
    assert_eq!(appended(&owner.ask(change(1, "bob", add("eve")))), [2]);
    assert_eq!(appended(&owner.ask(change(2, "eve", remove("ada")))), [3]);
}

#[test]
fn a_public_channel_is_joined_by_anyone_and_only_who_made_it_removes() {
    let mut owner = with_ada();
    assert_eq!(appended(&owner.ask(change(1, "bob", Change::Join))), [2]);
    assert_eq!(appended(&owner.ask(change(2, "bob", add("eve")))), [3]);
    assert_eq!(code(&mut owner, "bob", remove("eve")), Some(RejectCode::Forbidden));
    assert_eq!(appended(&owner.ask(change(3, "ada", remove("eve")))), [4]);
    assert_eq!(appended(&owner.ask(change(4, "bob", remove("bob")))), [5], "that is leaving");
}

#[test]
fn a_direct_channel_is_named_by_its_members_and_keeps_them() {
    let mut owner = Owner::default();
    let name = direct_channel(&[user("ada"), user("bob")]);
    let key = ChannelKey { channel: name, ..channel() };
    let ask = |by: &str, change| ToOwner::Change {
        ticket: Ticket(1),
        channel: key.clone(),
        by: user(by),
        change,
    };
    let direct = |members: &[&str]| create(ChannelKind::Direct, members);
    let refused = |owner: &mut Owner, by: &str, change| rejected_code(&owner.ask(ask(by, change)));

    let forbidden = Some(RejectCode::Forbidden);
    assert_eq!(refused(&mut owner, "ada", Change::Join), forbidden, "nobody takes its name");
    let public = create(ChannelKind::Public, &[]);
    assert_eq!(refused(&mut owner, "ada", public), forbidden);
    assert_eq!(refused(&mut owner, "ada", direct(&["eve"])), Some(RejectCode::BadMembers));
    assert_eq!(refused(&mut owner, "ada", direct(&[])), Some(RejectCode::BadMembers));

    assert_eq!(appended(&owner.ask(ask("ada", direct(&["bob"])))), [1]);
    owner.feed(Input::Stored { count: 1 });
    assert_eq!(owner.ask(ask("bob", direct(&["ada"]))), [accepted(1, 1, true)], "it is theirs too");
    for change in [Change::Leave, add("eve"), remove("ada")] {
        assert_eq!(refused(&mut owner, "bob", change), forbidden);
    }
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let mut owner = private();
    let taken = Some(RejectCode::NameTaken);
    assert_eq!(code(&mut owner, "bob", create(ChannelKind::Private, &["ada"])), taken);
    assert_eq!(code(&mut owner, "ada", create(ChannelKind::Public, &["bob"])), taken);
    assert_eq!(code(&mut owner, "ada", create(ChannelKind::Private, &["eve"])), taken);
}

#[test]
fn too_many_members_and_too_many_channels_are_refused_and_counted() {
    let mut owner = Owner::default();
    let names: Vec<String> = (0..CREATED_MEMBERS_MAX).map(|number| format!("u{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let crowd = |members| create(ChannelKind::Private, members);
    assert_eq!(code(&mut owner, "ada", crowd(&names)), Some(RejectCode::BadMembers));
    assert_eq!(owner.counts().hits.of(Limit::CreatedMembers), 1);
    assert_eq!(appended(&owner.ask(change(1, "ada", crowd(&names[1..])))), [1]);

    let join = |number: usize| {
        let channel = ChannelId::new(&format!("c{number}")).unwrap();
        let channel = ChannelKey { channel, ..self::channel() };
        ToOwner::Change { ticket: Ticket(1), channel, by: user("eve"), change: Change::Join }
    };
    // Half of them durable, the others on their way.
    for number in 0..CHANNELS_OF_USER_MAX {
        owner.ask(join(number));
        if number == CHANNELS_OF_USER_MAX / 2 {
            owner.feed(Input::Stored { count: number + 2 });
        }
    }
    let more = owner.ask(join(CHANNELS_OF_USER_MAX));
    assert_eq!(rejected_code(&more), Some(RejectCode::Forbidden));
    assert_eq!(code(&mut owner, "ada", add("eve")), Some(RejectCode::Forbidden));
    assert_eq!(owner.counts().hits.of(Limit::ChannelsOfUser), 2);
    let ToOwner::Change { channel, .. } = join(0) else { unreachable!() };
    let leave =
        ToOwner::Change { ticket: Ticket(1), channel, by: user("eve"), change: Change::Leave };
    assert_eq!(appended(&owner.ask(leave)), [2]);
    assert_eq!(appended(&owner.ask(join(CHANNELS_OF_USER_MAX))), [1], "there is room again");
}

#[test]
fn a_former_member_reads_nothing_even_if_they_asked_before() {
    let mut owner = private();
    let (ticket, bound, entries_max) = (Ticket(7), HistoryBound::After(SeqNo(0)), 10);
    let reader = Some(user("bob"));
    let ask = ToOwner::Read { ticket, channel: channel(), reader, bound, entries_max };
    let asked = owner.ask(ask.clone());
    owner.ask(change(1, "ada", remove("bob")));
    owner.feed(Input::Stored { count: 1 });
    let [Effect::Read { read, .. }] = asked.as_slice() else { panic!("no read: {asked:?}") };
    let effects = owner.feed(read_done(*read, Vec::new()));
    assert_eq!(rejected_code(&effects), Some(RejectCode::NotMember));
    assert_eq!(rejected_code(&owner.ask(ask)), Some(RejectCode::NotMember));
}

#[test]
fn a_page_holds_nothing_that_was_not_published() {
    let mut owner = private();
    owner.ask(change(1, "ada", remove("bob")));
    owner.ask(submit(2, "ada", "secret"));
    // The store has all of it, and the owner was not told yet.
    let content = |seq| Content::Joined { user: user(&format!("u{seq}")) };
    let entry = |seq| Entry { seq: SeqNo(seq), at: WallTime(7), content: content(seq) };
    let effects = page(&mut owner, None, vec![entry(1), entry(2), entry(3)]);
    let [Effect::Send { frame: FromOwner::Page { entries, head, .. }, .. }] = &effects[..] else {
        panic!("no page: {effects:?}");
    };
    assert_eq!((entries.len(), *head), (1, SeqNo(1)));
}

#[test]
fn opening_tells_which_resumed_channels_have_ended_also_after_a_restart() {
    let mut owner = private();
    owner.ask(change(1, "bob", Change::Leave));
    owner.feed(Input::Stored { count: 1 });
    let mut roster = Roster::default();
    let members = vec![user("ada"), user("bob")];
    let by = user("ada");
    let contents = [
        Content::Created { by, kind: ChannelKind::Private, members },
        Content::Left { user: user("bob") },
    ];
    for (seq, content) in (1..).zip(contents) {
        roster.apply(&Entry { seq: SeqNo(seq), at: WallTime(7), content });
    }
    let seed = seed(2, roster);
    let restarted = Owner::new([seed], Nonces::default());
    for mut owner in [owner, restarted] {
        let resumed = vec![channel().channel, ChannelId::new("other").unwrap()];
        let open = ToOwner::Open { ticket: Ticket(1), user: user_key("bob"), resumed };
        let ended = vec![EndedChannel { channel: channel().channel, until: SeqNo(2) }];
        let opened = FromOwner::Opened { ticket: Ticket(1), channels: Vec::new(), ended };
        assert_eq!(owner.ask(open), [Effect::Send { links: vec![LINK], frame: opened }]);
        assert_eq!(code(&mut owner, "bob", Change::Join), Some(RejectCode::Forbidden));
        assert_eq!(owner.ask(change(2, "bob", Change::Leave)), [accepted(2, 2, true)]);
    }
}
