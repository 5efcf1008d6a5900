//! What the log did not keep is skipped, and told of, once.

use super::*;

fn trimmed(upto: u64) -> ServerFrame {
    ServerFrame::Trimmed { channel: general().channel, upto: SeqNo(upto) }
}

#[test]
fn a_session_that_resumes_before_what_is_gone_hears_of_it_and_goes_on_behind_it() {
    let mut gateway = new();
    let effects = gateway.enter(ADA, Some(2), 9);
    let (ticket, _) = read(&effects).expect("it is behind");
    let effects = gateway.answer_trimmed(ticket, Some(6), entries(7..=8), 9);
    assert_eq!(frames(&effects, ADA).first(), Some(&trimmed(6)), "before what follows");
    assert_eq!(seqs(&effects, ADA), [7, 8]);
    assert_eq!(gateway.counts().trimmed, 4);

    let (ticket, after) = read(&effects).expect("it is behind yet");
    assert_eq!(after, 8);
    let effects = gateway.answer(ticket, entries([9]), 9);
    assert_eq!(seqs(&effects, ADA), [9]);
    assert!(!frames(&effects, ADA).contains(&trimmed(6)), "once");
    assert_eq!(seqs(&gateway.feed(publish(entries([10]))), ADA), [10]);
}

#[test]
fn a_session_of_which_nothing_is_left_in_the_log_has_caught_up() {
    let mut gateway = new();
    let (ticket, _) = read(&gateway.enter(ADA, Some(2), 9)).expect("it is behind");
    let effects = gateway.answer_trimmed(ticket, Some(9), Vec::new(), 9);
    let caught_up = ServerFrame::CaughtUp { channel: general().channel, head: SeqNo(9) };
    assert_eq!(frames(&effects, ADA), [trimmed(9), caught_up]);
    assert_eq!(read(&effects), None);
}

#[test]
fn a_former_member_is_told_up_to_the_end_of_their_membership_only() {
    let mut gateway = new();
    gateway.enter(ADA, Some(2), 9);
    let left = FromOwner::Left { user: user("ada"), channel: general().channel, until: SeqNo(5) };
    gateway.feed(Input::Link { shard: SHARD, frame: left });
    let effects = gateway.answer_trimmed(Ticket(2), Some(7), entries([8, 9]), 9);
    let let_go = ServerFrame::Left { channel: general().channel, until: SeqNo(5) };
    assert_eq!(frames(&effects, ADA), [trimmed(5), let_go]);
}

#[test]
fn a_page_says_what_of_it_is_gone_and_before_it_there_is_no_more() {
    let mut gateway = new();
    gateway.enter(ADA, None, 9);
    let mut page = |bound: &str, trimmed_upto: Option<u64>, seqs: &[u64]| {
        let text = format!(r#"{{"type":"history","id":1,"channel":"general",{bound}}}"#);
        let effects = gateway.say(&text);
        let [Effect::ToOwner { frame: ToOwner::Read { ticket, .. }, .. }] = effects[..] else {
            panic!("not passed on: {effects:?}")
        };
        let entries = entries(seqs.iter().copied());
        let effects = gateway.answer_trimmed(ticket, trimmed_upto, entries, 9);
        match frames(&effects, ADA).as_slice() {
            [ServerFrame::Page { more, trimmed_upto, .. }] => (*more, trimmed_upto.map(|u| u.0)),
            frames => panic!("no page: {frames:?}"),
        }
    };
    assert_eq!(page(r#""before":9"#, None, &[7, 8]), (true, None));
    assert_eq!(page(r#""before":9"#, Some(6), &[7, 8]), (false, Some(6)));
    assert_eq!(page(r#""before":5"#, Some(6), &[]), (false, Some(6)));
    assert_eq!(page(r#""after":0"#, Some(6), &[7, 8]), (true, Some(6)));
    assert_eq!(page(r#""after":0"#, Some(9), &[]), (false, Some(9)));
}
