//! Which channels a user is told of, and in which pages.

use super::*;
use crate::entry::ChannelKind;
use crate::frame::ListedChannel;
use crate::limits::CHANNELS_LISTED_MAX;
use crate::membership::direct_channel;

fn key(name: &str) -> ChannelKey {
    ChannelKey { channel: ChannelId::new(name).unwrap(), ..channel() }
}

fn make(owner: &mut Owner, name: &str, by: &str, kind: ChannelKind, members: &[&str]) {
    let members = members.iter().map(|name| user(name)).collect();
    wants(owner, name, by, Change::Create { kind, members });
}

fn wants(owner: &mut Owner, name: &str, by: &str, wanted: Change) {
    let frame = elsewhere(&key(name), change(0, by, wanted));
    assert_eq!(appended(&owner.ask(frame)).len(), 1);
    owner.feed(Input::Stored { count: 1 });
}

fn list(owner: &mut Owner, who: &str, after: Option<&str>, most: u32) -> (Vec<String>, bool) {
    let after = after.map(|name| ChannelId::new(name).unwrap());
    let (ticket, user) = (Ticket(3), user_key(who));
    let effects = owner.ask(ToOwner::List { ticket, user, after, channels_max: most });
    let [Effect::Send { frame: FromOwner::Listed { ticket: Ticket(3), channels, more }, .. }] =
        effects.as_slice()
    else {
        panic!("no list: {effects:?}");
    };
    let row = |one: &ListedChannel| {
        let member = if one.member { " (in it)" } else { "" };
        format!("{} {:?}{member}", one.channel, one.kind)
    };
    (channels.iter().map(row).collect(), *more)
}

fn all(owner: &mut Owner, who: &str) -> Vec<String> {
    let (rows, more) = list(owner, who, None, u32::MAX);
    assert!(!more);
    rows
}

/// general is ada's and public, board ada's and bob's, cellar eve's alone, and theirs is a direct
/// channel of ada and bob.
fn furnished() -> (Owner, String) {
    let mut owner = with_ada();
    make(&mut owner, "board", "ada", ChannelKind::Private, &["bob"]);
    make(&mut owner, "cellar", "eve", ChannelKind::Private, &[]);
    let direct = direct_channel(&[user("ada"), user("bob")]).to_string();
    make(&mut owner, &direct, "ada", ChannelKind::Direct, &["bob"]);
    (owner, direct)
}

#[test]
fn a_user_is_told_of_public_channels_and_their_own() {
    let (mut owner, direct) = furnished();
    let own = [
        "board Private (in it)".to_owned(),
        format!("{direct} Direct (in it)"),
        "general Public (in it)".to_owned(),
    ];
    assert_eq!(all(&mut owner, "ada"), own);
    assert_eq!(all(&mut owner, "eve"), ["cellar Private (in it)", "general Public"]);
    assert_eq!(all(&mut owner, "mallory"), ["general Public"]);

    wants(&mut owner, "board", "bob", Change::Remove { user: user("ada") });
    wants(&mut owner, "general", "ada", Change::Leave);
    assert_eq!(
        all(&mut owner, "ada"),
        [format!("{direct} Direct (in it)"), "general Public".into()]
    );
    assert_eq!(all(&mut owner, "mallory"), ["general Public"], "without members it can be joined");
}

#[test]
fn channels_of_another_workspace_are_not_listed() {
    let (mut owner, _) = furnished();
    let elsewhere = UserKey { workspace: WorkspaceId::new("v").unwrap(), ..user_key("ada") };
    let (ticket, channels_max) = (Ticket(3), 100);
    let frame = ToOwner::List { ticket, user: elsewhere, after: None, channels_max };
    let listed = FromOwner::Listed { ticket, channels: Vec::new(), more: false };
    assert_eq!(owner.ask(frame), [Effect::Send { links: vec![LINK], frame: listed }]);
}

#[test]
fn a_channel_is_listed_once_the_store_holds_it() {
    let mut owner = Owner::default();
    owner.ask(join(0, "ada"));
    assert_eq!(all(&mut owner, "bob"), Vec::<String>::new());
    owner.feed(Input::Stored { count: 1 });
    assert_eq!(all(&mut owner, "bob"), ["general Public"]);

    let seed = seed(1, roster_of("ada"));
    let mut recovered = Owner::new([seed], Nonces::default());
    assert_eq!(all(&mut recovered, "bob"), ["general Public"]);
}

#[test]
fn a_page_has_no_more_channels_than_the_limit_and_the_next_goes_on_behind_it() {
    let mut owner = Owner::default();
    for number in 0..CHANNELS_LISTED_MAX + 1 {
        let name = format!("c{number:03}");
        let kind = if number % 2 == 0 { ChannelKind::Private } else { ChannelKind::Public };
        make(&mut owner, &name, "ada", kind, &[]);
    }
    let (first, more) = list(&mut owner, "ada", None, u32::MAX);
    assert_eq!((first.len(), more), (CHANNELS_LISTED_MAX, true));
    let (rest, more) = list(&mut owner, "ada", Some("c099"), u32::MAX);
    assert_eq!((rest, more), (vec!["c100 Private (in it)".to_owned()], false));

    let (page, more) = list(&mut owner, "bob", None, 2);
    assert_eq!((page, more), (vec!["c001 Public".to_owned(), "c003 Public".to_owned()], true));
    let (page, more) = list(&mut owner, "bob", Some("c098"), 0);
    assert_eq!((page, more), (vec!["c099 Public".to_owned()], false), "at least one, and the last");
    assert_eq!(list(&mut owner, "bob", Some("zzz"), 9), (Vec::new(), false));
}
