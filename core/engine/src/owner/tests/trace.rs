//! When an entry was numbered and durable, and who was told.

use super::*;
use crate::limits::TRACE_ROWS_MAX;
use crate::time::Clocks;

fn trace(owner: &Owner, channel: &ChannelKey, seq: u64) -> Option<OwnerTrace> {
    let mono = MonoTime(Duration::from_secs(10));
    owner.trace(Clocks { mono, wall: WallTime(110_000) }, channel, SeqNo(seq))
}

#[test]
fn an_entry_is_told_of_with_its_times_once_it_is_durable() {
    let mut owner = with_ada();
    owner.ask(ToOwner::Subscribe { channel: channel() });
    let (sent, stored) = (Duration::from_millis(1_000), Duration::from_millis(1_003));
    owner.feed_at(sent, Input::Frame { link: LINK, frame: submit(1, "ada", "n1") });
    let before = trace(&owner, &channel(), 2).unwrap();
    assert_eq!((before.head, before.times), (SeqNo(1), None));

    owner.feed_at(stored, Input::Stored { count: 1 });

    let after = trace(&owner, &channel(), 2).unwrap();
    let times = after.times.unwrap();
    assert_eq!((times.numbered_at_ms, times.durable_after_us), (WallTime(101_000), 3_000));
    assert_eq!((after.head, times.links), (SeqNo(2), vec![LINK.0]));
    assert!(trace(&owner, &channel(), 1).unwrap().times.unwrap().links.is_empty());
    let other = ChannelKey { channel: ChannelId::new("other").unwrap(), ..channel() };
    assert_eq!(trace(&owner, &other, 2), None);
}

#[test]
fn the_oldest_entries_times_are_forgotten() {
    let mut owner = with_ada();
    for number in 0..TRACE_ROWS_MAX {
        owner.ask(submit(1, "ada", &format!("n{number}")));
        owner.feed(Input::Stored { count: 1 });
    }
    assert_eq!(trace(&owner, &channel(), 1).unwrap().times, None);
    assert!(trace(&owner, &channel(), 2).unwrap().times.is_some());
    assert_eq!(owner.counts().trace_rows.peak, TRACE_ROWS_MAX);
}
