//! Resuming by time: positions are never too late, and sessions have their turn.

use super::*;

fn locate(ticket: u64, who: &str, channels: &[&str]) -> ToOwner {
    let channels = channels.iter().map(|name| ChannelId::new(name).unwrap());
    let points = channels.map(|channel| (channel, WallTime(5))).collect();
    ToOwner::Locate { ticket: Ticket(ticket), user: user_key(who), points }
}

fn sought(effects: &[Effect]) -> Option<(ReadId, usize)> {
    effects.iter().find_map(|effect| {
        if let Effect::Seek { read, points } = effect { Some((*read, points.len())) } else { None }
    })
}

fn found(owner: &mut Owner, read: ReadId, first: Option<u64>) -> Vec<(u64, u64)> {
    let firsts = vec![first.map(SeqNo)];
    let of = |effect: &Effect| {
        if let Effect::Send { frame: FromOwner::Located { ticket, points }, .. } = effect {
            points.first().map(|(_, after)| (ticket.0, after.0))
        } else {
            None
        }
    };
    owner.feed(Input::Sought { read, firsts }).iter().filter_map(of).collect()
}

#[test]
fn a_time_stands_for_the_position_before_the_first_entry_as_late() {
    let mut owner = with_ada();
    let (read, count) = sought(&owner.ask(locate(1, "ada", &["general", "unknown"]))).unwrap();
    assert_eq!(count, 1, "a channel that she is not in is passed over");
    assert_eq!(found(&mut owner, read, Some(1)), [(1, 0)]);
}

#[test]
fn what_is_published_while_the_store_looks_is_not_skipped() {
    let mut owner = with_ada();
    let (read, _) = sought(&owner.ask(locate(1, "ada", &["general"]))).unwrap();
    owner.ask(submit(2, "ada", "n1"));
    owner.feed(Input::Stored { count: 1 });
    assert_eq!(found(&mut owner, read, None), [(1, 1)], "the head when it was asked");
}

#[test]
fn a_position_is_not_beyond_the_head_or_the_end_of_a_membership() {
    let mut owner = with_ada();
    let (read, _) = sought(&owner.ask(locate(1, "ada", &["general"]))).unwrap();
    assert_eq!(found(&mut owner, read, Some(9)), [(1, 1)], "the store holds more than is told");
    owner.ask(change(2, "ada", Change::Leave));
    owner.ask(join(3, "bob"));
    owner.feed(Input::Stored { count: 2 });
    let (read, _) = sought(&owner.ask(locate(4, "ada", &["general"]))).unwrap();
    assert_eq!(found(&mut owner, read, None), [(4, 2)], "she left at 2, the head is 3");
}

#[test]
fn sessions_have_their_turn_and_go_with_their_link() {
    let mut owner = with_ada();
    let other = LinkId(9);
    let ask = |ticket| locate(ticket, "ada", &["general"]);
    let (first, _) = sought(&owner.feed(Input::Frame { link: other, frame: ask(1) })).unwrap();
    assert_eq!(sought(&owner.ask(ask(2))), None, "one at a time");
    assert_eq!(sought(&owner.ask(ask(3))), None);

    let (second, _) = sought(&owner.feed(Input::LinkDown { link: other })).unwrap();
    assert_eq!(found(&mut owner, first, Some(1)), [], "for nobody");
    let effects = owner.feed(Input::Sought { read: second, firsts: vec![Some(SeqNo(1))] });
    let (third, _) = sought(&effects).unwrap();
    assert_eq!(found(&mut owner, third, Some(1)), [(3, 0)]);
}
