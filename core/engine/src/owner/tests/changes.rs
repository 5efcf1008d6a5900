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

impl Owner {
    /// Asks for what is so already, and lets the store hold that it was asked for.
    fn confirm_now(&mut self, frame: ToOwner) -> Vec<Effect> {
        let effects = self.ask(frame);
        assert!(matches!(effects.as_slice(), [Effect::Confirm(_)]), "{effects:?}");
        self.feed(Input::Confirmed { count: 1 })
    }
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
fn a_change_is_made_once_and_its_retries_get_its_seq_whatever_has_happened_since() {
    let mut owner = private();
    let leave = |ticket| attempt(ticket, "bob", "l", Change::Leave);
    assert_eq!(appended(&owner.ask(leave(1))), [2]);
    assert_eq!(owner.ask(leave(2)), [], "the store doesn't hold it yet");
    let effects = owner.feed(Input::Stored { count: 1 });
    assert_eq!(effects, [accepted(1, 2, false), accepted(2, 2, true)]);
    assert_eq!(appended(&owner.ask(attempt(3, "ada", "a", add("bob")))), [3]);
    owner.feed(Input::Stored { count: 1 });
    assert_eq!(owner.ask(leave(4)), [accepted(4, 2, true)], "who is in again stays in");
    assert_eq!(appended(&owner.ask(change(5, "bob", Change::Leave))), [4], "another request");
    owner.feed(Input::Stored { count: 1 });
    assert_eq!(owner.ask(attempt(6, "ada", "a", add("bob"))), [accepted(6, 3, true)]);
    assert_eq!(owner.counts().duplicates, 3);
}

#[test]
fn one_nonce_names_one_request_of_a_user_whatever_it_is_for() {
    let mut owner = private();
    assert_eq!(appended(&owner.ask(submit(1, "bob", "n"))), [2]);
    owner.feed(Input::Stored { count: 1 });
    assert_eq!(owner.ask(attempt(2, "bob", "n", Change::Leave)), [accepted(2, 2, true)]);
    assert_eq!(appended(&owner.ask(attempt(3, "ada", "n", remove("bob")))), [3], "of another user");
}

#[test]
fn what_is_so_already_is_confirmed_once_the_store_holds_that_it_was_asked_for() {
    let mut owner = private();
    let join = |ticket| attempt(ticket, "bob", "j", Change::Join);
    let effects = owner.ask(join(1));
    let [Effect::Confirm(confirmation)] = effects.as_slice() else { panic!("{effects:?}") };
    let Confirmation { seq, by, nonce, .. } = confirmation;
    assert_eq!((*seq, by, nonce.as_str()), (SeqNo(1), &user("bob"), "j"));
    assert_eq!(owner.ask(join(2)), [], "it waits with the first attempt");
    let effects = owner.feed(Input::Confirmed { count: 1 });
    assert_eq!(effects, [accepted(1, 1, true), accepted(2, 1, true)]);
    assert_eq!(owner.ask(join(3)), [accepted(3, 1, true)]);

    let created = create(ChannelKind::Private, &["bob"]);
    assert_eq!(owner.confirm_now(change(4, "ada", created)), [accepted(4, 1, true)]);
    assert_eq!(owner.confirm_now(change(5, "ada", add("bob"))), [accepted(5, 1, true)]);
    owner.ask(change(6, "bob", Change::Leave));
    owner.feed(Input::Stored { count: 1 });
    assert_eq!(owner.confirm_now(change(7, "bob", Change::Leave)), [accepted(7, 2, true)]);
    assert_eq!(owner.confirm_now(change(8, "ada", remove("bob"))), [accepted(8, 2, true)]);
}

#[test]
fn a_change_that_altered_nothing_alters_nothing_when_an_attempt_of_it_comes_late() {
    let mut owner = with_ada();
    let late = || attempt(1, "ada", "j", Change::Join);
    assert_eq!(owner.confirm_now(late()), [accepted(1, 1, true)]);
    owner.ask(change(2, "ada", Change::Leave));
    owner.feed(Input::Stored { count: 1 });
    assert_eq!(owner.ask(late()), [accepted(1, 1, true)], "who has left is out");

    let mut nonces = Nonces::default();
    let j = NonceKey::new(&channel(), &user("ada"), &Nonce::new("j").unwrap());
    nonces.load(j, SeqNo(1), WallTime(7), LogTime::default());
    let mut roster = roster_of("ada");
    let content = Content::Left { user: user("ada"), nonce: Nonce::new("l").unwrap() };
    roster.apply(&Entry { seq: SeqNo(2), at: WallTime(7), content });
    let seed = seed(2, roster);
    let mut restarted = Owner::new([seed], nonces);
    assert_eq!(restarted.ask(late()), [accepted(1, 1, true)], "also for the next owner");
}

#[test]
fn there_is_room_for_so_many_confirmations_and_more_are_put_off() {
    let mut owner = with_ada();
    for number in 0..IN_FLIGHT_MAX {
        let effects = owner.ask(join(number as u64, "ada"));
        assert!(matches!(effects.as_slice(), [Effect::Confirm(_)]), "{effects:?}");
    }
    let late = || attempt(1, "ada", "late", Change::Join);
    assert_eq!(rejected_code(&owner.ask(late())), Some(RejectCode::Busy));
    assert_eq!(owner.counts().hits.of(Limit::InFlight), 1);
    assert_eq!(owner.feed(Input::Confirmed { count: IN_FLIGHT_MAX }).len(), IN_FLIGHT_MAX);
    assert_eq!(owner.confirm_now(late()), [accepted(1, 1, true)]);
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
fn a_change_that_was_refused_is_not_made_when_an_earlier_attempt_arrives_late() {
    let mut owner = private();
    let late = |by, wanted| attempt(1, by, "late", wanted);
    for (by, wanted, code, allows_it) in [
        ("eve", add("joe"), RejectCode::NotMember, add("eve")),
        ("ada", remove("ann"), RejectCode::BadMembers, add("ann")),
    ] {
        assert_eq!(rejected_code(&owner.ask(late(by, wanted.clone()))), Some(code));
        assert_eq!(appended(&owner.ask(change(2, "bob", allows_it))).len(), 1);
        assert_eq!(rejected_code(&owner.ask(late(by, wanted.clone()))), Some(code));
        assert_eq!(appended(&owner.ask(change(3, by, wanted))).len(), 1, "another request");
    }
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
    owner.ask(attempt(1, "bob", "e", add("eve")));
    owner.ask(change(2, "ada", remove("bob")));
    owner.ask(change(3, "ada", add("joe")));
    owner.feed(Input::Stored { count: 3 });
    assert_eq!(owner.ask(attempt(4, "bob", "e", add("eve"))), [accepted(4, 2, true)]);
    assert_eq!(owner.confirm_now(change(5, "bob", add("eve"))), [accepted(5, 2, true)]);
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
    let ask = |by: &str, wanted| elsewhere(&key, change(1, by, wanted));
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
    assert_eq!(
        owner.confirm_now(ask("bob", direct(&["ada"]))),
        [accepted(1, 1, true)],
        "theirs too"
    );
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
        elsewhere(&ChannelKey { channel, ..self::channel() }, join(1, "eve"))
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
    let leave = elsewhere(&channel, change(1, "eve", Change::Leave));
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
    let nonce = || Nonce::new("n").unwrap();
    let content = |seq| Content::Joined { user: user(&format!("u{seq}")), nonce: nonce() };
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
    let (by, kind, members) = (user("ada"), ChannelKind::Private, vec![user("ada"), user("bob")]);
    let nonce = |text| Nonce::new(text).unwrap();
    let contents = [
        Content::Created { by, nonce: nonce("c"), kind, members },
        Content::Left { user: user("bob"), nonce: nonce("l") },
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
        assert_eq!(owner.confirm_now(change(2, "bob", Change::Leave)), [accepted(2, 2, true)]);
    }
}
