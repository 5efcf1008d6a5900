//! Pages of history: which one is asked for, and whether there is more.

use super::*;
use crate::entry::ChannelKind;
use crate::frame::ListedChannel;

#[test]
fn history_goes_either_way_and_says_whether_there_is_more_that_way() {
    let mut gateway = new();
    gateway.enter(ADA, None, 9);
    let mut more = |bound: &str, seqs: &[u64]| {
        let text = format!(r#"{{"type":"history","id":1,"channel":"general",{bound}}}"#);
        let effects = gateway.say(&text);
        let [Effect::ToOwner { frame: ToOwner::Read { ticket, bound, .. }, .. }] = &effects[..]
        else {
            panic!("not passed on: {effects:?}")
        };
        let effects = gateway.answer(*ticket, entries(seqs.iter().copied()), 9);
        match frames(&effects, ADA).as_slice() {
            [ServerFrame::Page { more, .. }] => (*bound, *more),
            frames => panic!("no page: {frames:?}"),
        }
    };
    let (after, before) = (HistoryBound::After(SeqNo(7)), HistoryBound::Before(SeqNo(3)));
    let since = HistoryBound::Since(WallTime(5));
    assert_eq!(more(r#""after":7"#, &[8]), (after, true));
    assert_eq!(more(r#""after":7"#, &[8, 9]), (after, false));
    assert_eq!(more(r#""before":3"#, &[2]), (before, true));
    assert_eq!(more(r#""before":3"#, &[1, 2]), (before, false));
    assert_eq!(more(r#""since_ms":5"#, &[4, 5]), (since, true));
    assert_eq!(more(r#""since_ms":5"#, &[]), (since, false));
}

#[test]
fn a_request_for_history_names_one_bound() {
    let mut gateway = new();
    gateway.enter(ADA, None, 9);
    for bounds in ["", r#","after":1,"since_ms":0"#, r#","after":1,"before":3"#] {
        let text = format!(r#"{{"type":"history","id":4,"channel":"general"{bounds}}}"#);
        let effects = gateway.say(&text);
        match frames(&effects, ADA).as_slice() {
            [ServerFrame::Rejected { reply_to: Some(4), code, message, .. }] => {
                assert_eq!(*code, RejectCode::BadFrame);
                assert!(message.contains("exactly one of `after`"), "{message}");
            }
            frames => panic!("not refused: {frames:?}"),
        }
    }
}

#[test]
fn a_session_may_wait_for_a_few_pages_of_history_only() {
    let mut gateway = new();
    gateway.enter(ADA, None, 5);
    let history = r#"{"type":"history","id":1,"channel":"general","after":0}"#;
    let mut tickets = Vec::new();
    for _ in 0..SESSION_PAGES_MAX {
        let (ticket, _) = read(&gateway.say(history)).expect("passed on");
        tickets.push(ticket);
    }
    let effects = gateway.say(history);
    assert!(matches!(
        frames(&effects, ADA).as_slice(),
        [ServerFrame::Rejected { code: RejectCode::Busy, retry_after_ms: Some(_), .. }]
    ));
    gateway.answer(tickets[0], entries([1]), 5);
    assert!(read(&gateway.say(history)).is_some());
}

#[test]
fn a_list_of_channels_is_asked_for_as_a_page_and_handed_on() {
    let mut gateway = new();
    gateway.enter(ADA, None, 5);
    let text = r#"{"type":"list_channels","id":7,"after":"board","limit":2}"#;
    let asked = gateway.say(text);
    let [Effect::ToOwner { frame: ToOwner::List { ticket, user, after, channels_max: 2 }, .. }] =
        asked.as_slice()
    else {
        panic!("not asked: {asked:?}");
    };
    assert_eq!((user.user.as_str(), after), ("ada", &ChannelId::new("board").ok()));
    for _ in 1..SESSION_PAGES_MAX {
        gateway.say(text);
    }
    let effects = gateway.say(text);
    assert!(matches!(
        frames(&effects, ADA).as_slice(),
        [ServerFrame::Rejected { code: RejectCode::Busy, retry_after_ms: Some(_), .. }]
    ));
    let channels = vec![ListedChannel {
        channel: ChannelId::new("general").unwrap(),
        kind: ChannelKind::Public,
        member: true,
    }];
    let frame = FromOwner::Listed { ticket: *ticket, channels: channels.clone(), more: true };
    let effects = gateway.feed(Input::Link { shard: SHARD, frame });
    let list = ServerFrame::ChannelList { reply_to: 7, channels, more: true };
    assert_eq!(frames(&effects, ADA), [list]);
}
