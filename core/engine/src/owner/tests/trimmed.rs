//! What the store did not keep: who opens a channel hears of it, and pages say so.

use super::*;

fn opened(owner: &mut Owner) -> Option<u64> {
    let open = ToOwner::Open { ticket: Ticket(1), user: user_key("ada"), resumed: Vec::new() };
    match owner.ask(open).as_slice() {
        [Effect::Send { frame: FromOwner::Opened { channels, .. }, .. }] => {
            channels.first().expect("ada is in it").trimmed_upto.map(|upto| upto.0)
        }
        effects => panic!("not opened: {effects:?}"),
    }
}

#[test]
fn what_is_gone_is_known_from_the_start_and_only_grows() {
    let mut owner = Owner::new([seed(9, roster_of("ada"))], Nonces::default());
    assert_eq!(opened(&mut owner), None);
    for (upto, known) in [(4, 4), (7, 7), (5, 7)] {
        owner.feed(Input::Trimmed { channels: vec![(channel(), SeqNo(upto))] });
        assert_eq!(opened(&mut owner), Some(known));
    }
    let seed = ChannelSeed { trimmed_upto: SeqNo(3), ..seed(9, roster_of("ada")) };
    assert_eq!(opened(&mut Owner::new([seed], Nonces::default())), Some(3));
}

#[test]
fn a_page_says_what_is_gone_up_to_the_head_that_was_told() {
    let mut owner = Owner::new([seed(2, roster_of("ada"))], Nonces::default());
    let mut page = |trimmed_upto: u64| {
        let bound = HistoryBound::After(SeqNo(0));
        let (ticket, reader) = (Ticket(1), Some(user("ada")));
        let ask = ToOwner::Read { ticket, channel: channel(), reader, bound, entries_max: 9 };
        let effects = owner.ask(ask);
        let [Effect::Read { read, .. }] = effects[..] else { panic!("{effects:?}") };
        let page = HistoryPage { entries: Vec::new(), trimmed_upto: Some(SeqNo(trimmed_upto)) };
        match owner.feed(Input::Read { read, page }).as_slice() {
            [Effect::Send { frame: FromOwner::Page { trimmed_upto, .. }, .. }] => {
                trimmed_upto.map(|upto| upto.0)
            }
            effects => panic!("no page: {effects:?}"),
        }
    };
    assert_eq!(page(1), Some(1));
    assert_eq!(page(5), Some(2), "the store is ahead");
}
