//! Tests of the owner machine, through `handle` only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::frame::RejectCode;
use crate::ids::{ChannelId, WorkspaceId};
use crate::levels::Limit;
use crate::limits::{IN_FLIGHT_MAX, LINK_READS_MAX, PAGE_ENTRIES_MAX};
use crate::membership::Change;

const LINK: LinkId = LinkId(1);

fn channel() -> ChannelKey {
    ChannelKey {
        workspace: WorkspaceId::new("w").unwrap(),
        channel: ChannelId::new("general").unwrap(),
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn user_key(name: &str) -> UserKey {
    UserKey { workspace: channel().workspace, user: user(name) }
}

fn submit(ticket: u64, sender: &str, nonce: &str) -> ToOwner {
    ToOwner::Submit {
        ticket: Ticket(ticket),
        channel: channel(),
        sender: user(sender),
        nonce: Nonce::new(nonce).unwrap(),
        body: "hi".into(),
    }
}

fn join(ticket: u64, who: &str) -> ToOwner {
    change(ticket, who, Change::Join)
}

/// Asked for the first time: no two have one nonce.
fn change(ticket: u64, by: &str, change: Change) -> ToOwner {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let nonce = format!("fresh-{}", MADE.fetch_add(1, Ordering::Relaxed));
    attempt(ticket, by, &nonce, change)
}

fn attempt(ticket: u64, by: &str, nonce: &str, change: Change) -> ToOwner {
    let (ticket, nonce) = (Ticket(ticket), Nonce::new(nonce).unwrap());
    ToOwner::Change { ticket, channel: channel(), by: user(by), nonce, change }
}

/// The request, made in another channel.
fn elsewhere(key: &ChannelKey, mut frame: ToOwner) -> ToOwner {
    if let ToOwner::Change { channel, .. } = &mut frame {
        *channel = key.clone();
    }
    frame
}

fn seed(head: u64, roster: Roster) -> ChannelSeed {
    ChannelSeed { channel: channel(), head: SeqNo(head), trimmed_upto: SeqNo::ZERO, roster }
}

/// The store has read a page.
fn read_done(read: ReadId, entries: Vec<Entry>) -> Input {
    Input::Read { read, page: HistoryPage { entries, trimmed_upto: None } }
}

impl Owner {
    fn feed(&mut self, input: Input) -> Vec<Effect> {
        self.feed_at(Duration::ZERO, input)
    }

    fn feed_at(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.handle(MonoTime(now), WallTime(7), input, &mut effects);
        effects
    }

    fn ask(&mut self, frame: ToOwner) -> Vec<Effect> {
        self.feed(Input::Frame { link: LINK, frame })
    }
}

/// An owner whose channel has ada as its first entry.
fn with_ada() -> Owner {
    let mut owner = Owner::default();
    owner.ask(join(0, "ada"));
    owner.feed(Input::Stored { count: 1 });
    owner
}

/// Of a channel whose first entry is the join of `who`.
fn roster_of(who: &str) -> Roster {
    let mut roster = Roster::default();
    let content = Content::Joined { user: user(who), nonce: Nonce::new("j").unwrap() };
    roster.apply(&Entry { seq: SeqNo(1), at: WallTime(7), content });
    roster
}

fn appended(effects: &[Effect]) -> Vec<u64> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Append(entry) => Some(entry.entry.seq.0),
            Effect::Read { .. }
            | Effect::Confirm(_)
            | Effect::Seek { .. }
            | Effect::NoteReads(_)
            | Effect::Send { .. } => None,
        })
        .collect()
}

fn accepted(ticket: u64, seq: u64, duplicate: bool) -> Effect {
    let frame =
        FromOwner::Accepted { ticket: Ticket(ticket), seq: SeqNo(seq), at: WallTime(7), duplicate };
    Effect::Send { links: vec![LINK], frame }
}

fn rejected_code(effects: &[Effect]) -> Option<RejectCode> {
    match effects {
        [Effect::Send { frame: FromOwner::Rejected { code, .. }, .. }] => Some(*code),
        _ => None,
    }
}

#[test]
fn nothing_is_said_of_a_message_before_the_store_holds_it() {
    let mut owner = with_ada();
    owner.ask(ToOwner::Subscribe { channel: channel() });
    let effects = owner.ask(submit(1, "ada", "n1"));
    assert_eq!(effects.len(), 1);
    assert_eq!(appended(&effects), [2]);

    let effects = owner.feed(Input::Stored { count: 1 });
    assert_eq!(effects.first(), Some(&accepted(1, 2, false)));
    let Some(Effect::Send { links, frame: FromOwner::Entries { entries, .. } }) = effects.get(1)
    else {
        panic!("not published: {effects:?}");
    };
    assert_eq!((links.as_slice(), entries.len()), ([LINK].as_slice(), 1));
}

#[test]
fn a_retry_gets_the_first_seq_whether_stored_or_in_flight() {
    let mut owner = with_ada();
    assert_eq!(appended(&owner.ask(submit(1, "ada", "n1"))), [2]);
    assert_eq!(owner.ask(submit(2, "ada", "n1")), []);
    assert_eq!(
        owner.feed(Input::Stored { count: 1 }),
        [accepted(1, 2, false), accepted(2, 2, true)]
    );
    assert_eq!(owner.ask(submit(3, "ada", "n1")), [accepted(3, 2, true)]);
}

#[test]
fn a_retry_after_a_restart_gets_the_first_seq() {
    let mut nonces = Nonces::default();
    let key = NonceKey::new(&channel(), &user("ada"), &Nonce::new("n1").unwrap());
    nonces.load(key, SeqNo(2), WallTime(7), LogTime(0));
    let seed = seed(2, roster_of("ada"));
    let mut owner = Owner::new([seed], nonces);
    assert_eq!(owner.ask(submit(1, "ada", "n1")), [accepted(1, 2, true)]);
    assert_eq!(appended(&owner.ask(submit(2, "ada", "n2"))), [3]);
}

#[test]
fn a_refused_message_uses_up_no_number() {
    let mut owner = with_ada();
    assert_eq!(rejected_code(&owner.ask(submit(1, "bob", "n"))), Some(RejectCode::NotMember));
    let mut long = submit(2, "ada", "n");
    if let ToOwner::Submit { body, .. } = &mut long {
        *body = "x".repeat(BODY_BYTES_MAX + 1).into();
    }
    assert_eq!(rejected_code(&owner.ask(long)), Some(RejectCode::BadBody));
    assert_eq!(appended(&owner.ask(submit(3, "ada", "n"))), [2]);
}

#[test]
fn a_full_pipeline_rejects_and_remembers_no_nonce() {
    let mut owner = with_ada();
    for number in 0..IN_FLIGHT_MAX {
        owner.ask(submit(1, "ada", &format!("n{number}")));
    }
    assert_eq!(rejected_code(&owner.ask(submit(2, "ada", "late"))), Some(RejectCode::Busy));
    owner.feed(Input::Stored { count: IN_FLIGHT_MAX });
    assert_eq!(appended(&owner.ask(submit(3, "ada", "late"))), [IN_FLIGHT_MAX as u64 + 2]);
}

#[test]
fn gateways_that_have_a_user_open_hear_of_their_joins() {
    let mut owner = with_ada();
    let open = ToOwner::Open { ticket: Ticket(1), user: user_key("bob"), resumed: Vec::new() };
    owner.feed(Input::Frame { link: LinkId(2), frame: open });
    owner.ask(join(2, "bob"));
    let effects = owner.feed(Input::Stored { count: 1 });
    let heard = effects.iter().any(|effect| match effect {
        Effect::Send { links, frame: FromOwner::Joined { seq, .. } } => {
            links.as_slice() == [LinkId(2)] && *seq == SeqNo(2)
        }
        Effect::Append(_)
        | Effect::Confirm(_)
        | Effect::Read { .. }
        | Effect::Seek { .. }
        | Effect::NoteReads(_)
        | Effect::Send { .. } => false,
    });
    assert!(heard, "{effects:?}");
}

#[test]
fn history_is_for_members_and_a_lost_link_takes_its_reads_with_it() {
    let mut owner = with_ada();
    let read = |ticket, reader| ToOwner::Read {
        ticket: Ticket(ticket),
        channel: channel(),
        reader,
        bound: HistoryBound::After(SeqNo(0)),
        entries_max: 10,
    };
    assert_eq!(rejected_code(&owner.ask(read(1, Some(user("bob"))))), Some(RejectCode::NotMember));

    let effects = owner.ask(read(2, Some(user("ada"))));
    let [Effect::Read { read: first, entries_max: 10, .. }] = effects.as_slice() else {
        panic!("no read: {effects:?}");
    };
    let page = owner.feed(read_done(*first, Vec::new()));
    assert!(matches!(
        page.as_slice(),
        [Effect::Send { frame: FromOwner::Page { ticket: Ticket(2), head: SeqNo(1), .. }, .. }]
    ));

    let effects = owner.ask(read(3, None));
    owner.feed(Input::LinkDown { link: LINK });
    let [Effect::Read { read: second, .. }] = effects.as_slice() else {
        panic!("no read: {effects:?}");
    };
    assert_eq!(owner.feed(read_done(*second, Vec::new())), []);
}

#[test]
fn a_page_has_no_more_entries_than_the_limit_whatever_is_asked_for() {
    let mut owner = with_ada();
    for (asked, given) in [(0, 1), (10, 10), (u32::MAX, PAGE_ENTRIES_MAX)] {
        let effects = owner.ask(ToOwner::Read {
            ticket: Ticket(1),
            channel: channel(),
            reader: None,
            bound: HistoryBound::After(SeqNo(0)),
            entries_max: asked,
        });
        let [Effect::Read { entries_max, .. }] = &effects[..] else {
            panic!("no read: {effects:?}");
        };
        assert_eq!(*entries_max, given);
    }
}

#[test]
fn a_link_has_no_more_pages_read_for_it_than_a_gateway_asks_for() {
    let mut owner = with_ada();
    let read = || ToOwner::Read {
        ticket: Ticket(1),
        channel: channel(),
        reader: None,
        bound: HistoryBound::After(SeqNo(0)),
        entries_max: 10,
    };
    let begun = |effects: &[Effect]| match effects {
        [Effect::Read { read, .. }] => Some(*read),
        _ => None,
    };
    let reads: Vec<ReadId> =
        (0..LINK_READS_MAX).filter_map(|_| begun(&owner.ask(read()))).collect();
    assert_eq!(reads.len(), LINK_READS_MAX);
    assert_eq!(rejected_code(&owner.ask(read())), Some(RejectCode::Busy));
    assert_eq!(owner.counts().hits.of(Limit::LinkReads), 1);
    let other = owner.feed(Input::Frame { link: LinkId(2), frame: read() });
    assert!(begun(&other).is_some(), "another link has its own");

    owner.feed(read_done(reads[0], Vec::new()));
    assert!(begun(&owner.ask(read())).is_some());
    owner.feed(Input::LinkDown { link: LINK });
    assert!(begun(&owner.ask(read())).is_some(), "the link took its reads with it");
}

#[test]
fn a_page_backwards_ends_at_the_head_though_the_store_holds_more() {
    let mut owner = with_ada();
    let mut asked = |bound| {
        let (ticket, reader) = (Ticket(1), Some(user("ada")));
        let read =
            ToOwner::Read { ticket, channel: channel(), reader, bound, entries_max: u32::MAX };
        match owner.ask(read).as_slice() {
            [Effect::Read { bound, entries_max: PAGE_ENTRIES_MAX, .. }] => *bound,
            effects => panic!("no read: {effects:?}"),
        }
    };
    let before = |seq| HistoryBound::Before(SeqNo(seq));
    assert_eq!(asked(before(u64::MAX)), before(2));
    assert_eq!(asked(before(1)), before(1));
    let since = HistoryBound::Since(WallTime(7));
    assert_eq!(asked(since), since);
}

#[test]
fn typing_is_relayed_for_members_to_every_gateway_that_listens() {
    let mut owner = with_ada();
    let typing = |who: &str| ToOwner::Typing { channel: channel(), user: user(who) };
    assert_eq!(owner.ask(typing("ada")), [], "nobody listens");
    owner.ask(ToOwner::Subscribe { channel: channel() });
    let frame = FromOwner::Typing { channel: channel(), user: user("ada") };
    assert_eq!(owner.ask(typing("ada")), [Effect::Send { links: vec![LINK], frame }]);
    assert_eq!(owner.ask(typing("bob")), [], "not a member");
}

#[test]
fn a_gateway_is_told_of_a_user_once_for_all_its_sessions() {
    let mut owner = with_ada();
    owner.ask(join(1, "bob"));
    owner.feed(Input::Stored { count: 1 });
    for connection in [1, 2] {
        let users = vec![crate::presence::Watched { user: user("ada"), told: None }];
        let connection = crate::ids::ConnectionId(connection);
        owner.ask(ToOwner::Watch { connection, watcher: user_key("bob"), users });
    }
    let (state, background) = (crate::frame::PresenceState::Active, false);
    let session = crate::presence::SessionId(7);
    let user = user_key("ada");
    let beat = crate::presence::Beat { user, session, number: 1, state, background, age_ms: 0 };
    let effects = owner.ask(ToOwner::Beats { beats: vec![beat] });
    let [Effect::Send { frame: FromOwner::Presence { told }, .. }] = &effects[..] else {
        panic!("not one frame: {effects:?}");
    };
    assert_eq!((told.len(), told[0].connections.len()), (1, 2));
}

#[test]
fn the_time_to_durable_is_each_entrys_own() {
    let mut owner = with_ada();
    let at = Duration::from_millis;
    let send = |nonce| Input::Frame { link: LINK, frame: submit(1, "ada", nonce) };
    owner.feed_at(at(100), send("n1"));
    owner.feed_at(at(103), send("n2"));
    owner.feed_at(at(104), Input::Stored { count: 2 });
    let times = owner.counts().durable_time;
    let upto = |us| times.cumulative().find(|(bound, _)| *bound == us).unwrap().1;
    // The join took none.
    assert_eq!((upto(50), upto(500), upto(1_000), upto(5_000)), (1, 1, 2, 3));
}

mod changes;
mod frames;
mod listing;
mod locating;
mod reads;
mod report;
mod trace;
mod trimmed;
mod unreadable;
